//! A FAT32 file system written in one go (Microsoft's "FAT: General Overview of On-Disk Format"): the EFI system
//! partition, and seed disks. It does not read or change one; a running system's kernel does that.
//!
//! Every entry has a date, which firmware insists on where it renames; every file lies in one piece, so that firmware
//! reads it in few calls. The same calls give the same bytes.

mod name;

use std::borrow::Cow;
use std::io::{Seek, SeekFrom, Write};

use crate::{Fault, SECTOR};
use name::Name;

const RESERVED: u64 = 32;
const FATS: u64 = 2;
const ROOT: u32 = 2;
/// Fewer clusters would make it FAT16 by definition.
const FEWEST_CLUSTERS: u64 = 65_525;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
const ENTRY_BYTES: usize = 32;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LABEL: u8 = 0x08;

/// The least a volume may have, in bytes: each copy of the table then has 521 sectors.
pub const LEAST_BYTES: u64 = (RESERVED + FATS * 521 + FEWEST_CLUSTERS) * SECTOR;

/// What will be written.
pub struct Volume<'a> {
    label: [u8; 11],
    serial: u32,
    geometry: Geometry,
    stamp: Stamp,
    hidden: u32,
    nodes: Vec<Node<'a>>,
}

struct Node<'a> {
    name: Name,
    parent: usize,
    body: Body<'a>,
}

enum Body<'a> {
    /// Its children, by their place among the nodes.
    Folder(Vec<usize>),
    File(Cow<'a, [u8]>),
}

struct Geometry {
    sectors: u32,
    per_cluster: u64,
    fat_sectors: u64,
    clusters: u64,
}

/// Date and time of every entry, as FAT has them.
#[derive(Clone, Copy)]
struct Stamp {
    date: u16,
    time: u16,
}

impl<'a> Volume<'a> {
    /// `time` in seconds since 1970, not before 1980, where FAT's years begin.
    pub fn new(label: &str, serial: u32, bytes: u64, time: u64) -> Result<Volume<'a>, Fault> {
        let geometry = Geometry::of(bytes)?;
        let root = Node { name: Name::parse(label, &[])?, parent: 0, body: Body::Folder(Vec::new()) };
        let mut padded = [b' '; 11];
        let space = padded.get_mut(..label.len()).filter(|_| label.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
        space.ok_or_else(|| Fault::Format(format!("not a label: {label}")))?.copy_from_slice(label.as_bytes());
        Ok(Volume { label: padded, serial, geometry, stamp: Stamp::of(time)?, hidden: 0, nodes: vec![root] })
    }

