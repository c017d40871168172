//! Log files whose names are known only when there is a line for them: opened
//! and written by the log thread, and kept open within `open_log_file_cache`'s
//! bounds.

use crate::clock::{Tick, tick};
use crate::log::OsError;
use crate::log::queue::unpoisoned;
use crate::log::records::records;
use crate::log::sink::{LogFile, Loss};
use ahash::AHashMap;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// `open_log_file_cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileCache {
    /// How many files stay open.
    pub max: usize,
    /// A file without a line for so long is closed.
    pub inactive: Duration,
    /// A file with fewer lines than this is closed after each.
    pub min_uses: u64,
    /// How long a file is taken to be in its place.
    pub valid: Duration,
}

/// The files of one log.
#[derive(Debug)]
pub(super) struct Files(Mutex<Open>);

/// What is open. Time is an argument.
#[derive(Debug)]
struct Open {
    cache: Option<FileCache>,
    files: AHashMap<Box<[u8]>, Entry>,
    /// Names by the turn of their last use.
    turns: BTreeMap<u64, Box<[u8]>>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None` while it has had too few lines.
    file: Option<LogFile>,
    /// When it was last seen in its place.
    seen: Tick,
    used: Tick,
    uses: u64,
    turn: u64,
}

impl Files {
    pub fn new(cache: Option<FileCache>) -> Files {
        Files(Mutex::new(Open { cache, files: AHashMap::new(), turns: BTreeMap::new(), next: 0 }))
    }

    /// Writes records of a name, a folder that has to exist (if it is not empty) and a line, with zeroes
    /// between. Lines in a row for one file are one write. A file that fails does not keep the others.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Loss> {
        let mut open = unpoisoned(self.0.lock());
        let now = tick();
        let mut loss: Option<Loss> = None;
        let mut lost = |result: Result<(), Loss>| {
            if let Err(Loss { error, lines }) = result {
                loss.get_or_insert(Loss { error, lines: 0 }).lines += lines;
            }
        };
        let (mut place, mut text): (Place<'_>, Vec<u8>) = (Place::default(), Vec::new());
        for (next, line) in records(bytes).filter_map(split) {
            if next != place && !text.is_empty() {
                lost(open.put(place, &text, now));
                text.clear();
            }
            place = next;
            text.extend_from_slice(line);
        }
        if !text.is_empty() {
            lost(open.put(place, &text, now));
        }
        loss.map_or(Ok(()), Err)
    }

    /// Closes all: the next line opens its file by name again.
    pub fn close(&self) {
        let mut open = unpoisoned(self.0.lock());
        open.files.clear();
        open.turns.clear();
    }
}

/// Where a line goes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Place<'a> {
    name: &'a [u8],
    /// Has to exist; empty for none.
    root: &'a [u8],
}

/// The place and the line.
fn split(record: &[u8]) -> Option<(Place<'_>, &[u8])> {
    let mut parts = record.splitn(3, |byte| *byte == 0);
    Some((Place { name: parts.next()?, root: parts.next()? }, parts.next()?))
}

impl Open {
    /// Lines whose folder is gone are lost.
    fn put(&mut self, place: Place<'_>, text: &[u8], now: Tick) -> Result<(), Loss> {
        let root = Path::new(OsStr::from_bytes(place.root));
        let failure = match std::fs::metadata(root) {
            _ if place.root.is_empty() => None,
            Ok(metadata) if metadata.is_dir() => None,
            Ok(_) => Some(io::Error::from_raw_os_error(libc::ENOTDIR)),
            Err(error) => Some(error),
        };
        let Some(failure) = failure else { return self.append(place.name, text, now) };
        let message = format!("testing \"{}\" existence failed {}", root.display(), OsError(&failure));
        let lines = memchr::memchr_iter(b'\n', text).count() as u64;
        Err(Loss { error: io::Error::new(failure.kind(), message), lines })
    }

    fn append(&mut self, name: &[u8], text: &[u8], now: Tick) -> Result<(), Loss> {
        let lines = || memchr::memchr_iter(b'\n', text).count() as u64;
        let path = Path::new(OsStr::from_bytes(name));
        let Some(cache) = self.cache else {
            let file = LogFile::open(path).map_err(|error| Loss { error, lines: lines() })?;
            return write(&file, text);
        };
        self.expire(&cache, now);
        let entry = self.touch(&cache, name, now);
        let gone =
            now.since(entry.seen) >= cache.valid && entry.file.as_ref().is_some_and(|file| !file.is_in_its_place());
        if now.since(entry.seen) >= cache.valid {
            entry.seen = now;
        }
        let file = match entry.file.take().filter(|_| !gone) {
            Some(file) => file,
            None => {
                entry.seen = now;
                LogFile::open(path).map_err(|error| Loss { error, lines: lines() })?
            }
        };
        let written = write(&file, text);
        entry.file = Some(file).filter(|_| entry.uses >= cache.min_uses);
        written
    }

    /// Drops what had no line for too long.
    fn expire(&mut self, cache: &FileCache, now: Tick) {
        while let Some(oldest) = self.turns.first_entry() {
            let idle = self.files.get(oldest.get()).is_none_or(|entry| now.since(entry.used) > cache.inactive);
            if !idle {
                return;
            }
            self.files.remove(&oldest.remove());
        }
    }

    /// The entry of a file, made the last one to go.
    fn touch(&mut self, cache: &FileCache, name: &[u8], now: Tick) -> &mut Entry {
        self.next += 1;
        match self.files.get(name) {
            Some(entry) => {
                self.turns.remove(&entry.turn);
            }
            None if self.files.len() >= cache.max => {
                if let Some((_, oldest)) = self.turns.pop_first() {
                    self.files.remove(&oldest);
                }
            }
            None => {}
        }
        self.turns.insert(self.next, name.into());
        let entry =
            self.files.entry(name.into()).or_insert(Entry { file: None, seen: now, used: now, uses: 0, turn: 0 });
        entry.turn = self.next;
        entry.used = now;
        entry.uses += 1;
        entry
    }
}

/// An error says which file it is about: there may be any number.
fn write(file: &LogFile, text: &[u8]) -> Result<(), Loss> {
    file.append(text).map_err(|Loss { error, lines }| {
        let error = io::Error::new(error.kind(), file.failure(&error));
        Loss { error, lines }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::records::push_record;
    use crate::log::tests::{Folder, read};
    use std::fs;

    fn open(max: usize, min_uses: u64) -> Open {
        let seconds = Duration::from_secs;
        let cache = FileCache { max, inactive: seconds(10), min_uses, valid: seconds(60) };
        let Files(open) = Files::new(Some(cache));
        open.into_inner().unwrap()
    }

    fn path(folder: &Folder, name: &str) -> Vec<u8> {
        folder.file(name).as_os_str().as_bytes().to_vec()
    }

    fn held(open: &Open) -> usize {
        open.files.values().filter(|entry| entry.file.is_some()).count()
    }

    #[test]
    fn every_line_finds_its_file() {
        let folder = Folder::new();
        let mut bytes = Vec::new();
        for (name, line) in [("a", "1\n"), ("a", "2\n"), ("b", "3\n"), ("a", "4\n")] {
            push_record(&mut bytes, |out| push(out, &path(&folder, name), b"", line));
        }
        for cache in [None, open(1, 1).cache] {
            assert!(Files::new(cache).write(&bytes).is_ok());
        }
        assert_eq!(read(&folder.file("a")), "1\n2\n4\n1\n2\n4\n");
        assert_eq!(read(&folder.file("b")), "3\n3\n");
    }

    fn push(out: &mut Vec<u8>, name: &[u8], root: &[u8], line: &str) {
        out.extend_from_slice(&[name, b"\0", root, b"\0", line.as_bytes()].concat());
    }

    #[test]
    fn a_line_whose_folder_is_gone_makes_no_file() {
        let folder = Folder::new();
        let (here, gone) = (folder.file("."), folder.file("gone"));
        fs::write(folder.file("file"), "").unwrap();
        let mut bytes = Vec::new();
        for (name, root) in [("a", &here), ("b", &gone), ("c", &folder.file("file")), ("a", &here)] {
            let root = root.as_os_str().as_bytes();
            push_record(&mut bytes, |out| push(out, &path(&folder, name), root, "x\n"));
        }
        let loss = Files::new(None).write(&bytes).unwrap_err();
        let expected = format!("testing \"{}\" existence failed (2: No such file or directory)", gone.display());
        assert_eq!((loss.error.to_string(), loss.lines), (expected, 2));
        assert_eq!(read(&folder.file("a")), "x\nx\n");
        assert!(!folder.file("b").exists() && !folder.file("c").exists());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let folder = Folder::new();
        let mut open = open(2, 1);
        for name in ["a", "b", "a", "c"] {
            open.append(&path(&folder, name), b"x\n", Tick(0)).unwrap();
        }
        assert!(held(&open) == 2 && open.turns.len() == 2);
        assert!(open.files.contains_key(&*path(&folder, "a")) && !open.files.contains_key(&*path(&folder, "b")));
    }

    #[test]
    fn files_close_when_they_are_idle_and_stay_closed_until_used_enough() {
        let folder = Folder::new();
        let mut open = open(9, 2);
        open.append(&path(&folder, "a"), b"x\n", Tick(0)).unwrap();
        assert_eq!((held(&open), open.files.len()), (0, 1), "one line is too few");
        open.append(&path(&folder, "a"), b"x\n", Tick(1)).unwrap();
        assert_eq!(held(&open), 1);
        open.append(&path(&folder, "b"), b"x\n", Tick(10_001)).unwrap();
        assert_eq!(open.files.len(), 2, "not longer than `inactive`");
        open.append(&path(&folder, "b"), b"x\n", Tick(10_002)).unwrap();
        assert_eq!(open.files.len(), 1);
    }

    #[test]
    fn a_file_that_was_moved_is_noticed_after_a_while() {
        let folder = Folder::new();
        let mut open = open(9, 1);
        let name = path(&folder, "a");
        open.append(&name, b"1\n", Tick(0)).unwrap();
        fs::rename(folder.file("a"), folder.file("old")).unwrap();
        // Used in between, so that it is not closed for being idle.
        for second in 1..70 {
            open.append(&name, format!("{second}\n").as_bytes(), Tick(second * 1000)).unwrap();
        }
        assert!(read(&folder.file("old")).ends_with("\n59\n"));
        assert!(read(&folder.file("a")).starts_with("60\n61\n"));
    }

    #[test]
    fn what_fails_names_its_file_and_counts_its_lines() {
        let folder = Folder::new();
        let mut open = open(9, 1);
        let loss = open.append(&path(&folder, "none/a"), b"1\n2\n", Tick(0)).unwrap_err();
        let file = folder.file("none/a");
        let expected = format!("open() \"{}\" failed (2: No such file or directory)", file.display());
        assert_eq!((loss.error.to_string(), loss.lines), (expected, 2));
    }
}
