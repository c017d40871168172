//! GUID partition tables (UEFI 2.10, section 5.3): both copies written, either one read.
//!
//! No table is ever changed in place: the builder writes it once, and nothing on a running appliance moves a partition.

use std::io::{Read, Seek, SeekFrom, Write};

use crate::guid::Guid;
use crate::{Fault, SECTOR};

pub const BIOS_BOOT: Guid = Guid::new(0x21686148_6449_6e6f_744e_656564454649);
pub const EFI_SYSTEM: Guid = Guid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
pub const LINUX_DATA: Guid = Guid::new(0x0fc63daf_8483_4772_8e79_3d69d8477de4);

const HEADER_SIZE: u32 = 92;
const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
const TABLE_BYTES: usize = (ENTRIES * ENTRY_SIZE) as usize;
const TABLE_SECTORS: u64 = TABLE_BYTES as u64 / SECTOR;
/// The first sector behind the primary header and table; as many lie before the disk's end, and the MBR not.
const FIRST_USABLE: u64 = 2 + TABLE_SECTORS;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub kind: Guid,
    pub id: Guid,
    pub name: String,
    /// The first and the last sector, both its own.
    pub first: u64,
    pub last: u64,
    pub attributes: u64,
}

impl Partition {
    pub fn offset(&self) -> u64 {
        self.first * SECTOR
    }

    pub fn bytes(&self) -> u64 {
        (self.last + 1 - self.first) * SECTOR
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub id: Guid,
    /// Of the whole disk.
    pub sectors: u64,
    pub partitions: Vec<Partition>,
}

impl Table {
    /// Writes both copies; the first sector (see [`crate::mbr`]) is left alone.
    pub fn write(&self, disk: &mut (impl Write + Seek)) -> Result<(), Fault> {
        self.check()?;
        let entries = self.entries()?;
        let (first, last) = (1, self.sectors - 1);
        for (own, other, table) in [(first, last, 2), (last, first, last - TABLE_SECTORS)] {
            disk.seek(SeekFrom::Start(table * SECTOR))?;
            disk.write_all(&entries)?;
            disk.seek(SeekFrom::Start(own * SECTOR))?;
            disk.write_all(&self.header(own, other, table, crc32fast::hash(&entries)))?;
        }
        Ok(())
    }

    /// The primary table, or the copy at the end where the primary is damaged.
    pub fn read(disk: &mut (impl Read + Seek)) -> Result<Table, Fault> {
        let sectors = disk.seek(SeekFrom::End(0))? / SECTOR;
        Table::read_at(disk, 1, sectors)
            .or_else(|primary| Table::read_at(disk, sectors.saturating_sub(1), sectors).map_err(|_| primary))
    }

