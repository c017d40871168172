//! The first configuration, from what a machine is given beside its disk: a volume with files for
//! [cloud-init's NoCloud](nocloud) or for OpenStack's config drive. Pure: bytes in, files of a
//! configuration out. Whoever made the volume may be hostile: every length is checked, every walk
//! has an end, nothing is allocated on the volume's word alone.

pub mod cloud_config;
pub mod fat;
pub mod iso;
pub mod links;
pub mod links_v1;
pub mod links_v2;
pub mod network_data;
pub mod nocloud;
pub mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Largest file that is read of a seed.
pub const LARGEST_FILE: usize = 4 << 20;

/// A configuration: `fairlead.conf` and the files beside it, by their path below it.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Name of the configuration among its files.
pub const MAIN_FILE: &str = "fairlead.conf";

/// What a seed says.
#[derive(Debug, PartialEq, Eq)]
pub struct Seed {
    /// A seed is applied once for each of these.
    pub instance: String,
    /// Empty when the seed has nothing for us.
    pub files: Files,
    /// The `appliance {}` block that its network settings come to, to stand beside a configuration
    /// that has none.
    pub appliance: Option<String>,
    /// What of it was left out, in words.
    pub notes: Vec<String>,
}

/// A volume by its label, with its files.
pub enum Volume<R> {
    Iso(iso::Iso<R>),
    Fat(fat::Fat<R>),
}

impl<R: Read + Seek> Volume<R> {
    /// `None` when it is neither an ISO 9660 nor a FAT volume.
    pub fn open(mut medium: R) -> Option<Volume<R>> {
        if let Some(layout) = iso::layout(&mut medium) {
            return Some(Volume::Iso(iso::Iso::new(medium, layout)));
        }
        let layout = fat::layout(&mut medium)?;
        Some(Volume::Fat(fat::Fat::new(medium, layout)))
    }

    pub fn label(&mut self) -> String {
        match self {
            Volume::Iso(iso) => iso.label().to_owned(),
            Volume::Fat(fat) => fat.label(),
        }
    }

    /// The file at `path`; `None` when there is none.
    ///
    /// # Errors
    /// When the volume cannot be read or is damaged, and when the file is too large.
    pub fn read(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match self {
            Volume::Iso(iso) => iso.read(path),
            Volume::Fat(fat) => fat.read(path),
        }
    }
}

/// What a volume with one of the known labels says; `None` when it is another volume.
///
/// # Errors
/// When the volume is damaged, or what it says cannot be understood.
pub fn read<R: Read + Seek>(medium: R) -> io::Result<Option<Seed>> {
    let Some(mut volume) = Volume::open(medium) else { return Ok(None) };
    match volume.label().to_ascii_lowercase().as_str() {
        "cidata" => nocloud::read(&mut volume).map(Some),
        "config-2" => nocloud::read_config_drive(&mut volume).map(Some),
        _ => Ok(None),
    }
}

/// `length` bytes at `offset`; an error when there are fewer.
fn bytes_at<R: Read + Seek>(medium: &mut R, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    if length > LARGEST_FILE {
        return Err(damaged("a file is larger than 4 MiB"));
    }
    medium.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    medium.by_ref().take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() == length { Ok(bytes) } else { Err(damaged("the volume ends too early")) }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
