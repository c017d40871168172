//! Access logs: escaping, buffering per worker, files and syslog.

use crate::log::registry::Destination;
use fairlead_conf::Word;
use std::time::Duration;

/// `escape=` of `log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Escape {
    #[default]
    Default,
    Json,
    None,
}

/// A `log_format` as written; the plane compiles `text` with its own variables.
#[derive(Clone, Debug)]
pub struct Format {
    pub name: Box<str>,
    pub escape: Escape,
    /// The strings after the name, to be joined.
    pub text: Vec<Word>,
}

/// Appends a variable's value as the format's escape mode writes it; `None` is a value that
/// does not exist (`-` in the default mode).
pub fn push_escaped(_escape: Escape, _value: Option<&[u8]>, _out: &mut Vec<u8>) {}

/// Where the lines of one `access_log` go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    pub destination: Destination,
    pub buffer: Option<usize>,
    pub flush: Option<Duration>,
}

/// One worker's buffered lines of all access logs.
#[derive(Default)]
pub struct Writer;

impl Writer {
    /// Appends one line: `build` writes it without its end, which this adds. Lines reach the log
    /// thread within a few milliseconds, or by `buffer=`/`flush=`.
    pub fn line(&self, _log: &AccessLog, _build: impl FnOnce(&mut Vec<u8>)) {}
}
