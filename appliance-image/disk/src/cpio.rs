//! The initramfs: a cpio archive in the "newc" form that Linux unpacks (Documentation/driver-api/early-userspace in its
//! tree). Device nodes are mere records here, so that no root is needed; every entry is root's, and has the same time.

use std::io::Write;

use crate::Fault;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;
const TRAILER: &str = "TRAILER!!!";
const HEADER_BYTES: usize = 110;

/// Writes an archive. Paths are relative, without `./`; a folder comes before what it holds.
pub struct Writer<W> {
    out: W,
    written: u64,
    entries: u32,
    time: u32,
}

struct Header {
    mode: u32,
    links: u32,
    device: (u32, u32),
}

impl<W: Write> Writer<W> {
    /// `time`: of every entry, in seconds since 1970.
    pub fn new(out: W, time: u32) -> Writer<W> {
        Writer { out, written: 0, entries: 0, time }
    }

    pub fn folder(&mut self, path: &str, mode: u32) -> Result<(), Fault> {
        self.entry(path, &Header { mode: DIRECTORY | mode, links: 2, device: (0, 0) }, &[])
    }

    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), Fault> {
        self.entry(path, &Header { mode: REGULAR | mode, links: 1, device: (0, 0) }, content)
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), Fault> {
        self.entry(path, &Header { mode: SYMLINK | 0o777, links: 1, device: (0, 0) }, target.as_bytes())
    }

    /// A character device of this major and minor number.
    pub fn device(&mut self, path: &str, mode: u32, device: (u32, u32)) -> Result<(), Fault> {
        self.entry(path, &Header { mode: CHARACTER | mode, links: 1, device }, &[])
    }

    /// Ends the archive, and gives back what it was written to.
    pub fn finish(mut self) -> Result<W, Fault> {
        self.time = 0;
        self.entry(TRAILER, &Header { mode: 0, links: 1, device: (0, 0) }, &[])?;
        self.pad(512)?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, header: &Header, content: &[u8]) -> Result<(), Fault> {
        let size = u32::try_from(content.len()).map_err(|_| Fault::Format(format!("{path} is too long for cpio")))?;
        if path.is_empty() || path.starts_with(['/', '.']) || path.contains('\0') {
            return Err(Fault::Format(format!("not a path for an archive: {path:?}")));
        }
        let inode = if path == TRAILER { 0 } else { self.entries + 1 };
        let (major, minor) = header.device;
        let name = path.len() as u32 + 1;
        let fields = [inode, header.mode, 0, 0, header.links, self.time, size, 0, 0, major, minor, name, 0];
        let mut text = String::from("070701");
        text.extend(fields.map(|field| format!("{field:08x}")));
        self.put(text.as_bytes())?;
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad(4)?;
        self.put(content)?;
        self.entries += 1;
        self.pad(4)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, unit: u64) -> Result<(), Fault> {
        let missing = self.written.next_multiple_of(unit) - self.written;
        self.put(&vec![0; missing as usize])
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub path: &'a str,
    /// Permissions and kind, as in `st_mode`.
    pub mode: u32,
    pub content: &'a [u8],
}

impl Entry<'_> {
    pub fn is_file(&self) -> bool {
        self.mode & 0o170_000 == REGULAR
    }
}

/// What an archive holds, in its order.
pub fn entries(mut archive: &[u8]) -> Result<Vec<Entry<'_>>, Fault> {
    let mut found = Vec::new();
    loop {
        let (entry, rest) = first_entry(archive).ok_or_else(|| Fault::format("the archive is cut or damaged"))?;
        if entry.path == TRAILER {
            return Ok(found);
        }
        found.push(entry);
        archive = rest;
    }
}

fn first_entry(archive: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let header = std::str::from_utf8(archive.get(..HEADER_BYTES)?).ok()?;
    let field = |at: usize| u32::from_str_radix(header.get(6 + at * 8..14 + at * 8)?, 16).ok();
    let name_end = HEADER_BYTES.checked_add(field(11)? as usize)?;
    let name = archive.get(HEADER_BYTES..name_end)?.strip_suffix(b"\0")?;
    let start = name_end.checked_next_multiple_of(4)?;
    let end = start.checked_add(field(6)? as usize)?;
    let entry = Entry { path: std::str::from_utf8(name).ok()?, mode: field(1)?, content: archive.get(start..end)? };
    header.starts_with("070701").then_some((entry, archive.get(end.checked_next_multiple_of(4)?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut cpio = Writer::new(Vec::new(), 1_700_000_000);
        cpio.folder("dev", 0o755).unwrap();
        cpio.device("dev/console", 0o600, (5, 1)).unwrap();
        cpio.file("init", 0o755, b"#").unwrap();
        cpio.symlink("bin", "usr/bin").unwrap();
        cpio.finish().unwrap()
    }

    #[test]
    fn lists_what_it_holds() {
        let archive = archive();
        let entries = entries(&archive).unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.path, entry.mode, entry.content)).collect();
        assert_eq!(
            seen,
            [
                ("dev", 0o040_755, &b""[..]),
                ("dev/console", 0o020_600, b""),
                ("init", 0o100_755, b"#"),
                ("bin", 0o120_777, b"usr/bin"),
            ]
        );
        assert_eq!(archive.len() % 512, 0);
    }

    #[test]
    fn a_cut_archive_is_a_fault_wherever_it_is_cut() {
        let archive = archive();
        let whole = archive.iter().rposition(|byte| *byte != 0).unwrap();
        for length in 0..whole - 2 {
            assert!(entries(&archive[..length]).is_err(), "{length} bytes");
        }
    }
}
