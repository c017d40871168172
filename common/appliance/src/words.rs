//! The small words of the block: hardware addresses, names of links, hexadecimal keys, and where a
//! word was written.

use fairlead_conf::{Diagnostic, Given, Span, Word};
use std::fmt;
use std::ops::Deref;

/// A value and the place it was written at. Two are equal when their values are: a file may be laid
/// out anew without anything changing.
#[derive(Clone, Copy, Debug)]
pub struct Written<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Written<T> {
    pub fn new(value: T, word: &Word) -> Written<T> {
        Written { value, span: word.span }
    }
}

impl<T: PartialEq> PartialEq for Written<T> {
    fn eq(&self, other: &Written<T>) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Written<T> {}

impl<T> Deref for Written<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `52:54:00:12:34:56`, with `:` or `-`, in either case.
    pub fn parse(text: &str) -> Option<Mac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut parts = text.split(separator);
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+'))?;
        }
        parts.next().is_none().then_some(Mac(bytes))
    }

    /// Whether it may be the address of one station: not all zero, not a group's.
    pub fn is_unicast(self) -> bool {
        self.0 != [0; 6] && self.0.first().is_some_and(|first| first & 1 == 0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Most bytes in the name of a link (the kernel's IFNAMSIZ, its ending zero left out).
const MAX_NAME: usize = 15;

/// Argument `index` as the name of a link.
pub(crate) fn link_name(given: &Given<'_>, index: usize) -> Result<Box<str>, Diagnostic> {
    let name = given.text(index);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let sound = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && !matches!(name, "." | "..");
    let error = || given.error(index, format!("invalid name \"{name}\" of a link"));
    let help = "1 to 15 letters, digits and . _ - @, such as eth0 or bond0.10";
    if sound && !matches!(name, "all" | "default") { Ok(name.into()) } else { Err(error().help(help)) }
}

/// Argument `index` as a unicast hardware address.
pub(crate) fn mac(given: &Given<'_>, index: usize) -> Result<Mac, Diagnostic> {
    let text = given.text(index);
    let found = Mac::parse(text).filter(|mac| mac.is_unicast());
    found.ok_or_else(|| {
        let help = "six bytes such as 52:54:00:12:34:56; the first one is even, for one station";
        given.error(index, format!("invalid hardware address \"{text}\"")).help(help)
    })
}

/// Argument `index` as 32 bytes in hexadecimal.
pub(crate) fn key(given: &Given<'_>, index: usize) -> Result<[u8; 32], Diagnostic> {
    let text = given.text(index);
    hex(text).ok_or_else(|| {
        let help = "64 hexadecimal digits (32 bytes)";
        given.error(index, format!("invalid key \"{text}\" in \"{}\"", given.statement.name.text)).help(help)
    })
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (&[high, low], 2) = (pair.first_chunk::<2>()?, pair.len()) else { return None };
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(high)? * 16 + value(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_six_bytes() {
        let mac = Mac::parse("52:54:00:Ab:cd:01").unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
        assert_eq!(Mac::parse("52-54-00-ab-cd-01"), Some(mac));
        for wrong in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:1", "52:54:00:ab:cd:01:02", "52:54-00:ab:cd:01", "+1:0:0"] {
            assert_eq!(Mac::parse(wrong), None, "{wrong}");
        }
        assert!(mac.is_unicast() && !Mac([1, 0, 0, 0, 0, 1]).is_unicast() && !Mac::default().is_unicast());
    }

    #[test]
    fn a_key_is_32_bytes_in_either_case() {
        assert_eq!(hex(&"aB".repeat(32)), Some([0xab; 32]));
        for wrong in ["", "ab", &"g0".repeat(32), &"ab".repeat(33), &format!("{}ä", "a".repeat(62))] {
            assert_eq!(hex(wrong), None, "{wrong}");
        }
    }
}
