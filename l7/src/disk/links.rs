//! `disable_symlinks`: paths are opened without following links on the way, or only those that
//! belong to whoever owns what they lead to.
//!
//! One `openat2` answers for a path without links. A path with one is walked a folder at a time, as
//! nginx walks it, which tells what is wrong in its words.

use super::{Failure, READ, c_path};
use crate::exchange::Exchange;
use crate::variables::Variable;
use fairlead_conf::Template;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those whose owner is not that of what they lead to.
    NotOwned,
}

#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub which: Which,
    /// The beginning of a path that may hold links.
    pub from: Option<Template<Variable>>,
}

/// On the way to a file.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Links {
    pub(super) fn open(&self, exchange: &Exchange, path: &[u8]) -> Result<OwnedFd, Failure> {
        let path = c_path(path, "openat()")?;
        let trusted = self.trusted(exchange, path);
        if trusted == path.len() {
            return rustix::fs::open(path, READ, Mode::empty()).map_err(failed("open()"));
        }
        let (start, rest) = split(path, trusted);
        let folder = openat(CWD, start, FOLDER, Mode::empty()).map_err(failed("open()"))?;
        if self.which == Which::All && !rest.is_empty() {
            match openat2(&folder, rest, READ, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
                // Which of them it was is worth a second look; old kernels know no such call.
                Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {}
                opened => return opened.map_err(failed("openat()")),
            }
        }
        self.walk(folder, rest).map_err(failed("openat()"))
    }

    /// How much of the path is taken as it is; all of it is the path itself.
    fn trusted(&self, exchange: &Exchange, path: &[u8]) -> usize {
        let Some(template) = &self.from else { return 0 };
        let mut from = Vec::new();
        exchange.render(template, &mut from);
        if from.is_empty() || !path.starts_with(&from) {
            return 0;
        }
        let length = from.len();
        match (path.get(length), from.ends_with(b"/")) {
            (None | Some(b'/'), _) => length,
            (Some(_), true) => length - 1,
            (Some(_), false) => 0,
        }
    }

    fn walk(&self, start: OwnedFd, rest: &[u8]) -> Result<OwnedFd, Errno> {
        let mut at = start;
        let mut names = rest.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            let last = names.peek().is_none();
            match (name.is_empty(), last) {
                (true, false) => {}
                (true, true) => return openat(&at, ".", READ, Mode::empty()),
                (false, false) => at = self.step(&at, name, FOLDER)?,
                (false, true) => return self.step(&at, name, READ),
            }
        }
        openat(&at, ".", READ, Mode::empty())
    }

    fn step(&self, at: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.which == Which::All {
            return openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty());
        }
        let opened = openat(at, name, flags, Mode::empty())?;
        // Whoever owns the name owns what was opened under it, be it a link or not: between the calls
        // one may have taken the place of the other.
        let named = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if fstat(&opened)?.st_uid == named.st_uid { Ok(opened) } else { Err(Errno::LOOP) }
    }
}

/// Where the walk begins, and what is left of the path.
fn split(path: &[u8], trusted: usize) -> (&[u8], &[u8]) {
    match (trusted, path.first()) {
        (0, Some(b'/')) => (b"/", path.get(1..).unwrap_or_default()),
        (0, _) => (b".", path),
        _ => (path.get(..trusted).unwrap_or_default(), path.get(trusted + 1..).unwrap_or_default()),
    }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { errno, call }
}
