//! GUIDs as partition tables store them: the first three groups little-endian.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Guid([u8; 16]);

impl Guid {
    /// From the digits in the order in which they are read.
    pub const fn new(digits: u128) -> Guid {
        let mut bytes = digits.to_be_bytes();
        let groups = [(0, 3), (1, 2), (4, 5), (6, 7)];
        let mut at = 0;
        while at < groups.len() {
            let (one, other) = groups[at];
            let byte = bytes[one];
            bytes[one] = bytes[other];
            bytes[other] = byte;
            at += 1;
        }
        Guid(bytes)
    }

    pub const fn from_disk(bytes: [u8; 16]) -> Guid {
        Guid(bytes)
    }

    pub const fn to_disk(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guid([a, b, c, d, e, g, h, i, rest @ ..]) = self;
        write!(f, "{d:02x}{c:02x}{b:02x}{a:02x}-{g:02x}{e:02x}-{i:02x}{h:02x}-{:02x}{:02x}-", rest[0], rest[1])?;
        rest[2..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[test]
fn reads_as_it_was_written() {
    let esp = Guid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
    assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    assert_eq!(esp.to_disk()[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
}
