//! How GRUB starts the appliance on BIOS: out of the same unified kernel images that UEFI starts, by lists of blocks.
//!
//! GRUB knows no PE. A small file beside each image says which sectors of it are kernel and initramfs; the builder
//! writes it for the first image, and the running system for each that it installs.

use std::io::{Read, Seek};

use crate::slot::Version;
use crate::uki::{COMMAND_LINE, INITRAMFS, Image, KERNEL, Section};
use crate::{Fault, SECTOR};

/// `grub/grub.cfg` of every appliance. An image on trial gets one boot: its name leaves the environment before it
/// starts. A trial that does not start, or an environment that was lost, ends in the next image that is there.
pub const CONFIGURATION: &str = include_str!("grub/grub.cfg");

/// What [`CONFIGURATION`] needs of GRUB beside the way to its prefix.
pub const MODULES: &[&str] = &[
    "biosdisk",
    "part_gpt",
    "fat",
    "iso9660",
    "normal",
    "configfile",
    "linux",
    "loadenv",
    "loopback",
    "test",
    "regexp",
    "echo",
    "serial",
    "terminal",
    "sleep",
    "reboot",
];

/// The variables of the environment block: the image that boots, and the one to boot once.
pub const SLOT: &str = "slot";
pub const TRY: &str = "try";

/// Where the text of [`slot`] lies, from the root of the EFI system partition.
pub fn slot_path(version: Version) -> String {
    format!("fairlead/{version}.cfg")
}

/// What GRUB must know of one image.
pub fn slot(image: &Image, file: &mut (impl Read + Seek)) -> Result<String, Fault> {
    let version = image.version(file)?;
    let arguments = image.text(file, COMMAND_LINE)?;
    if !arguments.chars().all(|c| (' '..='~').contains(&c) && !r#""'\$`"#.contains(c)) {
        return Err(Fault::Format(format!("GRUB cannot pass these arguments on: {arguments}")));
    }
    let (kernel, initramfs) = (blocks(image.section(KERNEL)?)?, blocks(image.section(INITRAMFS)?)?);
    Ok(format!(
        "set version={version}\nset kernel={kernel}\nset initramfs={initramfs}\nset arguments=\"{}\"\n",
        arguments.trim()
    ))
}

/// `FIRST+COUNT`, in sectors of the file.
fn blocks(section: &Section) -> Result<String, Fault> {
    if !section.offset.is_multiple_of(SECTOR) || section.size == 0 {
        return Err(Fault::Format(format!("section {} is not where GRUB can read it", section.name)));
    }
    Ok(format!("{}+{}", section.offset / SECTOR, section.size.div_ceil(SECTOR)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uki::tests::image;
    use std::io::Cursor;

    #[test]
    fn names_the_sectors_of_kernel_and_initramfs() {
        let mut file = Cursor::new(image("0.1.0-7"));
        let image = Image::read(&mut file).unwrap();
        assert_eq!(
            slot(&image, &mut file).unwrap(),
            "set version=0.1.0-7\nset kernel=5+6\nset initramfs=11+2\nset arguments=\"console=ttyS0 panic=5\"\n"
        );
    }
}
