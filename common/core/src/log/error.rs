//! Error log lines in nginx's shape.

use crate::log::Destination;
use fairlead_conf::Directive;
use std::fmt;

/// What the `error_log` lines of one level ask for.
#[derive(Clone, Debug, Default)]
pub struct ErrorLogs(pub Vec<(Destination, Level)>);

/// The row of `error_log`, for main and both planes.
pub const DIRECTIVES: &[Directive<ErrorLogs>] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
    Alert,
    Emerg,
}

/// The error logs in force somewhere: cheap to clone, writes to every file whose level asks for it.
#[derive(Clone, Debug, Default)]
pub struct ErrorLog;

impl ErrorLog {
    /// Whether anybody wants lines of this level; ask before building an expensive message.
    pub fn wants(&self, _level: Level) -> bool {
        false
    }

    /// `2026/11/20 20:01:02 [error] PID#TID: *CONN message`. `connection` 0 leaves `*CONN` out.
    pub fn write(&self, _level: Level, _connection: u64, _message: fmt::Arguments<'_>) {}
}
