//! Positions in a message's buffer, and the character classes of RFC 9110.

/// A range of a message's buffer. Messages are bounded well below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub start: u32,
    pub len: u32,
}

impl Slice {
    pub fn new(start: usize, end: usize) -> Slice {
        Slice { start: start as u32, len: end.saturating_sub(start) as u32 }
    }

    /// The bytes; empty when the buffer is shorter than the slice says.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        let start = self.start as usize;
        buffer.get(start..start + self.len as usize).unwrap_or_default()
    }

    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// `token` of RFC 9110 section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// What a byte is in a field's name.
static IN_NAME: [u8; 256] = {
    let mut classes = [ODD; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => 0,
            b'_' => UNDERSCORE,
            0..=b' ' | b':' | 0x7f => END,
            _ => ODD,
        };
        byte += 1;
    }
    classes
};

const UNDERSCORE: u8 = 1;
const ODD: u8 = 2;
/// Its colon, and what no name may hold.
const END: u8 = 4;

/// The name of a field at the front of its line.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// Where its colon is.
    pub len: usize,
    classes: u8,
}

impl Name {
    /// `None` when it has no colon, is empty or holds what no name may hold.
    pub fn of(line: &[u8]) -> Option<Name> {
        let mut classes = 0;
        for (len, byte) in line.iter().enumerate() {
            match IN_NAME[usize::from(*byte)] {
                END => return (*byte == b':' && len > 0).then_some(Name { len, classes }),
                class => classes |= class,
            }
        }
        None
    }

    /// Nothing but letters, digits, hyphens, and underscores where they are allowed.
    pub fn is_ordinary(self, underscores: bool) -> bool {
        self.classes & ODD == 0 && (underscores || self.classes & UNDERSCORE == 0)
    }
}

/// Digits only, no sign, no overflow.
pub fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether a comma-separated list holds `member`, in any case.
pub fn is_list_member(list: &[u8], member: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(member))
}
