//! The log files of the process: opened by the master, reopened on USR1.
//!
//! A worker process runs as a user who may open none of them, so its registry
//! is given the master's descriptors and opens by path only what it was not given.

use crate::log::files::{FileCache, Files};
use crate::log::queue::{Queue, Stats, unpoisoned};
use crate::log::sink::{LogFile, Output, Sink};
use crate::log::syslog::{Sender, Target};
use crate::log::{AccessLog, ErrorLog, Level};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    File(PathBuf),
    Stderr,
    /// `server=…,facility=…,tag=…,severity=…,nohostname`: what follows `syslog:`, as written.
    Syslog(Box<str>),
    /// Files whose names `template` gives line by line, kept open as `cache` says.
    Files {
        template: Box<str>,
        cache: Option<FileCache>,
    },
}

/// Every log destination by name, so that two directives that name one file share it.
///
/// A default registry (the master's) writes error lines itself and starts no thread unless an
/// access log is written; one [with files](Registry::with_files) (a worker's) leaves both to the
/// log thread.
pub struct Registry {
    queue: Arc<Queue>,
    sinks: Mutex<Sinks>,
    writes_errors_itself: bool,
}

#[derive(Default)]
struct Sinks {
    open: HashMap<Destination, Arc<Sink>>,
    /// Opened by another process and not asked for yet.
    given: HashMap<PathBuf, OwnedFd>,
    /// Numbers for new sinks: those given back, then those from `next` on.
    free: Vec<usize>,
    next: usize,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry { queue: Arc::default(), sinks: Mutex::default(), writes_errors_itself: true }
    }
}

impl Registry {
    /// A registry whose files were opened by another process.
    pub fn with_files(files: Vec<(PathBuf, OwnedFd)>) -> Registry {
        let sinks = Sinks { given: files.into_iter().collect(), ..Sinks::default() };
        Registry { queue: Arc::default(), sinks: Mutex::new(sinks), writes_errors_itself: false }
    }

    /// # Errors
    /// Those of `open`, with the path in the message, and of resolving a syslog server's name.
    pub fn error_log(&self, logs: &[(Destination, Level)]) -> io::Result<ErrorLog> {
        let mut sinks = Vec::with_capacity(logs.len());
        for (destination, level) in logs {
            sinks.push((*level, self.sink(destination)?));
        }
        Ok(ErrorLog::new(sinks))
    }

    /// # Errors
    /// As for [`error_log`](Registry::error_log).
    pub fn access_log(
        &self,
        destination: &Destination,
        buffer: Option<usize>,
        flush: Option<Duration>,
    ) -> io::Result<AccessLog> {
        let sink = self.sink(destination)?;
        Ok(AccessLog { destination: destination.clone(), buffer, flush, gzip: None, sink })
    }

    /// Path and descriptor of every open file, to be sent to the worker process.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn files(&self) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
        let mut files = Vec::new();
        for sink in self.lock().open.values() {
            if let Output::File(file) = sink.output() {
                files.push((file.path.clone(), file.duplicate()?));
            }
        }
        Ok(files)
    }

    /// Opens every file anew by its path (master, USR1). Lines already queued go to the old file.
    ///
    /// # Errors
    /// The first file that cannot be opened, which goes on as it is; the others are reopened all
    /// the same.
    pub fn reopen(&self) -> io::Result<()> {
        let mut first = Ok(());
        for sink in self.lock().open.values() {
            let old = match sink.output() {
                Output::File(old) => old,
                Output::Files(files) => {
                    files.close();
                    continue;
                }
                Output::Stderr | Output::Gzip(..) | Output::Syslog(_) => continue,
            };
            match LogFile::open(&old.path) {
                Ok(file) => sink.replace(file),
                Err(error) => first = first.and(Err(error)),
            }
        }
        self.queue.wake_writers();
        first
    }

    /// Puts a new descriptor behind a path (worker, when the master has reopened, or before a new
    /// configuration asks for it). Lines already queued go to the old file.
    pub fn replace(&self, path: &Path, file: OwnedFd) {
        let mut sinks = self.lock();
        for sink in sinks.open.values() {
            // Their names are nobody's to hand over: whoever reopens wants them by name too.
            if let Output::Files(files) = sink.output() {
                files.close();
            }
        }
        match sinks.open.get(&Destination::File(path.to_owned())) {
            Some(sink) => sink.replace(LogFile::given(path, file)),
            None => {
                sinks.given.insert(path.to_owned(), file);
            }
        }
        drop(sinks);
        self.queue.wake_writers();
    }

    /// Closes what no handle uses any more. For after a reload, when the old generation is gone.
    pub fn close_unused(&self) {
        let mut sinks = self.lock();
        let Sinks { open, given, free, .. } = &mut *sinks;
        given.clear();
        open.retain(|_, sink| {
            // Ours is the only one, and new ones are handed out under this lock.
            let unused = Arc::strong_count(sink) == 1;
            if unused {
                free.push(sink.index);
            }
            !unused
        });
    }

    /// Where the log thread tells of lines it lost and writes that failed, a line a second at most.
    pub fn complain_to(&self, log: ErrorLog) {
        self.queue.complain_to(log);
    }

    /// What was lost.
    pub fn stats(&self) -> &Stats {
        &self.queue.stats
    }

    /// Waits until all that is queued is written. What writers still hold they hand over when they
    /// are dropped, so drop them first.
    pub fn flush(&self) {
        self.queue.flush();
    }

    fn sink(&self, destination: &Destination) -> io::Result<Arc<Sink>> {
        let mut sinks = self.lock();
        if let Some(sink) = sinks.open.get(destination) {
            return Ok(sink.clone());
        }
        let output = sinks.output(destination)?;
        let index = sinks.free.pop().unwrap_or_else(|| {
            sinks.next += 1;
            sinks.next - 1
        });
        let sink = Arc::new(Sink::new(index, &self.queue, self.writes_errors_itself, output));
        sinks.open.insert(destination.clone(), sink.clone());
        Ok(sink)
    }

    fn lock(&self) -> MutexGuard<'_, Sinks> {
        unpoisoned(self.sinks.lock())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Sinks {
    fn output(&mut self, destination: &Destination) -> io::Result<Output> {
        Ok(match destination {
            Destination::Stderr => Output::Stderr,
            Destination::File(path) => Output::File(Arc::new(match self.given.remove(path) {
                Some(file) => LogFile::given(path, file),
                None => LogFile::open(path)?,
            })),
            Destination::Syslog(parameters) => {
                let target = Target::parse(parameters).map_err(io::Error::other)?;
                Output::Syslog(Arc::new(Sender::new(target)?))
            }
            Destination::Files { cache, .. } => Output::Files(Arc::new(Files::new(*cache))),
        })
    }
}
