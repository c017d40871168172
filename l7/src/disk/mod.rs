//! Files as requests find them on disk: what is at a path, opened or only looked at.
//!
//! Paths are opened where they are asked for, as nginx does it: names are in the kernel's memory but
//! for the first time. Bytes that are not are read elsewhere ([`read`]), those of `directio` always
//! ([`direct`]). `content` asks for what it serves, `links` walks a path that may hold no symbolic links,
//! `hot` holds the small files that are asked for all the time.

mod cache;
mod direct;
mod hot;
mod links;
mod read;

pub(crate) use cache::{Cache, Settings as CacheSettings};
pub(crate) use direct::{MOST_ALIGNMENT, begin, finish};
pub(crate) use hot::Hot;
pub(crate) use links::{Links, Which};
pub(crate) use read::{Now, bring, held, now, read};

use crate::exchange::Exchange;
use fairlead_core::clock::{tick, unix_millis};
use fairlead_core::log::{Level, OsError};
use rustix::fs::{Advice, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
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
pub struct File {
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
pub type Descriptor = Arc<File>;

/// The bytes of a file, for as long as somebody reads them.
#[derive(Clone, Debug)]
pub enum Source {
    Open(Descriptor),
    /// All that a small one has.
    Held(Rc<[u8]>),
}

/// What a file was when it was looked at; all of it the same later, and it is the same file as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    length: u64,
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            length: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    /// When it last changed, in milliseconds since 1970.
    fn changed_millis(&self) -> u64 {
        let (seconds, nanos) = self.changed;
        u64::try_from(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)).unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Found {
    File(Source, About),
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

/// Opens what is at `path` for reading, or has it already.
pub(crate) fn open(exchange: &Exchange, path: &[u8]) -> Result<Found, Failure> {
    let settings = &exchange.location.files.cache;
    // With links refused what is at a path depends on more than the path.
    if exchange.location.files.links.is_some() {
        return open_now(exchange, path).map(|(found, _)| found);
    }
    if settings.most == 0 {
        return open_hot(exchange, path);
    }
    let now = tick();
    let kept = (settings, exchange.location.files.directio);
    if let Some(found) = exchange.worker.with_open_files(kept, |cache| cache.find(path, settings, now)) {
        return found;
    }
    let found = open_now(exchange, path).map(|(found, _)| found);
    exchange.worker.with_open_files(kept, |cache| cache.keep(path, &found, settings, now));
    found
}

/// One look tells whether what is held is still what is there.
fn open_hot(exchange: &Exchange, path: &[u8]) -> Result<Found, Failure> {
    let (now, hot) = (tick(), &exchange.worker.hot);
    if let Some((bytes, stamp)) = hot.find(path, now) {
        match rustix::fs::stat(path) {
            Ok(stat) if Stamp::of(&stat) == stamp => return Ok(Found::File(Source::Held(bytes), about(&stat))),
            _ => hot.forget(path),
        }
    }
    let (found, stamp) = open_now(exchange, path)?;
    let Found::File(Source::Open(file), about) = found else { return Ok(found) };
    if !file.is_direct()
        && hot.wants(path, &stamp, (now, unix_millis()))
        && let Some(bytes) = read::whole(&file.fd, stamp.length)
    {
        hot.keep(path, (bytes.clone(), stamp), now);
        return Ok(Found::File(Source::Held(bytes), about));
    }
    Ok(Found::File(Source::Open(file), about))
}

fn open_now(exchange: &Exchange, path: &[u8]) -> Result<(Found, Stamp), Failure> {
    let file = open_by(exchange, path)?;
    let stat = stat_open(&file)?;
    let about = about(&stat);
    let found = match about.kind {
        Kind::File => {
            if about.length > LEAST_AHEAD && exchange.location.files.read_ahead > 0 {
                // Only advice.
                let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
            }
            let direct = alignment(exchange, path, &file, about.length);
            Found::File(Source::Open(Arc::new(File { fd: file, direct })), about)
        }
        Kind::Folder => Found::Folder,
        Kind::Other => Found::Other,
    };
    Ok((found, Stamp::of(&stat)))
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
        return stat_open(&open_by(exchange, path)?).map(|stat| about(&stat));
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

fn stat_open(file: &OwnedFd) -> Result<Stat, Failure> {
    rustix::fs::fstat(file).map_err(|errno| Failure { errno, call: "fstat()" })
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
