//! One log destination, shared by every directive that names it.
//!
//! A sink outlives the file behind it: reopening puts a new file there, and
//! bytes that were meant for the old one still go to the old one.

use crate::log::files::Files;
use crate::log::queue::{Queue, unpoisoned};
use crate::log::records::{push_record, records};
use crate::log::syslog::Sender;
use crate::log::{Level, OsError};
use flate2::Compression;
use flate2::write::GzEncoder;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How long a full pipe (standard output of a container) may hold up one write.
const PIPE_PATIENCE_MS: u16 = 1000;

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    pub path: PathBuf,
    file: File,
}

impl LogFile {
    /// # Errors
    /// Those of `open`, worded as nginx words them.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
        let file = opened.map_err(|error| {
            let message = format!("open() \"{}\" failed {}", path.display(), OsError(&error));
            io::Error::new(error.kind(), message)
        })?;
        Ok(LogFile { path: path.to_owned(), file })
    }

    /// A file another process opened for appending.
    pub fn given(path: &Path, file: OwnedFd) -> LogFile {
        LogFile { path: path.to_owned(), file: File::from(file) }
    }

    pub fn append(&self, bytes: &[u8]) -> Result<(), Loss> {
        append(&mut &self.file, self.file.as_fd(), bytes)
    }

    /// `write() to "logs/access.log" failed (28: No space left on device)`.
    pub fn failure(&self, error: &io::Error) -> String {
        format!("write() to \"{}\" failed {}", self.path.display(), OsError(error))
    }

    /// Whether its name still leads to it, and not to another file or to none.
    pub fn is_in_its_place(&self) -> bool {
        let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let own = self.file.metadata().map(place).ok();
        own.is_some() && own == std::fs::metadata(&self.path).map(place).ok()
    }

    /// # Errors
    /// Those of `dup`.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }
}

/// What a sink writes to at one moment.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Stderr,
    File(Arc<LogFile>),
    /// Each write is a member of its own, so that the file can be read while it grows.
    Gzip(Arc<LogFile>, u8),
    /// Takes [records](push_record), one a message.
    Syslog(Arc<Sender>),
    /// Takes records: the name of a file, a zero, the folder that has to exist or nothing, a zero, the line.
    Files(Arc<Files>),
}

/// What a write lost, and why.
#[derive(Debug)]
pub(super) struct Loss {
    pub error: io::Error,
    pub lines: u64,
}

impl Output {
    pub fn write(&self, bytes: &[u8]) -> Result<(), Loss> {
        match self {
            Output::Stderr => append(&mut io::stderr(), io::stderr().as_fd(), bytes),
            Output::File(file) => file.append(bytes),
            Output::Gzip(file, level) => {
                let lost = |error| Loss { error, lines: lines(bytes) };
                let packed = compress(bytes, *level).map_err(lost)?;
                file.append(&packed).map_err(|loss| lost(loss.error))
            }
            Output::Syslog(sender) => sender.send_records(bytes),
            Output::Files(files) => files.write(bytes),
        }
    }

    /// The same place for compressed lines, if it is a file.
    pub fn compressed(self, gzip: Option<u8>) -> Output {
        match (self, gzip) {
            (Output::File(file), Some(level)) => Output::Gzip(file, level),
            (output, _) => output,
        }
    }

