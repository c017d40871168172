//! Files that hold what is too long for memory while a request lasts.
//!
//! A file is made with the first bytes that go into it and has a name only as long as somebody may
//! want to open it: without one it is gone with the process, however that ends. Whatever touches
//! the disk runs on the runtime's blocking threads, so that a slow disk stops no other connection.
//! [`crate::body`] and [`crate::proxy`] call it; it logs nothing.

#![allow(clippy::disallowed_methods, reason = "what touches the disk here runs on the runtime's blocking threads")]

use fairlead_core::clock::tick;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Where temporary files are made: `client_body_temp_path`, `proxy_temp_path`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TempFolder {
    pub path: PathBuf,
    /// Lengths of the names of the folders in between; 0 is none.
    levels: [usize; 3],
    /// The configuration names it: without it nothing is to start.
    pub written: bool,
}

/// How long a file has a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Name {
    /// It has none from the moment it is open.
    #[default]
    None,
    /// Until its request ends.
    Request,
    /// Nobody here takes it away.
    Kept,
}

/// Where a file goes for good, and as what.
#[derive(Debug)]
pub(crate) struct Place {
    pub path: PathBuf,
    /// Its permissions; folders that are made for it may be entered by who may read them.
    pub access: u32,
    pub modified: Option<SystemTime>,
}

/// A call that failed, in nginx's words: `open() "/path" failed (13: Permission denied)`.
#[derive(Debug)]
pub(crate) struct Failed {
    call: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { call, path, error } = self;
        write!(f, "{call} \"{}\" failed {}", path.display(), fairlead_core::log::OsError(error))
    }
}

/// A file that grows at its end. Nothing is on disk before something was appended.
#[derive(Debug)]
pub(crate) struct TempFile {
    folder: Arc<TempFolder>,
    name: Name,
    made: Option<Arc<Made>>,
    pub length: u64,
}

/// An open file, closed and, if its time is over, taken away when nobody holds it any more.
#[derive(Debug)]
pub(crate) struct Made {
    /// There until it is dropped.
    open: Option<Open>,
    pub path: PathBuf,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    name: Name,
}

/// Numbers of files, of all threads.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Names that are tried before it is given up.
const TRIES: usize = 100;

impl TempFolder {
    pub fn new(path: PathBuf, levels: &[usize], written: bool) -> TempFolder {
        let mut all = [0; 3];
        all.iter_mut().zip(levels).for_each(|(level, given)| *level = *given);
        TempFolder { path, levels: all, written }
    }

    /// As nginx: the digits of the number from its end name the folders in between.
    fn file(&self, number: u32) -> PathBuf {
        let name = format!("{number:010}");
        let mut path = self.path.clone();
        let mut end = name.len();
        for level in self.levels.into_iter().take_while(|level| *level > 0) {
            let start = end.saturating_sub(level);
            path.push(name.get(start..end).unwrap_or_default());
            end = start;
        }
        path.push(name);
        path
    }

    fn make(&self, name: Name) -> Result<Open, Failed> {
        let mut number = NEXT.fetch_add(1, Ordering::Relaxed);
        for _ in 0..TRIES {
            let path = self.file(number);
            match open(&path).or_else(|error| self.open_deeper(&path, error)) {
                Ok(file) => {
                    let open = Open { file, path, name };
                    if name == Name::None {
                        // A name that stays is no reason to refuse a request.
                        let _ = fs::remove_file(&open.path);
                    }
                    return Ok(open);
                }
                // What an earlier process has left: far away from it there may be room.
                Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => {
                    let step = u32::try_from(tick().0 % 1_000_000).unwrap_or(0) + 1;
                    number = NEXT.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
                }
                Err(failed) => return Err(failed),
            }
        }
        Err(Failed { call: "open()", path: self.file(number), error: ErrorKind::AlreadyExists.into() })
    }

    /// Makes the folders that are missing.
    fn open_deeper(&self, path: &Path, failed: Failed) -> Result<File, Failed> {
        let Some(parent) = path.parent().filter(|_| failed.error.kind() == ErrorKind::NotFound) else {
            return Err(failed);
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|error| Failed { call: "mkdir()", path: parent.into(), error })?;
        open(path)
    }
}

fn open(path: &Path) -> Result<File, Failed> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| Failed { call: "open()", path: path.into(), error })
}

impl TempFile {
    pub fn new(folder: Arc<TempFolder>, name: Name) -> TempFile {
        TempFile { folder, name, made: None, length: 0 }
    }

    /// A file like this one, of which nothing is on disk yet.
    pub fn another(&self) -> TempFile {
        TempFile::new(self.folder.clone(), self.name)
    }

