//! Where configuration text comes from: files on disk, or a snapshot of the
//! files a master process read, so that its worker parses the same bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Index of a file in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId(pub u32);

/// A range of bytes in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

/// Every file a configuration was read from, in the order they were opened.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub files: Vec<SourceFile>,
}

/// One file: its path as nginx would print it and its whole text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: Arc<str>,
}

/// All that was read from disk to build a tree; parsing a snapshot again gives
/// the same tree without touching the disk.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Text of each file, by path.
    pub files: Vec<(PathBuf, Arc<str>)>,
    /// What each `include` mask expanded to.
    pub globs: Vec<(String, Vec<PathBuf>)>,
}

impl Sources {
    pub fn path(&self, file: FileId) -> &Path {
        self.files.get(file.0 as usize).map_or(Path::new(""), |file| file.path.as_path())
    }
}