    /// The sector of the disk at which the volume begins: old firmware wants to know.
    pub fn beginning_at(mut self, sector: u32) -> Volume<'a> {
        self.hidden = sector;
        self
    }

    /// Adds a file, and the folders on the way to it. Names are long ones; FAT does not tell their case apart.
    pub fn file(&mut self, path: &str, content: impl Into<Cow<'a, [u8]>>) -> Result<(), Fault> {
        let content = content.into();
        if u32::try_from(content.len()).is_err() {
            return Err(Fault::Format(format!("{path} is too long for FAT")));
        }
        let (folders, name) = path.trim_start_matches('/').rsplit_once('/').unwrap_or(("", path));
        let name = name.trim_start_matches('/');
        let folders = folders.split('/').filter(|part| !part.is_empty());
        let parent = folders.into_iter().try_fold(0, |parent, folder| self.folder(parent, folder))?;
        if self.child(parent, name).is_some() {
            return Err(Fault::Format(format!("{path} is there twice")));
        }
        self.add(parent, name, Body::File(content)).map(drop)
    }

    /// Writes the volume at byte `offset` of `disk`, which must read as zeros there: what stays empty is skipped.
    pub fn write(&self, disk: &mut (impl Write + Seek), offset: u64) -> Result<(), Fault> {
        let starts = self.allocate()?;
        let used = starts.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        let boot = self.boot_sector();
        let information = self.information_sector(used);
        for (sector, bytes) in [(0, &boot), (1, &information), (6, &boot), (7, &information)] {
            put(disk, offset + sector * SECTOR, bytes)?;
        }
        let table = fat(&starts);
        for copy in 0..FATS {
            put(disk, offset + (RESERVED + copy * self.geometry.fat_sectors) * SECTOR, &table)?;
        }
        for (node, (start, _)) in self.nodes.iter().zip(&starts).filter(|(_, (_, count))| *count > 0) {
            let at = offset + self.geometry.byte_of(*start);
            match &node.body {
                Body::Folder(children) => put(disk, at, &self.folder_bytes(node, children, &starts)),
                Body::File(content) => put(disk, at, content),
            }?;
        }
        Ok(())
    }

    fn child(&self, parent: usize, name: &str) -> Option<usize> {
        let Body::Folder(children) = &self.nodes[parent].body else { return None };
        children.iter().copied().find(|child| self.nodes[*child].name.long.eq_ignore_ascii_case(name))
    }

    fn folder(&mut self, parent: usize, name: &str) -> Result<usize, Fault> {
        match self.child(parent, name) {
            Some(folder) => Ok(folder),
            None => self.add(parent, name, Body::Folder(Vec::new())),
        }
    }

    fn add(&mut self, parent: usize, name: &str, body: Body<'a>) -> Result<usize, Fault> {
        let Body::Folder(children) = &self.nodes[parent].body else {
            return Err(Fault::Format(format!("{} is a file, and no folder", self.nodes[parent].name.long)));
        };
        let taken: Vec<[u8; 11]> = children.iter().map(|child| self.nodes[*child].name.short).collect();
        let node = Node { name: Name::parse(name, &taken)?, parent, body };
        let place = self.nodes.len();
        self.nodes.push(node);
        if let Body::Folder(children) = &mut self.nodes[parent].body {
            children.push(place);
        }
        Ok(place)
    }

    /// Each node's first cluster and how many it has: one behind the other. An empty file has none.
    fn allocate(&self) -> Result<Vec<(u32, u32)>, Fault> {
        let cluster = self.geometry.per_cluster * SECTOR;
        let mut next = u64::from(ROOT);
        let mut starts = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let bytes = match &node.body {
                Body::File(content) => content.len() as u64,
                Body::Folder(children) => {
                    let own = if node.parent == 0 && starts.is_empty() { 1 } else { 2 };
                    let entries = children.iter().map(|child| self.nodes[*child].name.entries()).sum::<usize>() + own;
                    (entries * ENTRY_BYTES) as u64
                }
            };
            let count = bytes.div_ceil(cluster);
            starts.push((if count == 0 { 0 } else { next as u32 }, count as u32));
            next += count;
            if next - u64::from(ROOT) > self.geometry.clusters {
                let (needed, there) = ((next - u64::from(ROOT)) * cluster, self.geometry.clusters * cluster);
                return Err(Fault::Full { what: node.name.long.clone(), needed, there });
            }
        }
        Ok(starts)
    }

    fn folder_bytes(&self, node: &Node, children: &[usize], starts: &[(u32, u32)]) -> Vec<u8> {
        let is_root = std::ptr::eq(node, &raw const self.nodes[0]);
        let mut bytes = Vec::new();
        if is_root {
            bytes.extend(self.entry(&self.label, LABEL, 0, 0));
        } else {
            // The root is cluster 0 to its children.
            let parent = if node.parent == 0 { 0 } else { starts[node.parent].0 };
            let own = self.nodes.iter().position(|other| std::ptr::eq(node, other)).map_or(0, |place| starts[place].0);
            bytes.extend(self.entry(b".          ", FOLDER, own, 0));
            bytes.extend(self.entry(b"..         ", FOLDER, parent, 0));
        }
        for child in children {
            let Node { name, body, .. } = &self.nodes[*child];
            bytes.extend(name.long_entries());
            let (attributes, size) = match body {
                Body::Folder(_) => (FOLDER, 0),
                Body::File(content) => (ARCHIVE, content.len() as u32),
            };
            bytes.extend(self.entry(&name.short, attributes, starts[*child].0, size));
        }
        bytes
    }

    fn entry(&self, name: &[u8; 11], attributes: u8, cluster: u32, size: u32) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        let Stamp { date, time } = self.stamp;
        entry[..11].copy_from_slice(name);
        entry[11] = attributes;
        let numbers = [time, date, date, (cluster >> 16) as u16, time, date, cluster as u16];
        for (pair, number) in entry[14..28].chunks_exact_mut(2).zip(numbers) {
            pair.copy_from_slice(&number.to_le_bytes());
        }
        entry[28..].copy_from_slice(&size.to_le_bytes());
        entry
    }

    fn boot_sector(&self) -> [u8; 512] {
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\xeb\x58\x90FAIRLEAD");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[self.geometry.per_cluster as u8, RESERVED as u8, 0, FATS as u8]);
        put(21, &[0xf8, 0, 0, 63, 0, 255, 0]);
        put(28, &self.hidden.to_le_bytes());
        put(32, &self.geometry.sectors.to_le_bytes());
        put(36, &(self.geometry.fat_sectors as u32).to_le_bytes());
        put(44, &ROOT.to_le_bytes());
        put(48, &[1, 0, 6, 0]);
        put(64, &[0x80, 0, 0x29]);
        put(67, &self.serial.to_le_bytes());
        put(71, &self.label);
        put(82, b"FAT32   ");
        put(510, &[0x55, 0xaa]);
        sector
    }

    fn information_sector(&self, used: u64) -> [u8; 512] {
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"RRaA");
        put(484, b"rrAa");
        put(488, &((self.geometry.clusters - used) as u32).to_le_bytes());
        put(492, &(ROOT + used as u32).to_le_bytes());
        put(510, &[0x55, 0xaa]);
        sector
    }
}

