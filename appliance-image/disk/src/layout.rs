//! The appliance's disk: which partitions it has, where, and what they and their files are called. The builder makes it
//! so, and the running system finds its way by the same names.
//!
//! ```text
//! sector 0        GRUB's first stage, protective MBR
//!        1        partition table (its copy in the last sectors)
//!       40        GRUB's core                      1 MiB less 20 KiB
//!     2048        FLESP, FAT32: what boots        96 MiB
//!   198656        FLCONF, ext4: configuration     30 MiB
//! ```

use crate::gpt::{BIOS_BOOT, EFI_SYSTEM, LINUX_DATA, Partition, Table};
use crate::guid::Guid;
use crate::{Fault, SECTOR};

/// Of the whole disk: what a build gives when nothing else is asked for, and the least.
pub const DISK_BYTES: u64 = 128 << 20;

/// Names of partitions, and labels of the file systems in them.
pub const BOOT_NAME: &str = "FLBOOT";
pub const ESP_NAME: &str = "FLESP";
pub const CONFIGURATION_NAME: &str = "FLCONF";

pub const DISK_ID: Guid = id(1);
pub const ESP_SERIAL: u32 = 0x464c_4553;
/// Of the ext4 file system.
pub const CONFIGURATION_ID: Guid = id(3);
/// With which that file system's folders are hashed.
pub const CONFIGURATION_SEED: Guid = id(4);

pub const CORE_SECTOR: u64 = 40;
const ESP_SECTOR: u64 = 2048;
const ESP_BYTES: u64 = 96 << 20;
const MEBIBYTE_SECTORS: u64 = (1 << 20) / SECTOR;

/// Files of the EFI system partition.
pub const LOADER_PATH: &str = "EFI/BOOT/BOOTX64.EFI";
pub const LOADER_CONFIGURATION_PATH: &str = "loader/loader.conf";
pub const IMAGES_FOLDER: &str = "EFI/Linux";
pub const GRUB_CONFIGURATION_PATH: &str = "grub/grub.cfg";
pub const GRUB_ENVIRONMENT_PATH: &str = "grub/grubenv";

const fn id(number: u128) -> Guid {
    Guid::new(0x464c_0000_0000_4000_8000_0000_0000_0000 + number)
}

/// The partitions of a disk of that many bytes: what is beyond the least goes to the configuration.
pub fn table(bytes: u64) -> Result<Table, Fault> {
    if bytes < DISK_BYTES || !bytes.is_multiple_of(1 << 20) {
        return Err(Fault::Format(format!(
            "a disk has whole MiB, and {} at least, not {bytes} bytes",
            DISK_BYTES >> 20
        )));
    }
    let sectors = bytes / SECTOR;
    let configuration = ESP_SECTOR + ESP_BYTES / SECTOR;
    let part = |kind, number, name: &str, first, next: u64| Partition {
        kind,
        id: id(number),
        name: name.to_owned(),
        first,
        last: next - 1,
        attributes: 0,
    };
    let partitions = vec![
        part(BIOS_BOOT, 0x11, BOOT_NAME, CORE_SECTOR, ESP_SECTOR),
        part(EFI_SYSTEM, 0x12, ESP_NAME, ESP_SECTOR, configuration),
        part(LINUX_DATA, 0x13, CONFIGURATION_NAME, configuration, sectors - MEBIBYTE_SECTORS),
    ];
    Ok(Table { id: DISK_ID, sectors, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_as_drawn() {
        let table = table(DISK_BYTES).unwrap();
        let drawn = [("FLBOOT", 40, 2008 * 512), ("FLESP", 2048, 96 << 20), ("FLCONF", 198_656, 30 << 20)];
        let made: Vec<_> = table.partitions.iter().map(|part| (part.name.as_str(), part.first, part.bytes())).collect();
        assert_eq!(made, drawn);
        table.write(&mut std::io::Cursor::new(vec![0; DISK_BYTES as usize])).unwrap();
        assert!(super::table(DISK_BYTES - 1).is_err());
    }
}
