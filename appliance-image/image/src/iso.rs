//! The image as a CD, which also boots as a USB stick: one EFI system partition as a file of it, from which UEFI boots as
//! it is and BIOS by GRUB, so that kernel and initramfs are there once.

use std::fs::{self, File};
use std::path::Path;

use fairlead_disk::{fat32, grub, layout};

use crate::disk::{Boot, Grub};
use crate::{Fault, tool};

/// Beside the files: tables of the file system, and room to grow by a cluster each.
const SLACK_BYTES: u64 = 2 << 20;
const LABEL: &str = "FAIRLEAD";
/// GRUB's part of the CD, as a path from its root.
const FOLDER: &str = "grub";

/// Goes before the configuration of disks: the partition is a file here.
const PREFACE: &str = "loopback esp /efi.img\nset root=esp\n\n";

pub fn write(path: &Path, grub: &Grub<'_>, boot: &Boot<'_>) -> Result<(), Fault> {
    let folder = grub.work.join("iso");
    fs::create_dir_all(folder.join(FOLDER))?;
    let bytes = ((boot.image.len() + boot.loader.len()) as u64 + SLACK_BYTES).max(fat32::LEAST_BYTES);
    let mut volume = fat32::Volume::new(layout::ESP_NAME, layout::ESP_SERIAL, bytes, boot.time)?;
    boot.fill(&mut volume)?;
    let mut partition = File::create(folder.join("efi.img"))?;
    partition.set_len(bytes)?;
    volume.write(&mut partition, 0)?;
    fs::write(folder.join(FOLDER).join("core.img"), grub.core("i386-pc-eltorito", "/grub")?)?;
    fs::write(folder.join(FOLDER).join("grub.cfg"), format!("{PREFACE}{}", grub::CONFIGURATION))?;
    fs::write(folder.join(FOLDER).join("grubenv"), boot.environment()?)?;
    let mut command = tool::command("xorriso");
    // xorriso takes every date and random number of the image from it.
    command.env("SOURCE_DATE_EPOCH", boot.time.to_string());
    command.args(["-as", "mkisofs", "-quiet", "-r", "-V", LABEL, "-volset", LABEL, "-o"]).arg(path);
    command.args(["-b", "grub/core.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    command.arg("--grub2-boot-info").arg("--grub2-mbr").arg(grub.modules.join("boot_hybrid.img"));
    command.args(["--efi-boot", "efi.img", "-efi-boot-part", "--efi-boot-image", "--protective-msdos-label"]);
    tool::output(command.arg("--set_all_file_dates").arg(format!("={}", boot.time)).arg(&folder))?;
    Ok(())
}
