//! A fresh ext4 file system on a partition whose old one is beyond repair: blocks of 1 KiB, a journal of
//! 1 MiB, extents, the label by which the partition is found again. No checksums and no 64-bit numbers: it
//! is a few MiB large. Layout: Linux `Documentation/filesystems/ext4`.

use fairlead_disk::layout::{CONFIGURATION_ID, CONFIGURATION_NAME};
use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

const BLOCK: usize = 1024;
const PER_GROUP: u32 = 8192;
const INODES_PER_GROUP: u32 = 256;
const INODE: usize = 256;
const TABLE_BLOCKS: u32 = INODES_PER_GROUP * INODE as u32 / BLOCK as u32;
const JOURNAL_BLOCKS: u32 = 1024;
/// Smaller has no room for a journal; larger would need more than one block of group descriptors.
const SMALLEST: u32 = 4096;
const LARGEST: u32 = PER_GROUP * 32;

const ROOT: u32 = 2;
const JOURNAL: u32 = 8;
const LOST_AND_FOUND: u32 = 11;

/// Writes it over the whole of `device`.
///
/// # Errors
/// Those of writing, and that the device is too small.
pub fn anew(device: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(device)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    write(&mut file, bytes)?;
    file.sync_all()
}

/// As [`anew`], of `bytes` bytes.
///
/// # Errors
/// The same.
pub fn write(out: &mut (impl Write + Seek), bytes: u64) -> io::Result<()> {
    let blocks = u32::try_from(bytes / BLOCK as u64).unwrap_or(LARGEST).min(LARGEST);
    if blocks < SMALLEST {
        return Err(io::Error::other("4 MiB are needed at least"));
    }
    Layout::of(blocks).write(out)
}

struct Layout {
    blocks: u32,
    groups: Vec<Group>,
    root: u32,
    lost: u32,
    journal: u32,
}

struct Group {
    first: u32,
    length: u32,
    /// Where its block bitmap is; inode bitmap and table follow.
    bitmap: u32,
    /// Blocks in use from its first one on.
    used: u32,
}

impl Layout {
    fn of(blocks: u32) -> Layout {
        // The last group needs room for its own tables.
        let tail = (blocks - 1) % PER_GROUP;
        let blocks = if tail != 0 && tail < TABLE_BLOCKS + 64 { blocks - tail } else { blocks };
        let count = (blocks - 1).div_ceil(PER_GROUP);
        let mut groups: Vec<Group> = (0..count).map(|number| Group::of(number, blocks)).collect();
        let mut take = |length: u32| {
            let group = groups.iter_mut().find(|group| group.length - group.used >= length);
            group.map_or(0, |group| {
                group.used += length;
                group.first + group.used - length
            })
        };
        let (root, lost, journal) = (take(1), take(1), take(JOURNAL_BLOCKS));
        Layout { blocks, groups, root, lost, journal }
    }

    fn write(&self, out: &mut (impl Write + Seek)) -> io::Result<()> {
        let empty = vec![0; BLOCK];
        let descriptors = self.descriptors();
        for (number, group) in (0u32..).zip(&self.groups) {
            if has_copy(number) {
                put(out, group.first, &self.superblock(number))?;
                put(out, group.first + 1, &descriptors)?;
            }
            put(out, group.bitmap, &bits(group.used, group.length))?;
            let inodes = if number == 0 { LOST_AND_FOUND } else { 0 };
            put(out, group.bitmap + 1, &bits(inodes, INODES_PER_GROUP))?;
            (0..TABLE_BLOCKS).try_for_each(|block| put(out, group.bitmap + 2 + block, &empty))?;
        }
        let table = self.groups.first().map_or(0, |group| group.bitmap + 2);
        let mut inode = |number: u32, bytes: &[u8]| {
            let at = u64::from(table) * BLOCK as u64 + u64::from(number - 1) * INODE as u64;
            out.seek(SeekFrom::Start(at)).and_then(|_| out.write_all(bytes))
        };
        inode(ROOT, &of_inode(0o040_755, 3, self.root, 1))?;
        inode(JOURNAL, &of_inode(0o100_600, 1, self.journal, JOURNAL_BLOCKS))?;
        inode(LOST_AND_FOUND, &of_inode(0o040_700, 2, self.lost, 1))?;
        put(out, self.root, &folder(&[(ROOT, "."), (ROOT, ".."), (LOST_AND_FOUND, "lost+found")]))?;
        put(out, self.lost, &folder(&[(LOST_AND_FOUND, "."), (ROOT, "..")]))?;
        (1..JOURNAL_BLOCKS).try_for_each(|block| put(out, self.journal + block, &empty))?;
        put(out, self.journal, &journal())?;
        // The boot sector, which may hold what another file system was known by.
        put(out, 0, &empty)
    }

