//! Files of a FAT volume (12, 16 and 32 bits), with long names. Names are compared without regard to
//! case, as FAT does.

use super::{LARGEST_FILE, bytes_at, damaged, u16_at, u32_at};
use std::io::{self, Read, Seek};

const ENTRY: usize = 32;
/// 65,536 entries: FAT's own bound.
const LARGEST_FOLDER: usize = 2 << 20;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;

pub struct Fat<R> {
    medium: R,
    layout: Layout,
}

#[derive(Debug)]
pub struct Layout {
    kind: Kind,
    /// Bytes of one cluster.
    cluster: u32,
    clusters: u32,
    /// Where the first table starts.
    table: u64,
    /// Where cluster 2 starts.
    data: u64,
    /// Where the root is, and how long, when it is no chain of clusters.
    root: (u64, usize),
    root_cluster: u32,
    label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// `None` when it is no FAT volume.
pub fn layout<R: Read + Seek>(medium: &mut R) -> Option<Layout> {
    let boot = bytes_at(medium, 0, 512).ok()?;
    if boot.get(510..512)? != [0x55, 0xaa] || !matches!(boot.first()?, 0xeb | 0xe9) {
        return None;
    }
    let sector = u32::from(u16_at(&boot, 11)?);
    let per_cluster = u32::from(*boot.get(13)?);
    let tables = u32::from(*boot.get(16)?);
    if !matches!(sector, 512 | 1024 | 2048 | 4096) || !per_cluster.is_power_of_two() || !matches!(tables, 1 | 2) {
        return None;
    }
    let reserved = u32::from(u16_at(&boot, 14)?);
    let root_entries = u32::from(u16_at(&boot, 17)?);
    let total = Some(u32::from(u16_at(&boot, 19)?)).filter(|&small| small != 0).or(u32_at(&boot, 32))?;
    let short_table = u32::from(u16_at(&boot, 22)?);
    let per_table = if short_table == 0 { u32_at(&boot, 36)? } else { short_table };
    let root_sectors = (root_entries * ENTRY as u32).div_ceil(sector);
    let root = u64::from(reserved) + u64::from(tables) * u64::from(per_table);
    let data = root + u64::from(root_sectors);
    let clusters = u32::try_from(u64::from(total).checked_sub(data)? / u64::from(per_cluster)).ok()?;
    // The count decides, and nothing else (Microsoft's FAT specification, section 3.5).
    let kind = match clusters {
        0..4085 => Kind::Fat12,
        4085..65525 => Kind::Fat16,
        _ => Kind::Fat32,
    };
    let label = boot.get(if kind == Kind::Fat32 { 71..82 } else { 43..54 })?;
    Some(Layout {
        kind,
        cluster: per_cluster * sector,
        clusters,
        table: u64::from(reserved) * u64::from(sector),
        data: data * u64::from(sector),
        root: (root * u64::from(sector), root_entries as usize * ENTRY),
        root_cluster: if kind == Kind::Fat32 { u32_at(&boot, 44)? } else { 0 },
        label: String::from_utf8_lossy(label).trim_end().to_owned(),
    })
}

struct Found {
    cluster: u32,
    length: usize,
    is_folder: bool,
}

impl<R: Read + Seek> Fat<R> {
    pub fn new(medium: R, layout: Layout) -> Fat<R> {
        Fat { medium, layout }
    }

    /// The root's label, or the boot sector's.
    pub fn label(&mut self) -> String {
        let root = self.root().unwrap_or_default();
        let mut entries = root.as_chunks::<ENTRY>().0.iter().take_while(|entry| entry[0] != 0);
        let labelled = |entry: &&[u8; ENTRY]| entry[0] != 0xe5 && entry[11] & 0x3f == LABEL;
        let own = entries.find(labelled).and_then(|entry| entry.get(..11));
        own.map_or_else(|| self.layout.label.clone(), |own| String::from_utf8_lossy(own).trim_end().to_owned())
    }

    /// See [`super::Volume::read`].
    ///
    /// # Errors
    /// The same.
    pub fn read(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut folder = self.root()?;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some(found) = find(&folder, part) else { return Ok(None) };
            if found.is_folder != parts.peek().is_some() {
                return Ok(None);
            }
            if !found.is_folder {
                return self.file(&found).map(Some);
            }
            folder = self.chain(found.cluster, LARGEST_FOLDER)?;
        }
        Ok(None)
    }

