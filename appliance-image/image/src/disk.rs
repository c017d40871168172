//! The raw disk: partition table, GRUB's core, EFI system partition, configuration.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use fairlead_disk::slot::{FileName, Version};
use fairlead_disk::{fat32, gpt, grub, grubenv, layout, mbr, uki};

use crate::{Fault, tool};

/// systemd-boot starts the newest image at once; nothing at the keyboard changes the command line.
const LOADER_CONFIGURATION: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\n";
/// Pieces in which a file is looked through for zeros, which are not written.
const PIECE: usize = 64 << 10;

/// GRUB for BIOS as Debian ships it, and the core for a place.
pub struct Grub<'a> {
    /// The folder of its modules.
    pub modules: &'a Path,
    pub work: &'a Path,
}

impl Grub<'_> {
    /// Makes a core that looks for its configuration below `prefix`; `format` is a target of grub-mkimage.
    pub fn core(&self, format: &str, prefix: &str) -> Result<Vec<u8>, Fault> {
        let place = self.work.join(format!("core-{format}.img"));
        let mut command = tool::command("grub-mkimage");
        command.arg("-O").arg(format).arg("-d").arg(self.modules).args(["-p", prefix]).arg("-o").arg(&place);
        tool::output(command.args(grub::MODULES))?;
        Ok(fs::read(place)?)
    }

    pub fn file(&self, name: &str) -> Result<Vec<u8>, Fault> {
        Ok(fs::read(self.modules.join(name)).map_err(|error| format!("GRUB's {name}: {error}"))?)
    }
}

/// What the EFI system partition holds.
pub struct Boot<'a> {
    pub loader: &'a [u8],
    pub image: &'a [u8],
    pub version: Version,
    /// In seconds since 1970.
    pub time: u64,
}

impl<'a> Boot<'a> {
    /// Lays the files out in a volume.
    pub fn fill(&self, volume: &mut fat32::Volume<'a>) -> Result<(), Fault> {
        let mut image = std::io::Cursor::new(self.image);
        let parsed = uki::Image::read(&mut image)?;
        let slot = grub::slot(&parsed, &mut image)?;
        volume.file(layout::LOADER_PATH, self.loader)?;
        volume.file(layout::LOADER_CONFIGURATION_PATH, LOADER_CONFIGURATION.as_bytes())?;
        volume.file(&format!("{}/{}", layout::IMAGES_FOLDER, FileName::settled(self.version)), self.image)?;
        volume.file(&grub::slot_path(self.version), slot.into_bytes())?;
        volume.file(layout::GRUB_CONFIGURATION_PATH, grub::CONFIGURATION.as_bytes())?;
        volume.file(layout::GRUB_ENVIRONMENT_PATH, self.environment()?)?;
        Ok(())
    }

    /// GRUB's state: this image boots, and none is on trial.
    pub fn environment(&self) -> Result<Vec<u8>, Fault> {
        let mut environment = grubenv::Environment::default();
        environment.set(grub::SLOT, &self.version.to_string());
        environment.set(grub::TRY, "");
        Ok(environment.to_block()?.to_vec())
    }
}

/// GRUB's two images, and an ext4 file system.
pub struct Parts<'a> {
    pub grub: mbr::Grub<'a>,
    pub boot: Boot<'a>,
    pub configuration: &'a Path,
}

/// Writes the disk, as a file with holes.
pub fn write(path: &Path, table: &gpt::Table, parts: &Parts<'_>) -> Result<(), Fault> {
    let named = |name: &str| table.named(name).ok_or_else(|| format!("the layout has no partition {name}"));
    let (core, esp) = (named(layout::BOOT_NAME)?, named(layout::ESP_NAME)?);
    let configuration = named(layout::CONFIGURATION_NAME)?;
    let mut disk = File::create(path)?;
    disk.set_len(table.sectors * fairlead_disk::SECTOR)?;
    disk.write_all(&mbr::first_sector(table.sectors, Some((&parts.grub, core.first)))?)?;
    disk.seek(SeekFrom::Start(core.offset()))?;
    disk.write_all(&mbr::place_core(parts.grub.core, core.first, core.last + 1 - core.first)?)?;
    let first = u32::try_from(esp.first)?;
    let volume = fat32::Volume::new(layout::ESP_NAME, layout::ESP_SERIAL, esp.bytes(), parts.boot.time)?;
    let mut volume = volume.beginning_at(first);
    parts.boot.fill(&mut volume)?;
    volume.write(&mut disk, esp.offset())?;
    copy(parts.configuration, &mut disk, configuration.offset())?;
    Ok(table.write(&mut disk)?)
}

