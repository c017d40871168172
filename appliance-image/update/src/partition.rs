//! The few things that an update asks of the EFI system partition, so that its order of writes can be
//! stopped after each one. [`Mounted`] is the kernel's vfat; the tests bring one that loses, at any
//! step, any part of what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Paths are relative to the partition's root, with `/` between their parts.
pub trait Partition {
    type File: Read + Seek;

    /// Names of the files in a folder, sorted; none when it is not there.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// What the disk holds, not what is remembered of it.
    fn open(&self, path: &str) -> io::Result<Self::File>;
    /// A file of that many zeros, which replaces one of the same name.
    fn create(&self, path: &str, bytes: u64) -> io::Result<()>;
    /// In place, or where the file ends.
    fn write_at(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Returns when all of it is on the disk.
    fn sync(&self) -> io::Result<()>;
    /// Bytes that are free.
    fn free(&self) -> io::Result<u64>;
}

/// A partition that is mounted here.
#[derive(Clone, Debug)]
pub struct Mounted(pub PathBuf);

impl Mounted {
    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Partition for Mounted {
    type File = File;

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &str) -> io::Result<File> {
        let file = File::open(self.path(path))?;
        file.sync_all()?;
        // Pages that are clean are dropped, and what is read comes from the disk.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(file)
    }

    fn create(&self, path: &str, bytes: u64) -> io::Result<()> {
        let path = self.path(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        io::copy(&mut io::repeat(0).take(bytes), &mut file).map(drop)
    }

    fn write_at(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(self.path(path))?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.0)?)?)
    }

    fn free(&self) -> io::Result<u64> {
        let about = rustix::fs::statvfs(&self.0)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}