    /// Writes `bytes` to its end and gives their emptied buffer back; with a failure, the bytes themselves.
    pub async fn append(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, (Failed, Vec<u8>)> {
        let (folder, name, made, at) = (self.folder.clone(), self.name, self.made.take(), self.length);
        let job = tokio::task::spawn_blocking(move || {
            let made = match made.map_or_else(|| folder.make(name).map(|open| Arc::new(Made::new(open))), Ok) {
                Ok(made) => made,
                Err(failed) => return (None, Err(failed), bytes),
            };
            let written = made.write(&bytes, at);
            (Some(made), written, bytes)
        });
        let (made, written, mut bytes) = job.await.unwrap_or_else(|_| {
            // The runtime ends, and this request with it.
            let (path, error) = (self.folder.path.clone(), ErrorKind::Other.into());
            (None, Err(Failed { call: "pwrite()", path, error }), Vec::new())
        });
        self.made = made;
        if let Err(failed) = written {
            return Err((failed, bytes));
        }
        self.length += bytes.len() as u64;
        bytes.clear();
        Ok(bytes)
    }

    /// Moves it to its place, in one step for who looks there; an empty one if nothing was appended.
    pub async fn into_place(self, place: Place) -> Result<(), Failed> {
        let job = tokio::task::spawn_blocking(move || {
            let made = match self.made {
                Some(made) => made,
                None => Arc::new(Made::new(self.folder.make(self.name)?)),
            };
            made.move_to(&place)
        });
        // Who has no runtime any more stores nothing.
        job.await.unwrap_or(Ok(()))
    }

    /// The file itself, once something is in it.
    pub fn made(&self) -> Option<&Arc<Made>> {
        self.made.as_ref()
    }
}

impl Made {
    fn new(open: Open) -> Made {
        Made { path: open.path.clone(), open: Some(open) }
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Failed> {
        let failed = |error| Failed { call: "pwrite()", path: self.path.clone(), error };
        let file = self.file().ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
        file.write_all_at(bytes, at).map_err(failed)
    }

    fn move_to(&self, place: &Place) -> Result<(), Failed> {
        let failed = |call, path: &Path, error| Failed { call, path: path.into(), error };
        if let Some(file) = self.file() {
            let mode = Permissions::from_mode(place.access);
            file.set_permissions(mode).map_err(|error| failed("fchmod()", &self.path, error))?;
            if let Some(modified) = place.modified {
                file.set_modified(modified).map_err(|error| failed("futimes()", &self.path, error))?;
            }
        }
        if let Some(folder) = place.path.parent() {
            // Who may read a folder may go into it.
            let mode = place.access | (place.access & 0o444) >> 2;
            let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
            made.map_err(|error| failed("mkdir()", folder, error))?;
        }
        match fs::rename(&self.path, &place.path) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => self.copy_to(place),
            moved => moved.map_err(|error| failed("rename()", &self.path, error)),
        }
    }

    /// To another disk: first beside its place, then into it.
    fn copy_to(&self, place: &Place) -> Result<(), Failed> {
        let mut name = place.path.as_os_str().to_owned();
        name.push(format!(".{:010}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let beside = PathBuf::from(name);
        let copied = fs::copy(&self.path, &beside).and_then(|_| {
            if let Some(modified) = place.modified {
                OpenOptions::new().write(true).open(&beside)?.set_modified(modified)?;
            }
            fs::rename(&beside, &place.path)
        });
        copied.map_err(|error| {
            // What is half a copy is nobody's.
            let _ = fs::remove_file(&beside);
            Failed { call: "rename()", path: place.path.clone(), error }
        })
    }

    /// So many bytes of it, from `at` on.
    pub async fn read(self: Arc<Made>, at: u64, count: usize) -> io::Result<Vec<u8>> {
        let job = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; count];
            let file = self.file().ok_or(ErrorKind::NotFound)?;
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        });
        job.await.unwrap_or_else(|_| Err(ErrorKind::Other.into()))
    }

    pub fn file(&self) -> Option<&File> {
        self.open.as_ref().map(|open| &open.file)
    }
}

impl Drop for Made {
    /// Closing the last descriptor of a long file without a name takes a while.
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(open)));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.name == Name::Request {
            // Who has taken it away before us has done our work.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_digits_from_the_end() {
        let folder = |levels: &[usize]| TempFolder::new("/t".into(), levels, true);
        assert_eq!(folder(&[]).file(123_457), Path::new("/t/0000123457"));
        assert_eq!(folder(&[1, 2]).file(123_457), Path::new("/t/7/45/0000123457"));
        assert_eq!(folder(&[2, 2, 2]).file(123_457), Path::new("/t/57/34/12/0000123457"));
    }
}