/// Copies a file to a place of the disk, holes as holes.
fn copy(path: &Path, disk: &mut File, offset: u64) -> Result<(), Fault> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    for at in (offset..).step_by(PIECE) {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        if read < PIECE {
            file.read_exact(&mut piece[read..]).map_err(|_| format!("{} ends within a piece", path.display()))?;
        }
        if piece.iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(at))?;
            disk.write_all(&piece)?;
        }
    }
    Ok(())
}

/// An empty file system for the configuration. The features are named, so that no `/etc/mke2fs.conf` has a say.
pub fn configuration(path: &Path, bytes: u64, time: u64) -> Result<(), Fault> {
    let defaults = path.with_extension("mke2fs");
    fs::write(&defaults, "[defaults]\nbase_features = \n")?;
    File::create(path)?.set_len(bytes)?;
    let extended = format!(
        "hash_seed={},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard,no_copy_xattrs",
        layout::CONFIGURATION_SEED
    );
    let features = "none,has_journal,extent,ext_attr,dir_index,filetype,flex_bg,sparse_super,large_file,huge_file,\
                    extra_isize,metadata_csum,64bit";
    let mut command = tool::command("mke2fs");
    command.env("E2FSPROGS_FAKE_TIME", time.to_string()).env("MKE2FS_CONFIG", &defaults).env("MKE2FS_SYNC", "0");
    command.args(["-q", "-F", "-t", "ext4", "-b", "1024", "-I", "256", "-i", "8192", "-m", "1", "-J", "size=2"]);
    command.args(["-O", features, "-L", layout::CONFIGURATION_NAME, "-U", &layout::CONFIGURATION_ID.to_string()]);
    tool::output(command.arg("-E").arg(extended).arg(path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initramfs::{self, tests::archive};

    /// A PE program with room for sections.
    fn stub() -> Vec<u8> {
        let mut stub = vec![0; 1024];
        let mut put = |at: usize, bytes: &[u8]| stub[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &[0x80]);
        put(0x80, b"PE\0\0\x64\x86\x01");
        put(0x80 + 20, &[240, 0]);
        put(0x80 + 24, &[0x0b, 0x02]);
        put(0x80 + 24 + 36, &512_u32.to_le_bytes());
        put(0x80 + 24 + 60, &1024_u32.to_le_bytes());
        stub
    }

    /// A disk of made-up programs, from beginning to end.
    fn disk(name: &str) -> Vec<u8> {
        let time = 1_767_225_600;
        let version: Version = "0.1.0-7".parse().unwrap();
        let image = uki::build(&uki::Parts {
            stub: &stub(),
            os_release: &crate::unified::os_release(version),
            command_line: &crate::unified::arguments(version, ""),
            kernel_release: "6.12",
            kernel: &[0x4b; 100_000],
            initramfs: &initramfs::compress(&archive(time as u32)).unwrap(),
        })
        .unwrap();
        let folder = std::env::temp_dir().join(format!("fairlead-image-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let table = layout::table(layout::DISK_BYTES).unwrap();
        let ext4 = folder.join("ext4");
        configuration(&ext4, table.named(layout::CONFIGURATION_NAME).unwrap().bytes(), time).unwrap();
        let grub = mbr::Grub { boot: &[1; 512], core: &[2; 40_000] };
        let boot = Boot { loader: b"loader", image: &image, version, time };
        write(&folder.join("raw"), &table, &Parts { grub, boot, configuration: &ext4 }).unwrap();
        let disk = fs::read(folder.join("raw")).unwrap();
        fs::remove_dir_all(folder).unwrap();
        disk
    }

    #[test]
    fn two_builds_give_the_same_disk() {
        let (one, other) = (disk("one"), disk("other"));
        assert_eq!(one.len() as u64, layout::DISK_BYTES);
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!(differs, None, "the first byte that differs");
    }

    #[test]
    fn grub_finds_the_kernel_where_the_slot_file_says() {
        let disk = disk("grub");
        let text = String::from_utf8_lossy(&disk);
        let slot = &text[text.find("set version=0.1.0-7\nset kernel=").unwrap()..][..200];
        let (first, count) = slot.split("set kernel=").nth(1).unwrap().split_once('+').unwrap();
        let count: u64 = count.split('\n').next().unwrap().parse().unwrap();
        assert_eq!(count, 100_000_u64.div_ceil(512));
        // The image is the only file of that size, and lies in one piece.
        let kernel = disk.windows(16).position(|bytes| bytes == [0x4b; 16]).unwrap();
        let image = disk.windows(4).position(|bytes| bytes == b"MZ\0\0").unwrap();
        assert_eq!(kernel - image, first.parse::<usize>().unwrap() * 512);
    }
}