impl Geometry {
    /// The largest clusters with which there are still enough of them.
    fn of(bytes: u64) -> Result<Geometry, Fault> {
        let sectors = u32::try_from(bytes / SECTOR).map_err(|_| Fault::format("a FAT volume has 2 TiB at most"))?;
        for per_cluster in [64, 32, 16, 8, 4, 2, 1] {
            let most = u64::from(sectors).saturating_sub(RESERVED) / per_cluster;
            let fat_sectors = ((most + u64::from(ROOT)) * 4).div_ceil(SECTOR);
            let clusters = u64::from(sectors).saturating_sub(RESERVED + FATS * fat_sectors) / per_cluster;
            if clusters >= FEWEST_CLUSTERS {
                return Ok(Geometry { sectors, per_cluster, fat_sectors, clusters });
            }
        }
        Err(Fault::Full { what: "a FAT32 volume".into(), needed: LEAST_BYTES, there: bytes })
    }

    fn byte_of(&self, cluster: u32) -> u64 {
        let sector = RESERVED + FATS * self.fat_sectors + u64::from(cluster - ROOT) * self.per_cluster;
        sector * SECTOR
    }
}

impl Stamp {
    /// Days to a date by Howard Hinnant's `civil_from_days`.
    fn of(time: u64) -> Result<Stamp, Fault> {
        let days = time / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let since = year.checked_sub(1980).filter(|since| *since < 128);
        let since = since.ok_or_else(|| Fault::Format(format!("FAT has no year {year}")))?;
        let (hour, minute, second) = (time / 3600 % 24, time / 60 % 60, time % 60);
        let packed = (hour << 11 | minute << 5 | (second / 2)) as u16;
        Ok(Stamp { date: (since << 9 | month << 5 | day) as u16, time: packed })
    }
}

/// The allocation table of nodes that lie one behind the other.
fn fat(starts: &[(u32, u32)]) -> Vec<u8> {
    let mut table = vec![0x0fff_fff8, END_OF_CHAIN];
    for (start, count) in starts.iter().filter(|(_, count)| *count > 0) {
        table.extend(start + 1..start + count);
        table.push(END_OF_CHAIN);
    }
    table.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn put(disk: &mut (impl Write + Seek), at: u64, bytes: &[u8]) -> Result<(), Fault> {
    disk.seek(SeekFrom::Start(at))?;
    Ok(disk.write_all(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let stamp = |time| Stamp::of(time).map(|stamp| (stamp.date, stamp.time)).unwrap();
        assert_eq!(stamp(315_532_800), (1 << 5 | 1, 0), "1980-01-01");
        assert_eq!(stamp(1_709_210_096), (44 << 9 | 2 << 5 | 29, 12 << 11 | 34 << 5 | 28), "2024-02-29 12:34:56");
        assert!(Stamp::of(315_532_799).is_err());
        assert!(Stamp::of(1 << 40).is_err());
    }

    #[test]
    fn a_file_that_does_not_fit_is_named() {
        let mut volume = Volume::new("SMALL", 1, 34 << 20, 1_700_000_000).unwrap();
        volume.file("EFI/big.efi", vec![0; 35 << 20]).unwrap();
        let mut disk = std::io::Cursor::new(Vec::new());
        let fault = volume.write(&mut disk, 0).unwrap_err();
        assert!(matches!(&fault, Fault::Full { what, .. } if what == "big.efi"), "{fault}");
    }

    #[test]
    fn refuses_what_is_no_volume() {
        assert!(Volume::new("TINY", 1, 16 << 20, 1_700_000_000).is_err());
        assert!(Volume::new("A LABEL TOO LONG", 1, 34 << 20, 1_700_000_000).is_err());
        let mut volume = Volume::new("V", 1, 34 << 20, 1_700_000_000).unwrap();
        volume.file("a/b", &b"1"[..]).unwrap();
        assert!(volume.file("A/B", &b"2"[..]).is_err(), "the same name in another case");
        assert!(volume.file("a/b/c", &b"3"[..]).is_err(), "a file as a folder");
        assert!(volume.file("a/b:c", &b"4"[..]).is_err(), "a character that FAT has not");
    }
}
