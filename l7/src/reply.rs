//! A response made here rather than by a peer: errors, redirects, files.

use crate::disk::Source;
use crate::filter::Parts;
use std::borrow::Cow;

/// What a content phase answers. Sending it adds `Server`, `Date`, `Connection` and what
/// `add_header`-like features add.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub content_type: Option<Cow<'static, [u8]>>,
    /// Seconds since 1970.
    pub last_modified: Option<u64>,
    pub location: Option<Vec<u8>>,
    /// Goes before the further fields.
    pub(crate) etag: Option<Tag>,
    /// `Accept-Ranges: bytes`, behind all others.
    pub takes_ranges: bool,
    /// Further fields, in order, after the ones above.
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
    pub body: Body,
    /// The status whose built-in page it is: `error_page` may name another.
    pub page: Option<u16>,
    /// Another client may get other bytes: `gzip_vary` says so.
    pub varies: bool,
    /// The request's conditions have had their say.
    pub judged: bool,
    /// Its head does not tell how long the body is.
    pub open_ended: bool,
    /// Close the connection after it.
    pub close: bool,
}

/// The entity tag of a file, made of its time and length as nginx makes it: `"65a1-1f"`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    text: [u8; Tag::MOST],
    length: usize,
}

impl Tag {
    /// Two numbers of sixteen digits.
    const MOST: usize = 35;

    pub fn of(modified: u64, length: u64) -> Tag {
        let mut tag = Tag { text: [0; Tag::MOST], length: 0 };
        tag.push(b'"');
        tag.push_hex(modified);
        tag.push(b'-');
        tag.push_hex(length);
        tag.push(b'"');
        tag
    }

    pub fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_hex(&mut self, number: u64) {
        let digits = (67 - (number | 1).leading_zeros()) / 4;
        for digit in (0..digits).rev() {
            let digit = (number >> (4 * digit) & 15) as u8;
            self.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
}

#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    Bytes(Cow<'static, [u8]>),
    /// `length` bytes of an open file from `start` on.
    File {
        file: Source,
        start: u64,
        length: u64,
    },
    /// Several ranges of one.
    Parts(Box<Parts>),
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { length, .. } => *length,
            Body::Parts(parts) => parts.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    #[test]
    fn tags_are_hexadecimal() {
        let known = |modified: u64, length: u64| format!("\"{modified:x}-{length:x}\"");
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let mut number = || dice.roll(u64::MAX) >> dice.roll(64);
            for (modified, length) in [(number(), number()), (0, 0), (15, 16), (u64::MAX, u64::MAX)] {
                let tag = Tag::of(modified, length);
                assert_eq!(tag.text(), known(modified, length).as_bytes(), "seed {seed}");
            }
        }
    }
}