    fn descriptors(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        for (number, group) in self.groups.iter().enumerate() {
            let at = number * 32;
            let used_inodes = if number == 0 { LOST_AND_FOUND } else { 0 };
            for (offset, value) in [(0, group.bitmap), (4, group.bitmap + 1), (8, group.bitmap + 2)] {
                set32(&mut block, at + offset, value);
            }
            set16(&mut block, at + 12, group.length - group.used);
            set16(&mut block, at + 14, INODES_PER_GROUP - used_inodes);
            set16(&mut block, at + 16, if number == 0 { 2 } else { 0 });
        }
        block
    }

    fn superblock(&self, group: u32) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let count = self.groups.len() as u32;
        let free: u32 = self.groups.iter().map(|group| group.length - group.used).sum();
        let inodes = count * INODES_PER_GROUP;
        let words = [
            (0x00, inodes),
            (0x04, self.blocks),
            (0x08, self.blocks / 50),
            (0x0c, free),
            (0x10, inodes - LOST_AND_FOUND),
            (0x14, 1),
            (0x20, PER_GROUP),
            (0x24, PER_GROUP),
            (0x28, INODES_PER_GROUP),
            (0x4c, 1),
            (0x54, LOST_AND_FOUND),
            // has_journal, ext_attr; filetype, extents; sparse_super, large_file, huge_file, dir_nlink, extra_isize.
            (0x5c, 0x4 | 0x8),
            (0x60, 0x2 | 0x40),
            (0x64, 0x1 | 0x2 | 0x8 | 0x20 | 0x40),
            (0xe0, JOURNAL),
            // user_xattr and acl are on by default.
            (0x100, 0xc),
        ];
        words.iter().for_each(|(at, value)| set32(&mut block, *at, *value));
        // Checked after no number of mounts; magic; clean; go on read-only after an error; inodes; group.
        let halves = [
            (0x36, 0xffff),
            (0x38, 0xef53),
            (0x3a, 1),
            (0x3c, 2),
            (0x58, INODE as u32),
            (0x5a, group),
            (0x15c, 32),
            (0x15e, 32),
        ];
        halves.iter().for_each(|(at, value)| set16(&mut block, *at, *value));
        set(&mut block, 0x68, &uuid());
        set(&mut block, 0x78, CONFIGURATION_NAME.as_bytes());
        block
    }
}

impl Group {
    fn of(number: u32, blocks: u32) -> Group {
        let first = 1 + number * PER_GROUP;
        let copies = if has_copy(number) { 2 } else { 0 };
        Group {
            first,
            length: (blocks - first).min(PER_GROUP),
            bitmap: first + copies,
            used: copies + 2 + TABLE_BLOCKS,
        }
    }
}

/// In the order in which it is read; partition tables have another.
fn uuid() -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = CONFIGURATION_ID.to_disk();
    let mut bytes = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&mut bytes, 8, &rest);
    bytes
}

/// `sparse_super`: groups 0 and 1 and the powers of 3, 5 and 7.
fn has_copy(group: u32) -> bool {
    let power =
        |base: u32| std::iter::successors(Some(base), |last| last.checked_mul(base)).take(6).any(|one| one == group);
    group <= 1 || power(3) || power(5) || power(7)
}

