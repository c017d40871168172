//! File names on FAT: the long one, and the short one of 8 and 3 characters that every entry has besides.

use crate::Fault;

use super::ENTRY_BYTES;

const LETTERS_PER_ENTRY: usize = 13;
const LONG_NAME: u8 = 0x0f;
const LAST: u8 = 0x40;

pub struct Name {
    pub long: String,
    pub short: [u8; 11],
    /// The short name says it all.
    is_short: bool,
}

impl Name {
    /// `taken`: the short names of the same folder.
    pub fn parse(long: &str, taken: &[[u8; 11]]) -> Result<Name, Fault> {
        let forbidden = |c: char| c.is_control() || r#""*/:<>?\|"#.contains(c);
        if long.is_empty()
            || long.contains(forbidden)
            || long.ends_with(['.', ' '])
            || long.encode_utf16().count() > 255
        {
            return Err(Fault::Format(format!("not a name for a file on FAT: {long:?}")));
        }
        if let Some(short) = exact(long).filter(|short| !taken.contains(short)) {
            return Ok(Name { long: long.to_owned(), short, is_short: true });
        }
        let short = (1..1_000_000).map(|number| numbered(long, number)).find(|short| !taken.contains(short));
        let short = short.ok_or_else(|| Fault::Format(format!("no short name is left for {long}")))?;
        Ok(Name { long: long.to_owned(), short, is_short: false })
    }

    /// How many entries of a folder it needs.
    pub fn entries(&self) -> usize {
        if self.is_short { 1 } else { self.long.encode_utf16().count().div_ceil(LETTERS_PER_ENTRY) + 1 }
    }

    /// The entries before the one with the short name, the last part of the name first.
    pub fn long_entries(&self) -> Vec<u8> {
        if self.is_short {
            return Vec::new();
        }
        let mut letters: Vec<u16> = self.long.encode_utf16().collect();
        let parts = letters.len().div_ceil(LETTERS_PER_ENTRY);
        if !letters.len().is_multiple_of(LETTERS_PER_ENTRY) {
            letters.push(0);
            letters.resize(parts * LETTERS_PER_ENTRY, 0xffff);
        }
        let checksum = self.short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let mut bytes = Vec::with_capacity(parts * ENTRY_BYTES);
        for (place, part) in letters.chunks(LETTERS_PER_ENTRY).enumerate().rev() {
            let part: Vec<u8> = part.iter().flat_map(|letter| letter.to_le_bytes()).collect();
            let order = place as u8 + 1;
            bytes.push(if place + 1 == parts { order | LAST } else { order });
            bytes.extend(&part[..10]);
            bytes.extend([LONG_NAME, 0, checksum]);
            bytes.extend(&part[10..22]);
            bytes.extend([0, 0]);
            bytes.extend(&part[22..]);
        }
        bytes
    }
}

/// A name that is a short one already.
fn exact(long: &str) -> Option<[u8; 11]> {
    let (base, extension) = long.split_once('.').unwrap_or((long, ""));
    let good = |part: &str| part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && good(base) && good(extension);
    fits.then(|| short(base, extension))
}

fn numbered(long: &str, number: u32) -> [u8; 11] {
    let (base, extension) = long.rsplit_once('.').unwrap_or((long, ""));
    let plain = |part: &str| -> String {
        part.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
    };
    let tail = format!("~{number}");
    let (base, extension) = (plain(base), plain(extension));
    let base = &base[..base.len().min(8 - tail.len())];
    short(&format!("{base}{tail}"), &extension[..extension.len().min(3)])
}

fn short(base: &str, extension: &str) -> [u8; 11] {
    let mut name = [b' '; 11];
    name[..base.len()].copy_from_slice(base.as_bytes());
    name[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_unique_within_a_folder() {
        let name = |long: &str, taken: &[[u8; 11]]| Name::parse(long, taken).map(|name| name.short).unwrap();
        assert_eq!(&name("BOOTX64.EFI", &[]), b"BOOTX64 EFI");
        let first = name("fairlead-0.1.0-7.efi", &[]);
        assert_eq!(&first, b"FAIRLE~1EFI");
        assert_eq!(&name("fairlead-0.1.0-8+1.efi", &[first]), b"FAIRLE~2EFI");
    }

    #[test]
    fn long_names_are_cut_into_thirteens() {
        let thirteen = Name::parse("exactly13.efi", &[]).unwrap();
        assert_eq!((thirteen.entries(), thirteen.long_entries().len()), (2, 32));
        let name = Name::parse("one-more-14.efi", &[]).unwrap();
        let entries = name.long_entries();
        assert_eq!((name.entries(), entries.len(), entries[0], entries[32]), (3, 64, 0x42, 1));
        assert_eq!(entries[33..35], [b'o', 0]);
        assert_eq!(entries[1..9], [b'f', 0, b'i', 0, 0, 0, 0xff, 0xff]);
    }
}