    pub fn named(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    fn check(&self) -> Result<(), Fault> {
        let usable = FIRST_USABLE..self.sectors.saturating_sub(1 + TABLE_SECTORS);
        let mut free = usable.start;
        for partition in &self.partitions {
            let Partition { name, first, last, .. } = partition;
            if *first < free || last < first || *last >= usable.end {
                let there = format!("sectors {free} to {}", usable.end.saturating_sub(1));
                return Err(Fault::Format(format!("partition {name} ({first} to {last}) is outside of {there}")));
            }
            free = last + 1;
        }
        if self.partitions.len() > ENTRIES as usize {
            return Err(Fault::format("a partition table has 128 entries"));
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(TABLE_BYTES);
        for partition in &self.partitions {
            bytes.extend(partition.kind.to_disk());
            bytes.extend(partition.id.to_disk());
            for number in [partition.first, partition.last, partition.attributes] {
                bytes.extend(number.to_le_bytes());
            }
            let mut name: Vec<u16> = partition.name.encode_utf16().collect();
            if name.len() > 36 {
                return Err(Fault::Format(format!("a partition's name has 36 characters at most: {}", partition.name)));
            }
            name.resize(36, 0);
            bytes.extend(name.into_iter().flat_map(u16::to_le_bytes));
        }
        bytes.resize(TABLE_BYTES, 0);
        Ok(bytes)
    }

    fn header(&self, own: u64, other: u64, table: u64, entries_crc: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTOR as usize);
        bytes.extend(b"EFI PART\0\0\x01\0");
        bytes.extend(HEADER_SIZE.to_le_bytes());
        bytes.extend([0; 8]); // the checksum, filled in below, and a reserved word
        for number in [own, other, FIRST_USABLE, self.sectors - 2 - TABLE_SECTORS] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.id.to_disk());
        bytes.extend(table.to_le_bytes());
        for number in [ENTRIES, ENTRY_SIZE, entries_crc] {
            bytes.extend(number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.splice(16..20, crc.to_le_bytes());
        bytes.resize(SECTOR as usize, 0);
        bytes
    }

    fn read_at(disk: &mut (impl Read + Seek), own: u64, sectors: u64) -> Result<Table, Fault> {
        let damaged = || Fault::format("no valid partition table");
        let header = read_at(disk, own, HEADER_SIZE as usize)?;
        let mut blanked = header.clone();
        blanked.splice(16..20, [0; 4]);
        let fits = header.starts_with(b"EFI PART") && u32_at(&header, 12) == Some(HEADER_SIZE);
        let fits = fits && u32_at(&header, 16) == Some(crc32fast::hash(&blanked)) && u64_at(&header, 24) == Some(own);
        let size = u32_at(&header, 80).zip(u32_at(&header, 84)) == Some((ENTRIES, ENTRY_SIZE));
        let (Some(table), true) = (u64_at(&header, 72), fits && size) else { return Err(damaged()) };
        let entries = read_at(disk, table, TABLE_BYTES)?;
        if u32_at(&header, 88) != Some(crc32fast::hash(&entries)) {
            return Err(damaged());
        }
        let id = guid_at(&header, 56).ok_or_else(damaged)?;
        let used = entries.chunks_exact(ENTRY_SIZE as usize).filter(|entry| entry.iter().any(|byte| *byte != 0));
        let partitions = used.map(partition).collect::<Option<_>>().ok_or_else(damaged)?;
        Ok(Table { id, sectors, partitions })
    }
}

fn partition(entry: &[u8]) -> Option<Partition> {
    let letters = entry.get(56..)?.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
    let name: Vec<u16> = letters.take_while(|letter| *letter != 0).collect();
    let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
    let sane = first <= last && last < u64::MAX / SECTOR;
    sane.then_some(Partition {
        kind: guid_at(entry, 0)?,
        id: guid_at(entry, 16)?,
        name: String::from_utf16_lossy(&name),
        first,
        last,
        attributes: u64_at(entry, 48)?,
    })
}

fn read_at(disk: &mut (impl Read + Seek), sector: u64, bytes: usize) -> Result<Vec<u8>, Fault> {
    let at = sector.checked_mul(SECTOR).ok_or_else(|| Fault::format("no valid partition table"))?;
    let mut buffer = vec![0; bytes];
    disk.seek(SeekFrom::Start(at))?;
    disk.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn guid_at(bytes: &[u8], at: usize) -> Option<Guid> {
    Some(Guid::from_disk(bytes.get(at..at + 16)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn table() -> Table {
        let part = |name: &str, first: u64, last| Partition {
            kind: EFI_SYSTEM,
            id: Guid::new(u128::from(first)),
            name: name.to_owned(),
            first,
            last,
            attributes: 4,
        };
        Table { id: Guid::new(7), sectors: 4096, partitions: vec![part("one", 40, 2047), part("two", 2048, 4000)] }
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut disk = Cursor::new(vec![0; 4096 * 512]);
        table().write(&mut disk).unwrap();
        assert_eq!(Table::read(&mut disk).unwrap(), table());
        assert_eq!(table().named("two").map(Partition::offset), Some(1 << 20));
    }

    #[test]
    fn reads_the_copy_where_the_primary_is_damaged() {
        for damaged in [520, 560, 1030, 1100] {
            let mut disk = Cursor::new(vec![0; 4096 * 512]);
            table().write(&mut disk).unwrap();
            disk.get_mut()[damaged] ^= 0x40;
            assert_eq!(Table::read(&mut disk).unwrap(), table(), "byte {damaged}");
            let copy = 4096 * 512 - 512 + 20;
            disk.get_mut()[copy] ^= 1;
            assert!(Table::read(&mut disk).is_err(), "byte {damaged}, and the copy");
        }
    }

    #[test]
    fn refuses_partitions_that_overlap_or_leave_the_disk() {
        let mut disk = Cursor::new(vec![0; 4096 * 512]);
        let mut overlap = table();
        overlap.partitions[1].first = 2047;
        assert!(overlap.write(&mut disk).unwrap_err().to_string().contains("partition two (2047 to 4000) is outside"));
        let mut beyond = table();
        beyond.partitions[1].last = 4063;
        assert!(beyond.write(&mut disk).is_err());
    }
}