fn put(out: &mut (impl Write + Seek), block: u32, bytes: &[u8]) -> io::Result<()> {
    out.seek(SeekFrom::Start(u64::from(block) * BLOCK as u64))?;
    out.write_all(bytes)
}

/// The first `used` bits, and those that stand for nothing.
fn bits(used: u32, length: u32) -> Vec<u8> {
    let is_set = |bit: u32| bit < used || bit >= length;
    (0..BLOCK as u32).map(|byte| (0..8).fold(0, |sum, bit| sum | u8::from(is_set(byte * 8 + bit)) << bit)).collect()
}

/// A file or folder in one extent.
fn of_inode(mode: u32, links: u32, block: u32, blocks: u32) -> Vec<u8> {
    let mut inode = vec![0; INODE];
    set16(&mut inode, 0x00, mode);
    set32(&mut inode, 0x04, blocks * BLOCK as u32);
    set16(&mut inode, 0x1a, links);
    set32(&mut inode, 0x1c, blocks * (BLOCK as u32 / 512));
    // EXT4_EXTENTS_FL; then the header of the tree, of one leaf among four.
    set32(&mut inode, 0x20, 0x8_0000);
    for (at, value) in [(0x28, 0xf30a), (0x2a, 1), (0x2c, 4), (0x38, blocks)] {
        set16(&mut inode, at, value);
    }
    set32(&mut inode, 0x3c, block);
    set16(&mut inode, 0x80, 32);
    inode
}

fn folder(entries: &[(u32, &str)]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    for (number, (inode, name)) in entries.iter().enumerate() {
        let last = number + 1 == entries.len();
        let length = if last { BLOCK - at } else { (8 + name.len()).next_multiple_of(4) };
        set32(&mut block, at, *inode);
        set16(&mut block, at + 4, length as u32);
        set(&mut block, at + 6, &[name.len() as u8, 2]);
        set(&mut block, at + 8, name.as_bytes());
        at += length;
    }
    block
}

/// An empty one (jbd2, version 2), whose numbers are in network order.
fn journal() -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let words = [(0, 0xc03b_3998u32), (4, 4), (12, BLOCK as u32), (16, JOURNAL_BLOCKS), (20, 1), (24, 1), (64, 1)];
    words.iter().for_each(|(at, value)| set(&mut block, *at, &value.to_be_bytes()));
    set(&mut block, 48, &uuid());
    block
}

fn set(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = block.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn set16(block: &mut [u8], at: usize, value: u32) {
    set(block, at, &(value as u16).to_le_bytes());
}

fn set32(block: &mut [u8], at: usize, value: u32) {
    set(block, at, &value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// As e2fsprogs sees it: nothing to repair, and what is asked for is there.
    #[test]
    fn the_checker_finds_nothing_to_repair() {
        for bytes in [4 << 20, (8 << 20) + 3000, 16 << 20, 30 << 20, 100 << 20] {
            let path = std::env::temp_dir().join(format!("fairlead-mkfs-{}-{bytes}", std::process::id()));
            let mut file = fs::File::create(&path).unwrap();
            file.set_len(bytes).unwrap();
            write(&mut file, bytes).unwrap();
            let check = Command::new("/usr/sbin/e2fsck").args(["-f", "-n"]).arg(&path).output().unwrap();
            let text = String::from_utf8_lossy(&check.stdout).into_owned();
            assert!(check.status.success(), "{bytes} bytes: {text}{}", String::from_utf8_lossy(&check.stderr));
            let about = Command::new("/usr/sbin/dumpe2fs").arg("-h").arg(&path).output().unwrap();
            let about = String::from_utf8_lossy(&about.stdout).into_owned();
            for part in ["FLCONF", "464c0000-0000-4000-8000-000000000003", "has_journal", "1024k"] {
                assert!(about.contains(part), "{part} is not in {about}");
            }
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_too_small_is_refused() {
        assert!(write(&mut io::Cursor::new(Vec::new()), 1 << 20).is_err());
    }
}
