//! Texts from one charset to another, wherever they were cut. Pure: knows no responses.

use std::sync::Arc;

/// What becomes of each character.
#[derive(Debug)]
pub(crate) enum Table {
    Bytes(Box<[u8; 256]>),
    ToUtf8(Box<[Letters; 256]>),
    FromUtf8(FromUtf8),
}

/// A character in UTF-8, of at most three bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letters {
    length: u8,
    bytes: [u8; 3],
}

/// Pages of 256 characters each; 0 is a character that the other charset does not have.
type FromUtf8 = Vec<Option<Box<[u8; 256]>>>;

/// How a sequence of UTF-8 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoded {
    /// The character, and its bytes.
    Character(u32, usize),
    /// These bytes are none.
    Wrong(usize),
    Unfinished,
}

impl Table {
    /// A table and its inverse, without any character beyond ASCII.
    pub fn pair(utf8: bool) -> (Table, Table) {
        let ascii = |byte: usize| u8::try_from(byte).ok().filter(u8::is_ascii).unwrap_or(b'?');
        if utf8 {
            let letters: [Letters; 256] = std::array::from_fn(|byte| Letters { length: 1, bytes: [ascii(byte), 0, 0] });
            return (Table::ToUtf8(letters.into()), Table::FromUtf8(vec![None; 256]));
        }
        let bytes: Box<[u8; 256]> = Box::new(std::array::from_fn(ascii));
        (Table::Bytes(bytes.clone()), Table::Bytes(bytes))
    }

    /// Adds a character by its byte here and its code there; `None` when that is no code.
    pub fn add(&mut self, back: &mut Table, byte: u8, code: &[u8]) -> Option<()> {
        match (self, back, code) {
            (Table::Bytes(there), Table::Bytes(back), &[code]) => {
                there[usize::from(byte)] = code;
                back[usize::from(code)] = byte;
                Some(())
            }
            (Table::ToUtf8(there), Table::FromUtf8(back), code) => {
                let Decoded::Character(character, length) = decode(code) else { return None };
                let mut bytes = [0; 3];
                bytes.get_mut(..code.len())?.copy_from_slice(code);
                there[usize::from(byte)] = Letters { length: u8::try_from(code.len()).ok()?, bytes };
                let page = back.get_mut((character >> 8) as usize).filter(|_| length <= 3)?;
                page.get_or_insert_with(|| Box::new([0; 256]))[(character & 0xff) as usize] = byte;
                Some(())
            }
            _ => None,
        }
    }
}

/// Reads a character at the front of `bytes`, which is beyond ASCII; as nginx does.
fn decode(bytes: &[u8]) -> Decoded {
    let Some(&first) = bytes.first() else { return Decoded::Unfinished };
    let (more, least, bits) = match first {
        0xc2..=0xdf => (1, 0x7f, 0x1f),
        0xe0..=0xef => (2, 0x7ff, 0x0f),
        0xf0..=0xf7 => (3, 0xffff, 0x07),
        _ => return Decoded::Wrong(1),
    };
    let Some(rest) = bytes.get(1..=more) else { return Decoded::Unfinished };
    let mut character = u32::from(first) & bits;
    for (taken, &byte) in rest.iter().enumerate() {
        if byte < 0x80 {
            // As nginx: the byte that does not belong here goes with it.
            return Decoded::Wrong(taken + 2);
        }
        character = character << 6 | u32::from(byte & 0x3f);
    }
    if character > least && character <= 0x0010_ffff {
        Decoded::Character(character, more + 1)
    } else {
        Decoded::Wrong(more + 1)
    }
}

/// A text on its way.
#[derive(Debug)]
pub(crate) struct Recode {
    table: Arc<Table>,
    /// The beginning of a character whose end has not come.
    held: Vec<u8>,
}

impl Recode {
    pub fn new(table: Arc<Table>) -> Recode {
        Recode { table, held: Vec::new() }
    }

    pub fn changes_length(&self) -> bool {
        !matches!(*self.table, Table::Bytes(_))
    }

    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &*self.table {
            Table::Bytes(table) => out.extend(bytes.iter().map(|&byte| table[usize::from(byte)])),
            Table::ToUtf8(table) => {
                out.reserve(bytes.len());
                for &byte in bytes {
                    let letters = table[usize::from(byte)];
                    out.extend_from_slice(letters.bytes.get(..usize::from(letters.length)).unwrap_or_default());
                }
            }
            Table::FromUtf8(pages) if self.held.is_empty() => self.held = from_utf8(pages, bytes, out),
            Table::FromUtf8(pages) => {
                let mut all = std::mem::take(&mut self.held);
                all.extend_from_slice(bytes);
                self.held = from_utf8(pages, &all, out);
            }
        }
    }
}

