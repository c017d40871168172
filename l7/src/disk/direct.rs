//! `directio`: reads the bytes of long files past the kernel's memory, so that they do not take the
//! place there of what is asked for more often.
//!
//! The kernel wants places in the file, places in memory and lengths that are multiples of
//! `directio_alignment`; what a range begins or ends with in between is read too and left out. Every
//! read waits for the disk, so all of them are done on the runtime's blocking threads.

use super::Descriptor;
use fairlead_core::log::OsError;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, pread};
use std::io;
use std::os::fd::AsFd;
use tokio::task::{JoinHandle, spawn_blocking};

/// What `directio_alignment` may be at most.
pub(crate) const MOST_ALIGNMENT: usize = 1 << 20;

/// Turns it on or off for an open file.
pub(super) fn set(file: impl AsFd, on: bool) -> Result<(), Errno> {
    let mut flags = fcntl_getfl(&file)?;
    flags.set(OFlags::DIRECT, on);
    fcntl_setfl(file, flags)
}

/// Memory that begins where the kernel wants it to.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize, alignment: usize) -> Aligned {
        let bytes = vec![0; length + alignment];
        let start = bytes.as_ptr().align_offset(alignment).min(alignment);
        Aligned { bytes, start, length }
    }

    fn space(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

/// Bytes that were read, and where those that were asked for begin and end.
pub(crate) struct Piece {
    memory: Aligned,
    from: usize,
    to: usize,
}

impl Piece {
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes.get(self.memory.start + self.from..self.memory.start + self.to).unwrap_or_default()
    }
}

/// Begins to read `file` from `at` on, at most `most` bytes and up to `end`; none is the end of the file.
pub(crate) fn begin(file: &Descriptor, at: u64, end: u64, most: usize) -> JoinHandle<io::Result<Piece>> {
    let alignment = file.direct.unwrap_or(1);
    let before = at % alignment as u64;
    let start = at - before;
    let want = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
    // One multiple at least, or nothing of what is asked for may be in it.
    let length = want.min(most).max(1).div_ceil(alignment) * alignment;
    let (file, before) = (file.clone(), before as usize);
    spawn_blocking(move || {
        let mut memory = Aligned::new(length, alignment);
        let read = fill(&file, memory.space(), start)?;
        Ok(Piece { memory, from: before.min(read), to: read.min(want).max(before.min(read)) })
    })
}

fn fill(file: &Descriptor, space: &mut [u8], at: u64) -> io::Result<usize> {
    match pread(&**file, &mut *space, at) {
        // The disk's own alignment is another one: better by way of memory than not at all.
        Err(Errno::INVAL) if set(&**file, false).is_ok() => Ok(pread(&**file, space, at)?),
        read => Ok(read?),
    }
}

/// What became of [`begin`].
pub(crate) async fn finish(reading: JoinHandle<io::Result<Piece>>) -> io::Result<Piece> {
    reading.await.map_err(io::Error::other)?
}

/// As nginx words a file system that cannot do it.
pub(super) fn refused(name: &[u8], errno: Errno) -> String {
    let name = String::from_utf8_lossy(name);
    format!("fcntl(O_DIRECT) \"{name}\" failed {}", OsError(&io::Error::from(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::File;
    use std::sync::Arc;

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "a test may wait for a disk")]
    async fn what_is_asked_for_is_cut_out_of_what_is_read() {
        let path = std::env::temp_dir().join(format!("fairlead-direct-{}", std::process::id()));
        let bytes: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let fd = std::fs::File::open(&path).unwrap().into();
        std::fs::remove_file(&path).unwrap();
        let file: Descriptor = Arc::new(File { fd, direct: Some(512) });
        // As a file system can: the reads are the same either way.
        let _ = set(&*file, true);
        let at_all = [0, 1, 511, 512, 513, 1000, 4096, 9_728, 9_999, 10_000];
        for (at, end) in at_all.iter().flat_map(|at| at_all.map(|end| (*at, end))).filter(|(at, end)| at < end) {
            for most in [1, 512, 700, 1024, 65_536] {
                let (mut came, mut now) = (Vec::new(), at);
                while now < end {
                    let piece = finish(begin(&file, now, end, most)).await.unwrap();
                    assert!(
                        !piece.bytes().is_empty() && piece.bytes().len() <= most.div_ceil(512) * 512,
                        "{at} {end} {most}"
                    );
                    came.extend_from_slice(piece.bytes());
                    now = at + came.len() as u64;
                }
                assert!(came == bytes[at as usize..end as usize], "{at} {end} {most}");
            }
        }
        let behind = finish(begin(&file, 10_000, 12_000, 700)).await.unwrap();
        assert!(behind.bytes().is_empty(), "the end of the file");
    }
}
