//! What process 1 says: one line a step, with the time since boot, on every console the kernel has
//! and in the kernel's log. Never waits for a slow terminal, and keeps the last lines for the status
//! page.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Lines kept for the status page and the log verb.
const KEPT: usize = 400;
const LONGEST: usize = 900;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Step,
    Trouble,
}

/// A line that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since boot.
    pub at: u64,
    pub grade: Grade,
    pub text: String,
}

#[derive(Default)]
struct Voice {
    consoles: Vec<File>,
    kernel: Option<File>,
    /// A page is drawn on the consoles: lines would spoil it.
    drawn_over: bool,
    kept: VecDeque<Line>,
}

static VOICE: OnceLock<Mutex<Voice>> = OnceLock::new();

fn with<T>(act: impl FnOnce(&mut Voice) -> T) -> T {
    let voice = VOICE.get_or_init(Mutex::default);
    act(&mut voice.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Milliseconds since the kernel started.
pub fn uptime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Opens the kernel's consoles and its log, once `/dev` and `/sys` are there.
pub fn open() {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let open = |name: &str| {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        OpenOptions::new().write(true).custom_flags(flags).open(format!("/dev/{name}")).ok()
    };
    let mut consoles: Vec<File> = active.split_whitespace().filter_map(open).collect();
    if consoles.is_empty() {
        consoles.extend(open("console"));
    }
    with(|voice| {
        voice.consoles = consoles;
        voice.kernel = open("kmsg");
    });
}

/// Whether lines go to the consoles from now on.
pub fn draw_over(drawn: bool) {
    with(|voice| voice.drawn_over = drawn);
}

/// Something was done.
pub fn step(text: impl AsRef<str>) {
    say(Grade::Step, text.as_ref());
}

/// Something went wrong, and what to do about it.
pub fn trouble(what: impl AsRef<str>, advice: &str) {
    say(Grade::Trouble, &format!("{}; {advice}", what.as_ref()));
}

fn say(grade: Grade, text: &str) {
    let text: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect();
    let at = uptime();
    let mark = if grade == Grade::Trouble { "ERROR: " } else { "" };
    with(|voice| {
        if let Some(kernel) = &mut voice.kernel {
            let level = if grade == Grade::Trouble { 3 } else { 6 };
            let _ = write!(kernel, "<{level}>fairlead-init: {mark}{text}");
        }
        if !voice.drawn_over {
            let line = format!("{} {mark}{text}\n", stamp(at));
            for console in &mut voice.consoles {
                let _ = console.write_all(line.as_bytes());
            }
        }
        if voice.kept.len() == KEPT {
            voice.kept.pop_front();
        }
        voice.kept.push_back(Line { at, grade, text });
    });
}

/// `[    1.234]`.
pub fn stamp(at: u64) -> String {
    format!("[{:5}.{:03}]", at / 1000, at % 1000)
}

/// The last lines, oldest first.
pub fn kept() -> Vec<Line> {
    with(|voice| voice.kept.iter().cloned().collect())
}

/// On standard error, for who calls the program by hand.
pub fn plain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
