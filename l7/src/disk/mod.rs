//! Files as requests find them on disk: what is at a path, opened or only looked at.
//!
//! Paths are opened where they are asked for, as nginx does it: names are in the kernel's memory but
//! for the first time. Bytes that are not are read elsewhere ([`read`]), those of `directio` always
//! ([`direct`]). `content` asks for what it serves, `links` walks a path that may hold no symbolic links.

mod cache;
mod direct;
mod links;
mod read;

pub(crate) use cache::{Cache, Settings as CacheSettings};
pub(crate) use direct::{MOST_ALIGNMENT, begin, finish};
pub(crate) use links::{Links, Which};
pub(crate) use read::{Now, bring, now, read};

use crate::exchange::Exchange;
use fairlead_core::clock::tick;
use fairlead_core::log::{Level, OsError};
use rustix::fs::{Advice, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A pipe, a socket or a device: never read.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub kind: Kind,
    pub length: u64,
    /// Seconds since 1970.
    pub modified: u64,
    /// Device and number: the same path may be another file later.
    pub identity: (u64, u64),
}

#[derive(Debug)]
pub(crate) struct File {
    fd: OwnedFd,
    /// `directio`: what its reads are aligned to.
    direct: Option<usize>,
}

impl File {
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An open file, for as long as somebody reads it.
pub(crate) type Descriptor = Arc<File>;

#[derive(Clone, Debug)]
pub(crate) enum Found {
    File(Descriptor, About),
    Folder,
    Other,
}

/// Why a path could not be opened or looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub errno: Errno,
    /// The system call that failed.
    pub call: &'static str,
}

impl Failure {
    /// There is nothing of this name.
    pub fn is_absence(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG)
    }
}

/// As nginx words it: `(2: No such file or directory)`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OsError(&io::Error::from(self.errno)).fmt(f)
    }
}

/// `read_ahead` says nothing about shorter files.
const LEAST_AHEAD: u64 = 128 << 10;

// Not blocking: opening a pipe would wait for its writer.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Opens what is at `path` for reading, or has it open already.
pub(crate) fn open(exchange: &Exchange, path: &[u8]) -> Result<Found, Failure> {
    let settings = &exchange.location.files.cache;
    // With links refused what is at a path depends on more than the path.
    if settings.most == 0 || exchange.location.files.links.is_some() {
        return open_now(exchange, path);
    }
    let now = tick();
    let kept = (settings, exchange.location.files.directio);
    if let Some(found) = exchange.worker.with_open_files(kept, |cache| cache.find(path, settings, now)) {
        return found;
    }
    let found = open_now(exchange, path);
    exchange.worker.with_open_files(kept, |cache| cache.keep(path, &found, settings, now));
    found
}

fn open_now(exchange: &Exchange, path: &[u8]) -> Result<Found, Failure> {
    let file = open_by(exchange, path)?;
    let about = about_open(&file)?;
    Ok(match about.kind {
        Kind::File => {
            if about.length > LEAST_AHEAD && exchange.location.files.read_ahead > 0 {
                // Only advice.
                let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
            }
            let direct = alignment(exchange, path, &file, about.length);
            Found::File(Arc::new(File { fd: file, direct }), about)
        }
        Kind::Folder => Found::Folder,
        Kind::Other => Found::Other,
    })
}

/// Makes the kernel read a long file past its memory, where `directio` says so.
fn alignment(exchange: &Exchange, path: &[u8], file: &OwnedFd, length: u64) -> Option<usize> {
    let (least, alignment) = exchange.location.files.directio?;
    if length < least {
        return None;
    }
    match direct::set(file, true) {
        Ok(()) => Some(alignment),
        Err(errno) => {
            exchange.log(Level::Alert, format_args!("{}", direct::refused(path, errno)));
            None
        }
    }
}

/// Says what is at `path`.
pub(crate) fn look(exchange: &Exchange, path: &[u8]) -> Result<About, Failure> {
    if exchange.location.files.links.is_some() {
        return about_open(&open_by(exchange, path)?);
    }
    if exchange.location.files.cache.most > 0 {
        let of = |kind| About { kind, length: 0, modified: 0, identity: (0, 0) };
        return open(exchange, path).map(|found| match found {
            Found::File(_, about) => about,
            Found::Folder => of(Kind::Folder),
            Found::Other => of(Kind::Other),
        });
    }
    let stat = rustix::fs::stat(c_path(path, "stat()")?);
    stat.map(|stat| about(&stat)).map_err(|errno| Failure { errno, call: "stat()" })
}

fn open_by(exchange: &Exchange, path: &[u8]) -> Result<OwnedFd, Failure> {
    if let Some(links) = &exchange.location.files.links {
        return links.open(exchange, path);
    }
    rustix::fs::open(c_path(path, "open()")?, READ, Mode::empty()).map_err(|errno| Failure { errno, call: "open()" })
}

/// A path with a zero byte is that of no file.
fn c_path<'a>(path: &'a [u8], call: &'static str) -> Result<&'a [u8], Failure> {
    if path.contains(&0) { Err(Failure { errno: Errno::NOENT, call }) } else { Ok(path) }
}

fn about_open(file: &OwnedFd) -> Result<About, Failure> {
    rustix::fs::fstat(file).map(|stat| about(&stat)).map_err(|errno| Failure { errno, call: "fstat()" })
}

fn about(stat: &Stat) -> About {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    };
    About {
        kind,
        length: u64::try_from(stat.st_size).unwrap_or(0),
        modified: u64::try_from(stat.st_mtime).unwrap_or(0),
        identity: (stat.st_dev, stat.st_ino),
    }
}
