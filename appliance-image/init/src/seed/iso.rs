//! Files of an ISO 9660 volume (ECMA-119), with the names of Joliet or Rock Ridge where it has them.
//! Refuses files in several extents and interleaved ones, which no seed has.

use super::{LARGEST_FILE, bytes_at, damaged, u32_at};
use std::io::{self, Read, Seek};

const SECTOR: u64 = 2048;
const FIRST_DESCRIPTOR: u64 = 16;
const MOST_DESCRIPTORS: u64 = 32;
/// A folder of a seed has a handful of files.
const LARGEST_FOLDER: u32 = 1 << 20;
const FOLDER: u8 = 0x02;
const GOES_ON: u8 = 0x80;

pub struct Iso<R> {
    medium: R,
    layout: Layout,
}

/// Where the root is, and how names are written.
#[derive(Debug)]
pub struct Layout {
    label: String,
    root: Extent,
    joliet: bool,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    sector: u32,
    length: u32,
    flags: u8,
}

/// `None` when it is no ISO 9660 volume.
pub fn layout<R: Read + Seek>(medium: &mut R) -> Option<Layout> {
    let mut primary = None;
    let mut joliet = None;
    for sector in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + MOST_DESCRIPTORS {
        let bytes = bytes_at(medium, sector * SECTOR, SECTOR as usize).ok()?;
        if bytes.get(1..6)? != b"CD001" {
            break;
        }
        let root = bytes.get(156..190).and_then(Extent::of);
        match bytes.first()? {
            1 if primary.is_none() => primary = root.map(|root| (text(bytes.get(40..72)), root)),
            2 if matches!(bytes.get(88..91)?, b"%/@" | b"%/C" | b"%/E") => joliet = root,
            255 => break,
            _ => {}
        }
    }
    let (label, root) = primary?;
    Some(Layout { label, root: joliet.unwrap_or(root), joliet: joliet.is_some() })
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).trim_end_matches([' ', '\0']).to_owned()
}

impl<R: Read + Seek> Iso<R> {
    pub fn new(medium: R, layout: Layout) -> Iso<R> {
        Iso { medium, layout }
    }

    pub fn label(&self) -> &str {
        &self.layout.label
    }

    /// See [`super::Volume::read`].
    ///
    /// # Errors
    /// The same.
    pub fn read(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut at = self.layout.root;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some(found) = self.find(at, part)? else { return Ok(None) };
            if (found.flags & FOLDER != 0) != parts.peek().is_some() {
                return Ok(None);
            }
            at = found;
        }
        if at.flags & GOES_ON != 0 {
            return Err(damaged("a file has several extents"));
        }
        self.extent(at, LARGEST_FILE).map(Some)
    }

    fn extent(&mut self, extent: Extent, most: usize) -> io::Result<Vec<u8>> {
        let length = usize::try_from(extent.length).ok().filter(|length| *length <= most);
        let length = length.ok_or_else(|| damaged("a file or folder is too large"))?;
        bytes_at(&mut self.medium, u64::from(extent.sector) * SECTOR, length)
    }

    fn find(&mut self, folder: Extent, name: &str) -> io::Result<Option<Extent>> {
        let joliet = self.layout.joliet;
        let bytes = self.extent(folder, LARGEST_FOLDER as usize)?;
        // Records do not cross sectors; a zero ends a sector's.
        for sector in bytes.chunks(SECTOR as usize) {
            let mut rest = sector;
            while let Some((record, after)) = record(rest) {
                if let Some(extent) = Extent::of(record)
                    && name_of(record, joliet).is_some_and(|found| found == name)
                {
                    return Ok(Some(extent));
                }
                rest = after;
            }
        }
        Ok(None)
    }
}

/// The first directory record and what is behind it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(*bytes.first()?);
    if length < 34 { None } else { bytes.split_at_checked(length) }
}

impl Extent {
    fn of(record: &[u8]) -> Option<Extent> {
        Some(Extent { sector: u32_at(record, 2)?, length: u32_at(record, 10)?, flags: *record.get(25)? })
    }
}

/// `None` for the folder itself and the one above, and for what cannot be read.
fn name_of(record: &[u8], joliet: bool) -> Option<String> {
    let length = usize::from(*record.get(32)?);
    let name = record.get(33..33 + length)?;
    if matches!(name, [0 | 1]) {
        return None;
    }
    if joliet {
        let units: Vec<u16> = name.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        return Some(without_version(&String::from_utf16(&units).ok()?).to_owned());
    }
    // The name is padded to an even place.
    let system = record.get((33 + length).next_multiple_of(2)..).unwrap_or_default();
    rock_ridge(system).or_else(|| {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        Some(without_version(&name).trim_end_matches('.').to_owned())
    })
}

fn without_version(name: &str) -> &str {
    name.split_once(';').map_or(name, |(name, _)| name)
}

/// The `NM` entries of a record's system use area (SUSP, RRIP 4.1.4).
fn rock_ridge(mut area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while let [first, second, length, _, ..] = *area {
        let length = usize::from(length);
        let entry = area.get(4..length)?;
        if (first, second) == (b'N', b'M') {
            name.extend_from_slice(entry.get(1..)?);
        }
        area = area.get(length..)?;
    }
    if name.is_empty() { None } else { String::from_utf8(name).ok() }
}
