//! The same disk in the forms that hypervisors take.

use std::path::{Path, PathBuf};

use crate::{Fault, tool};

/// A form of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For `dd`, and for clouds.
    Raw,
    /// QEMU, KVM, Proxmox, OpenStack.
    Qcow2,
    /// VMware, VirtualBox.
    Vmdk,
    /// Hyper-V.
    Vhdx,
    /// CDs, virtual media of servers, USB sticks.
    Iso,
    /// Kernel and initramfs, for direct and network boot.
    Files,
}

impl Format {
    pub const ALL: [Format; 6] = [Format::Raw, Format::Qcow2, Format::Vmdk, Format::Vhdx, Format::Iso, Format::Files];

    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vhdx => "vhdx",
            Format::Iso => "iso",
            Format::Files => "files",
        }
    }

    pub fn named(name: &str) -> Result<Format, Fault> {
        let found = Format::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| format!("no format is called {name}").into())
    }

    /// How `qemu-img` makes it of a raw disk; `None` for those it does not make.
    fn conversion(self) -> Option<&'static [&'static str]> {
        match self {
            // Small clusters: an image this small is mostly tables otherwise.
            Format::Qcow2 => Some(&["-c", "-o", "compression_type=zstd,cluster_size=16k"]),
            Format::Vmdk => Some(&["-o", "subformat=streamOptimized"]),
            Format::Vhdx => Some(&["-o", "subformat=dynamic"]),
            Format::Raw | Format::Iso | Format::Files => None,
        }
    }
}

/// Converts a raw disk, if the format is one that comes of it; gives back the new file.
pub fn convert(raw: &Path, format: Format) -> Result<Option<PathBuf>, Fault> {
    let Some(options) = format.conversion() else { return Ok(None) };
    let place = raw.with_extension(format.name());
    let mut command = tool::command("qemu-img");
    command.args(["convert", "-f", "raw", "-O", format.name()]).args(options);
    tool::output(command.arg(raw).arg(&place))?;
    Ok(Some(place))
}
