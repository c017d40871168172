//! What was read from disk to build a tree, so that a worker process parses
//! the very bytes its master checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All that was read from disk to build a tree; parsing a snapshot again gives
/// the same tree without touching the disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Text of each file, by path.
    pub files: Vec<(PathBuf, Arc<str>)>,
    /// What each `include` mask expanded to.
    pub globs: Vec<(String, Vec<PathBuf>)>,
    /// What could not be read, and nginx's words for why.
    pub failures: Vec<(PathBuf, String)>,
}

const VERSION: &[u8] = b"FLS1";

impl Snapshot {
    /// Every string with its length before it; [`Snapshot::decode`] reads it back.
    pub fn encode(&self) -> Vec<u8> {
        let size = self.files.iter().map(|(path, text)| path.as_os_str().len() + text.len() + 16).sum::<usize>();
        let mut out = Vec::with_capacity(size + 64);
        out.extend_from_slice(VERSION);
        put_number(&mut out, self.files.len());
        for (path, text) in &self.files {
            put_bytes(&mut out, path_bytes(path));
            put_bytes(&mut out, text.as_bytes());
        }
        put_number(&mut out, self.globs.len());
        for (mask, paths) in &self.globs {
            put_bytes(&mut out, mask.as_bytes());
            put_number(&mut out, paths.len());
            paths.iter().for_each(|path| put_bytes(&mut out, path_bytes(path)));
        }
        put_number(&mut out, self.failures.len());
        for (path, why) in &self.failures {
            put_bytes(&mut out, path_bytes(path));
            put_bytes(&mut out, why.as_bytes());
        }
        out
    }

    /// `None` when the bytes are not a whole snapshot of this version.
    pub fn decode(bytes: &[u8]) -> Option<Snapshot> {
        let mut rest = bytes.strip_prefix(VERSION)?;
        let mut snapshot = Snapshot::default();
        for _ in 0..take_number(&mut rest)? {
            let path = take_path(&mut rest)?;
            snapshot.files.push((path, take_text(&mut rest)?.into()));
        }
        for _ in 0..take_number(&mut rest)? {
            let mask = take_text(&mut rest)?.to_owned();
            let mut paths = Vec::new();
            for _ in 0..take_number(&mut rest)? {
                paths.push(take_path(&mut rest)?);
            }
            snapshot.globs.push((mask, paths));
        }
        for _ in 0..take_number(&mut rest)? {
            let path = take_path(&mut rest)?;
            snapshot.failures.push((path, take_text(&mut rest)?.to_owned()));
        }
        rest.is_empty().then_some(snapshot)
    }
}

fn path_bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&(number as u64).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    usize::try_from(u64::from_le_bytes(*head)).ok()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(rest)?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn take_path(rest: &mut &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(take_bytes(rest)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        Snapshot {
            files: vec![("/etc/a.conf".into(), "events {}\n".into()), ("/etc/empty".into(), "".into())],
            globs: vec![("/etc/conf.d/*".into(), vec!["/etc/conf.d/a".into(), "/etc/conf.d/b".into()])],
            failures: vec![("/etc/gone".into(), "open() failed".into())],
        }
    }

    #[test]
    fn decodes_what_it_encodes() {
        assert_eq!(Snapshot::decode(&sample().encode()), Some(sample()));
    }

    #[test]
    fn refuses_every_truncation_and_trailing_bytes() {
        let mut bytes = sample().encode();
        for length in 0..bytes.len() {
            assert_eq!(Snapshot::decode(&bytes[..length]), None, "{length} bytes");
        }
        bytes.push(0);
        assert_eq!(Snapshot::decode(&bytes), None);
    }
}
