//! The formats of the appliance's disk, which its builder and its PID 1 share: what one writes the other reads.
//!
//! Everything here is bytes in, bytes out: no file is opened, no program started, no clock read. What comes from a disk
//! or a network is checked and never trusted; it ends in a [`Fault`], not in a panic.
//!
//! - [`gpt`], [`mbr`]: the partition table, and the first sector that BIOS starts.
//! - [`fat32`]: a file system written in one go. Running systems write theirs through the kernel.
//! - [`cpio`]: the initramfs.
//! - [`uki`]: unified kernel images, one file that holds kernel, initramfs and command line.
//! - [`slot`], [`grubenv`], [`grub`]: which of the installed images boots, on UEFI and on BIOS.
//! - [`signature`]: ed25519 over an image.
//! - [`layout`]: where all of that lies on the appliance's disk, and what it is called.

pub mod cpio;
pub mod fat32;
pub mod gpt;
pub mod grub;
pub mod grubenv;
pub mod guid;
pub mod layout;
pub mod mbr;
pub mod signature;
pub mod slot;
pub mod uki;

use std::io;

/// Why bytes are not what they should be, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Format(String),
    #[error("{what} does not fit: {needed} bytes needed, {there} there")]
    Full { what: String, needed: u64, there: u64 },
}

impl Fault {
    fn format(what: impl Into<String>) -> Fault {
        Fault::Format(what.into())
    }
}

/// The unit of partitions, of unified kernel images and of GRUB's lists of blocks, in bytes.
pub const SECTOR: u64 = 512;
