//! The few things the store asks of a file system, so that its order of writes can be stopped after
//! each one. Refuses nothing and decides nothing: [`System`] is the kernel's, and the tests bring one
//! that forgets whatever was not synced when the power goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    File,
    Folder,
    Link,
}

/// A file system, one call a step.
pub trait Disk {
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the file, or empties the one that is there.
    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()>;
    fn link(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Replaces what has the name `to`, in one step. Both are in the same folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A file or a symbolic link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// An empty one.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// The names in it, not what they stand for.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, Kind)>>;
}

/// The kernel's file system. What it makes is for its owner alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Disk for System {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(contents)
    }

    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, Kind)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = match entry.file_type()? {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_symlink() => Kind::Link,
                _ => Kind::File,
            };
            // A name that is no text is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, kind));
            }
        }
        found.sort();
        Ok(found)
    }
}