    pub fn is(&self, other: &Output) -> bool {
        match (self, other) {
            (Output::Stderr, Output::Stderr) => true,
            (Output::File(one), Output::File(two)) => Arc::ptr_eq(one, two),
            (Output::Gzip(one, level), Output::Gzip(two, other)) => Arc::ptr_eq(one, two) && level == other,
            (Output::Syslog(one), Output::Syslog(two)) => Arc::ptr_eq(one, two),
            (Output::Files(one), Output::Files(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }

    pub fn lines(&self, bytes: &[u8]) -> u64 {
        match self {
            Output::Stderr | Output::File(_) | Output::Gzip(..) => lines(bytes),
            Output::Syslog(_) | Output::Files(_) => records(bytes).count() as u64,
        }
    }

    /// `write() to "logs/access.log" failed (28: No space left on device)`.
    pub fn failure(&self, error: &io::Error) -> String {
        let failed = error;
        let error = OsError(error);
        match self {
            Output::Stderr => format!("write() to stderr failed {error}"),
            Output::File(file) | Output::Gzip(file, _) => file.failure(failed),
            // Which file it was is said already.
            Output::Files(_) => failed.to_string(),
            Output::Syslog(sender) => format!("send() failed {error} while logging to syslog, server: {sender}"),
        }
    }
}

fn append(to: &mut dyn Write, fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Loss> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let error = match to.write(rest) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && writable(fd) => continue,
            Err(error) => error,
        };
        return Err(Loss { error, lines: lines(rest) });
    }
    Ok(())
}

fn writable(fd: BorrowedFd<'_>) -> bool {
    let mut wait = [PollFd::new(fd, PollFlags::POLLOUT)];
    poll(&mut wait, PollTimeout::from(PIPE_PATIENCE_MS)).is_ok_and(|ready| ready > 0)
}

fn compress(bytes: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level.into()));
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// A destination: what it is never changes, the file behind it may.
pub(crate) struct Sink {
    /// Place in every writer's table, unique among the sinks of a registry.
    pub(super) index: usize,
    pub(super) queue: Arc<Queue>,
    /// Error lines are written by who has them, not by the log thread.
    direct: bool,
    output: Mutex<Output>,
    /// Counts reopenings.
    epoch: AtomicU64,
    framing: Framing,
}

/// How lines wait for a sink.
enum Framing {
    /// One after the other.
    Lines,
    /// As records, each with its header.
    Syslog(Arc<Sender>),
    /// As records, each with the name of its file.
    Files,
}

impl Sink {
    pub(super) fn new(index: usize, queue: &Arc<Queue>, direct: bool, output: Output) -> Sink {
        let framing = match &output {
            Output::Syslog(sender) => Framing::Syslog(sender.clone()),
            Output::Files(_) => Framing::Files,
            Output::Stderr | Output::File(_) | Output::Gzip(..) => Framing::Lines,
        };
        let direct = direct || matches!(output, Output::Stderr);
        Sink { index, queue: queue.clone(), direct, output: Mutex::new(output), epoch: AtomicU64::new(0), framing }
    }

    pub(super) fn output(&self) -> Output {
        unpoisoned(self.output.lock()).clone()
    }

    pub(super) fn replace(&self, file: LogFile) {
        let old = std::mem::replace(&mut *unpoisoned(self.output.lock()), Output::File(Arc::new(file)));
        self.epoch.fetch_add(1, Ordering::Release);
        drop(old);
    }

    /// Differs from what it was once the sink has been reopened.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Appends what `build` writes as one line or one message of severity `info`.
    pub(super) fn push_line(&self, out: &mut Vec<u8>, build: impl FnOnce(&mut Vec<u8>)) {
        match &self.framing {
            Framing::Lines => {
                build(out);
                out.push(b'\n');
            }
            Framing::Files => push_record(out, |out| {
                build(out);
                out.push(b'\n');
            }),
            Framing::Syslog(sender) => push_record(out, |out| {
                sender.push_header(None, out);
                build(out);
            }),
        }
    }

    /// Writes a line of an error log; `line` comes with its end.
    pub(super) fn error_line(&self, level: Level, line: &[u8], now: bool) {
        let Framing::Syslog(sender) = &self.framing else {
            self.deliver(line, now);
            return;
        };
        let mut record = Vec::with_capacity(line.len() + 128);
        push_record(&mut record, |out| {
            sender.push_header(Some(level), out);
            out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        });
        self.deliver(&record, now);
    }

    fn deliver(&self, bytes: &[u8], now: bool) {
        let output = self.output();
        if now || self.direct {
            // Counted there; an error log that cannot be written has nobody left to tell.
            let _ = self.queue.write(&output, bytes);
        } else {
            self.queue.push(&output, bytes);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("index", &self.index).field("output", &self.output).finish_non_exhaustive()
    }
}