/// Gives what is left of a character at the end. As nginx, which drops it when nothing follows.
fn from_utf8(pages: &FromUtf8, bytes: &[u8], out: &mut Vec<u8>) -> Vec<u8> {
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let taken = if first < 0x80 {
            out.push(first);
            1
        } else {
            match decode(rest) {
                Decoded::Unfinished => return rest.to_vec(),
                Decoded::Wrong(taken) => {
                    out.push(b'?');
                    taken
                }
                Decoded::Character(character, taken) => {
                    let page = pages.get((character >> 8) as usize).and_then(Option::as_ref);
                    match page.map_or(0, |page| page[(character & 0xff) as usize]) {
                        0 => out.extend_from_slice(format!("&#{character};").as_bytes()),
                        byte => out.push(byte),
                    }
                    taken
                }
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(utf8: bool, entries: &[(u8, &[u8])]) -> (Arc<Table>, Arc<Table>) {
        let (mut there, mut back) = Table::pair(utf8);
        for (byte, code) in entries {
            there.add(&mut back, *byte, code).unwrap();
        }
        (Arc::new(there), Arc::new(back))
    }

    fn whole(table: &Arc<Table>, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Recode::new(table.clone()).write(text, &mut out);
        out
    }

    #[test]
    fn characters_without_a_line_become_marks() {
        let (there, back) = tables(false, &[(0xc0, &[0xfe]), (0xc1, &[0xe0])]);
        assert_eq!(whole(&there, b"a\xc0\xc1\xc2"), b"a\xfe\xe0?");
        assert_eq!(whole(&back, b"a\xfe\xe0\xff"), b"a\xc0\xc1?");
        let (there, back) = tables(true, &[(0xc0, "ю".as_bytes()), (0x80, "€".as_bytes())]);
        assert_eq!(whole(&there, b"a\xc0\x80\xc2"), "aю€?".as_bytes());
        assert_eq!(whole(&back, "aю€ж\u{1f600}".as_bytes()), b"a\xc0\x80&#1078;&#128512;");
    }

    #[test]
    fn what_is_no_utf8_becomes_a_mark() {
        let (_, back) = tables(true, &[(0xc0, "ю".as_bytes())]);
        for (text, expected) in [
            (&b"\x80a"[..], &b"?a"[..]),
            (b"\xc1\x80", b"??"),
            (b"\xd1a", b"?"),
            (b"\xe0\x80\x80z", b"?z"),
            (b"\xf4\x90\x80\x80z", b"?z"),
            (b"\xff\xd1\x8e", b"?\xc0"),
            (b"ab\xd1", b"ab"),
        ] {
            assert_eq!(whole(&back, text), expected, "{}", text.escape_ascii());
        }
        let (mut there, mut back) = Table::pair(true);
        for wrong in [&b"A"[..], b"", b"\xd1", b"\xf0\x9f\x98\x80", b"\xd1\x8e\x8e\x8e"] {
            assert!(there.add(&mut back, 0xc0, wrong).is_none(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn where_a_text_is_cut_does_not_matter() {
        let (_, back) = tables(true, &[(0xc0, "ю".as_bytes()), (0x80, "€".as_bytes())]);
        for seed in 0..256u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let pieces: [&[u8]; 7] =
                ["ю".as_bytes(), "€".as_bytes(), b"a", b"\xff", b"\xe2", "\u{1f600}".as_bytes(), b"\xd1"];
            let text: Vec<u8> = (0..1 + next(40)).flat_map(|_| pieces[next(7) as usize].to_vec()).collect();
            let (mut recode, mut out, mut rest) = (Recode::new(back.clone()), Vec::new(), text.as_slice());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + next(4) as usize));
                recode.write(piece, &mut out);
                assert!(recode.held.len() < 4, "seed {seed}");
                rest = after;
            }
            assert_eq!(out, whole(&back, &text), "seed {seed}: {}", text.escape_ascii());
        }
    }
}