    fn file(&mut self, found: &Found) -> io::Result<Vec<u8>> {
        if found.length > LARGEST_FILE {
            return Err(damaged("a file is larger than 4 MiB"));
        }
        if found.length == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = self.chain(found.cluster, found.length)?;
        if bytes.len() < found.length {
            return Err(damaged("a file is shorter than its entry says"));
        }
        bytes.truncate(found.length);
        Ok(bytes)
    }

    fn root(&mut self) -> io::Result<Vec<u8>> {
        if self.layout.kind == Kind::Fat32 {
            return self.chain(self.layout.root_cluster, LARGEST_FOLDER);
        }
        let (at, length) = self.layout.root;
        bytes_at(&mut self.medium, at, length)
    }

    /// The clusters from `first` on, until there are `most` bytes or the chain ends. What goes in
    /// circles ends at `most` too.
    fn chain(&mut self, first: u32, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        while self.is_cluster(cluster) {
            let at = self.layout.data + u64::from(cluster - 2) * u64::from(self.layout.cluster);
            bytes.extend(bytes_at(&mut self.medium, at, self.layout.cluster as usize)?);
            if bytes.len() >= most {
                break;
            }
            cluster = self.next(cluster)?;
        }
        Ok(bytes)
    }

    fn is_cluster(&self, number: u32) -> bool {
        number >= 2 && number - 2 < self.layout.clusters
    }

    fn next(&mut self, cluster: u32) -> io::Result<u32> {
        let cluster = u64::from(cluster);
        let (at, length) = match self.layout.kind {
            Kind::Fat12 => (cluster + cluster / 2, 2),
            Kind::Fat16 => (cluster * 2, 2),
            Kind::Fat32 => (cluster * 4, 4),
        };
        let bytes = bytes_at(&mut self.medium, self.layout.table + at, length)?;
        let short = u32::from(u16_at(&bytes, 0).unwrap_or(0));
        Ok(match self.layout.kind {
            Kind::Fat12 if cluster.is_multiple_of(2) => short & 0xfff,
            Kind::Fat12 => short >> 4,
            Kind::Fat16 => short,
            Kind::Fat32 => u32_at(&bytes, 0).unwrap_or(0) & 0x0fff_ffff,
        })
    }
}

fn find(folder: &[u8], name: &str) -> Option<Found> {
    let mut long: Vec<u16> = Vec::new();
    for entry in folder.as_chunks::<ENTRY>().0 {
        match (entry[0], entry[11]) {
            (0, _) => return None,
            (0xe5, _) => long.clear(),
            (order, LONG_NAME) => {
                if order & 0x40 != 0 {
                    long.clear();
                }
                // The last part comes first.
                let mut part = long_part(entry);
                part.append(&mut long);
                long = part;
                long.truncate(512);
            }
            (_, attributes) => {
                if attributes & LABEL == 0 && is_called(entry, &long, name) {
                    return Some(Found {
                        cluster: u32::from(u16_at(entry, 20)?) << 16 | u32::from(u16_at(entry, 26)?),
                        length: u32_at(entry, 28)? as usize,
                        is_folder: attributes & FOLDER != 0,
                    });
                }
                long.clear();
            }
        }
    }
    None
}

fn long_part(entry: &[u8; ENTRY]) -> Vec<u16> {
    let [_, text @ ..] = entry;
    let places = [0, 2, 4, 6, 8, 13, 15, 17, 19, 21, 23, 27, 29];
    let units = places.iter().filter_map(|&place| u16_at(text, place));
    units.take_while(|&unit| unit != 0 && unit != 0xffff).collect()
}

fn is_called(entry: &[u8; ENTRY], long: &[u16], name: &str) -> bool {
    if !long.is_empty() && String::from_utf16_lossy(long).eq_ignore_ascii_case(name) {
        return true;
    }
    let [base @ .., _, _, _] = entry.first_chunk::<11>().unwrap_or(&[b' '; 11]);
    let base = String::from_utf8_lossy(base);
    let ending = String::from_utf8_lossy(entry.get(8..11).unwrap_or_default());
    let short = match (base.trim_end(), ending.trim_end()) {
        (base, "") => base.to_owned(),
        (base, ending) => format!("{base}.{ending}"),
    };
    short.eq_ignore_ascii_case(name)
}
