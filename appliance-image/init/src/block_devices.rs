//! Disks and partitions by what is written on them: no udev is here to name them.

use crate::say;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// Rounds of 50 ms that a disk is waited for when the machine was started from one, and otherwise.
const PATIENT: usize = 200;
const CURIOUS: usize = 8;

/// The ext4 file system's own label.
pub fn ext4_label(superblock: &[u8]) -> Option<String> {
    if superblock.get(0x38..0x3a)? != [0x53, 0xef] {
        return None;
    }
    let label = superblock.get(0x78..0x88)?;
    let label = label.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(label).into_owned())
}

/// Devices that could hold something, by name.
pub fn all() -> Vec<String> {
    let names = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !["loop", "ram", "zram", "fd"].iter().any(|kind| name.starts_with(kind)));
    names.sort_unstable();
    names
}

/// The device of the partition, or file system, that is called so.
pub fn named(label: &str) -> Option<PathBuf> {
    let names = all();
    let by_table = names.iter().find(|name| partition_name(name).as_deref() == Some(label));
    let found = by_table.or_else(|| names.iter().find(|name| file_system_label(name).as_deref() == Some(label)));
    found.map(|name| device(name))
}

/// As [`named`], once disks have had time to appear.
pub fn wait_for(label: &str, expected: bool) -> Option<PathBuf> {
    for round in 0..if expected { PATIENT } else { CURIOUS } {
        if let Some(found) = named(label) {
            return Some(found);
        }
        if round == 40 {
            say::step("waiting for the disk");
        }
        sleep(Duration::from_millis(50));
    }
    None
}

pub fn device(name: &str) -> PathBuf {
    PathBuf::from("/dev").join(name.replace('!', "/"))
}

/// What the partition table calls it.
fn partition_name(name: &str) -> Option<String> {
    let about = fs::read_to_string(format!("/sys/class/block/{name}/uevent")).ok()?;
    about.lines().find_map(|line| line.strip_prefix("PARTNAME=")).map(str::to_owned)
}

fn file_system_label(name: &str) -> Option<String> {
    let mut superblock = [0; 1024];
    File::open(device(name)).ok()?.read_exact_at(&mut superblock, 1024).ok()?;
    ext4_label(&superblock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_from_the_superblock() {
        let mut block = vec![0; 1024];
        assert_eq!(ext4_label(&block), None);
        block.splice(0x38..0x3a, [0x53, 0xef]);
        block.splice(0x78..0x7e, *b"FLCONF");
        assert_eq!(ext4_label(&block).as_deref(), Some("FLCONF"));
        assert_eq!(ext4_label(&[]), None);
    }
}
