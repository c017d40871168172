//! Error log lines in nginx's shape, which people's tools parse.
//!
//! A line is put together on the stack of whoever has something to say and
//! handed to every sink that wants its level. Bytes of the network that reach a
//! message are made harmless here: no caller can forget to.

use crate::clock;
use crate::log::queue::Queue;
use crate::log::sink::{Output, Sink};
use nix::unistd::{getpid, gettid};
use std::cell::Cell;
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;

/// Longest line with its end, as nginx's.
const MAX_LINE: usize = 2048;

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

impl Level {
    pub const ALL: [Level; 8] =
        [Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error, Level::Crit, Level::Alert, Level::Emerg];

    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Crit => "crit",
            Level::Alert => "alert",
            Level::Emerg => "emerg",
        }
    }
}

/// The error logs in force somewhere: cheap to clone, writes to every file whose level asks for it.
#[derive(Clone, Debug, Default)]
pub struct ErrorLog {
    sinks: Arc<[(Level, Arc<Sink>)]>,
}

impl ErrorLog {
    pub(super) fn new(sinks: Vec<(Level, Arc<Sink>)>) -> ErrorLog {
        ErrorLog { sinks: sinks.into() }
    }

    /// Standard error, for what happens before a configuration has been read.
    pub fn stderr(level: Level) -> ErrorLog {
        ErrorLog::new(vec![(level, Arc::new(Sink::new(0, &Arc::<Queue>::default(), true, Output::Stderr)))])
    }

    /// Whether anybody wants lines of this level; ask before building an expensive message.
    pub fn wants(&self, level: Level) -> bool {
        self.sinks.iter().any(|(floor, _)| level >= *floor)
    }

    /// `2026/11/20 20:01:02 [error] PID#TID: *CONN message`. `connection` 0 leaves `*CONN` out.
    /// Control characters of the message are written as `\xNN`, so that a line stays a line.
    pub fn write(&self, level: Level, connection: u64, message: fmt::Arguments<'_>) {
        self.deliver(level, connection, message, false);
    }

    /// The same past the log thread, for the log thread itself and for last words.
    pub fn write_now(&self, level: Level, connection: u64, message: fmt::Arguments<'_>) {
        self.deliver(level, connection, message, true);
    }

    fn deliver(&self, level: Level, connection: u64, message: fmt::Arguments<'_>, now: bool) {
        if !self.wants(level) {
            return;
        }
        let mut line = Line::default();
        line.begin(level, connection);
        // Fails when the line is full: what fits is what is logged.
        let _ = Escaped(&mut line).write_fmt(message);
        let line = line.end();
        for (_, sink) in self.sinks.iter().filter(|(floor, _)| level >= *floor) {
            sink.error_line(level, line, now);
        }
    }
}

/// A line under construction; what is too much is cut.
struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line { bytes: [0; MAX_LINE], length: 0 }
    }
}

impl Line {
    fn begin(&mut self, level: Level, connection: u64) {
        let mut time = Vec::with_capacity(20);
        clock::push_time_error(&mut time);
        self.push(&time);
        let (pid, tid) = process_and_thread();
        // A line's beginning always fits.
        let _ = write!(self, " [{}] {pid}#{tid}: ", level.name());
        if connection != 0 {
            let _ = write!(self, "*{connection} ");
        }
    }

    /// Whether all of it fit.
    fn push(&mut self, bytes: &[u8]) -> bool {
        // The last byte is the line's end.
        let room = MAX_LINE - 1 - self.length;
        let taken = bytes.len().min(room);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.length..self.length + taken), bytes.get(..taken)) {
            to.copy_from_slice(from);
            self.length += taken;
        }
        taken == bytes.len()
    }

    fn end(&mut self) -> &[u8] {
        if let Some(end) = self.bytes.get_mut(self.length) {
            *end = b'\n';
        }
        self.bytes.get(..=self.length).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Writes control characters (those of Latin-1 too: terminals obey them) as `\xNN`.
struct Escaped<'a>(&'a mut Line);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut clean = 0;
        for (at, control) in text.char_indices().filter(|(_, character)| character.is_control()) {
            self.0.write_str(text.get(clean..at).unwrap_or_default())?;
            clean = at + control.len_utf8();
            for byte in control.encode_utf8(&mut [0; 4]).bytes() {
                write!(self.0, "\\x{byte:02X}")?;
            }
        }
        self.0.write_str(text.get(clean..).unwrap_or_default())
    }
}

/// Asks the kernel for the thread's id once; again in a forked child, which inherits the memory of it.
fn process_and_thread() -> (i32, i32) {
    thread_local! {
        static IDS: Cell<(i32, i32)> = const { Cell::new((0, 0)) };
    }
    let pid = getpid().as_raw();
    let mut ids = IDS.get();
    if ids.0 != pid {
        ids = (pid, gettid().as_raw());
        IDS.set(ids);
    }
    ids
}

/// An error of the operating system as nginx prints it: `(111: Connection refused)`; with `{:#}`
/// without the parentheses.
pub struct OsError<'a>(pub &'a io::Error);

impl fmt::Display for OsError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = match self.0.raw_os_error() {
            Some(code) => format!("{code}: {}", text.split(" (os error").next().unwrap_or_default()),
            None => text,
        };
        if f.alternate() { f.write_str(&text) } else { write!(f, "({text})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, connection: u64, message: fmt::Arguments<'_>) -> String {
        let mut line = Line::default();
        line.begin(level, connection);
        let _ = Escaped(&mut line).write_fmt(message);
        String::from_utf8_lossy(line.end()).into_owned()
    }

    #[test]
    fn lines_have_nginx_s_shape() {
        let (pid, tid) = process_and_thread();
        let line = line(Level::Error, 7, format_args!("connect() failed, client: {}", "127.0.0.1"));
        let (time, rest) = line.split_at(19);
        assert!(time.bytes().zip(*b"0000/00/00 00:00:00").all(|(a, b)| a == b || a.is_ascii_digit()), "{time}");
        assert_eq!(rest, format!(" [error] {pid}#{tid}: *7 connect() failed, client: 127.0.0.1\n"));
    }

    #[test]
    fn connection_zero_is_left_out() {
        assert!(line(Level::Notice, 0, format_args!("start")).ends_with(": start\n"));
    }

    #[test]
    fn control_characters_cannot_forge_a_line_or_drive_a_terminal() {
        let hostile = "GET /\r\n2026/11/20 [emerg] \x1b[2J\u{9b}31m \x7f é";
        let line = line(Level::Info, 1, format_args!("request: \"{hostile}\""));
        assert!(line.ends_with("GET /\\x0D\\x0A2026/11/20 [emerg] \\x1B[2J\\xC2\\x9B31m \\x7F é\"\n"), "{line}");
    }

    #[test]
    fn long_lines_are_cut_at_nginx_s_length_with_their_end() {
        let long = "x".repeat(5000);
        let line = line(Level::Error, 1, format_args!("{long}{long}"));
        assert_eq!(line.len(), MAX_LINE);
        assert!(line.ends_with("xxx\n"));
    }

    #[test]
    fn os_errors_read_as_strerror_has_them() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(OsError(&refused).to_string(), "(111: Connection refused)");
        assert_eq!(OsError(&io::Error::other("no luck")).to_string(), "(no luck)");
        assert_eq!(format!("{:#}", OsError(&refused)), "111: Connection refused");
    }

    #[test]
    fn names_of_levels_parse_back() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
        assert_eq!(Level::from_name("err"), None);
    }
}
