//! Reads files without making the worker wait: what is in the kernel's memory is read at once, the
//! rest on the runtime's blocking threads.

use super::{Descriptor, Source, direct, hot};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// What could be read at once.
pub(crate) enum Now {
    /// So many bytes; none is the end of the file.
    Read(usize),
    /// The disk has to be asked.
    Waits,
}

/// Reads what is in memory of the bytes from `at` on.
pub(crate) fn now(file: &Source, at: u64, buffer: &mut [u8]) -> io::Result<Now> {
    match file {
        Source::Open(file) => now_open(file, at, buffer),
        Source::Held(bytes) => {
            let bytes = held(bytes, at, buffer.len());
            buffer.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(bytes);
            Ok(Now::Read(bytes.len()))
        }
    }
}

/// At most so many of the bytes from `at` on.
pub(crate) fn held(bytes: &[u8], at: u64, most: usize) -> &[u8] {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    rest.get(..most).unwrap_or(rest)
}

/// All of a file that can be held, of this length; `None` when it cannot.
pub(super) fn whole(file: &OwnedFd, length: u64) -> Option<Rc<[u8]>> {
    if !hot::is_local(rustix::fs::fstatfs(file).ok()?.f_type) {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    match now_open(file, 0, &mut bytes) {
        Ok(Now::Read(count)) if count == bytes.len() => Some(bytes.into()),
        _ => None,
    }
}

fn now_open(file: impl AsFd, at: u64, buffer: &mut [u8]) -> io::Result<Now> {
    loop {
        return match preadv2(&file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT) {
            Ok(count) => Ok(Now::Read(count)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(Now::Waits),
            // Not every file system can tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Now::Read(pread(&file, buffer, at)?)),
            Err(failure) => Err(failure.into()),
        };
    }
}

/// What is brought into memory at once.
const STEP: usize = 128 << 10;

/// Reads on from `at`, at most `most` bytes and up to `end`; nothing is the end of the file.
pub(crate) async fn read(file: &Source, at: u64, end: u64, most: usize) -> io::Result<Vec<u8>> {
    let most = most.min(usize::try_from(end.saturating_sub(at)).unwrap_or(most));
    let file = match file {
        Source::Open(file) => file,
        Source::Held(bytes) => return Ok(held(bytes, at, most).to_vec()),
    };
    if file.is_direct() {
        let piece = direct::finish(direct::begin(file, at, end, most)).await?;
        return Ok(piece.bytes().to_vec());
    }
    let mut step = vec![0; most];
    match now_open(file, at, &mut step)? {
        Now::Read(count) => step.truncate(count),
        Now::Waits => {
            let file = file.clone();
            let read = tokio::task::spawn_blocking(move || {
                let count = pread(&*file, &mut step[..], at)?;
                step.truncate(count);
                io::Result::Ok(step)
            });
            step = read.await.map_err(io::Error::other)??;
        }
    }
    Ok(step)
}

/// Brings bytes of a file into the kernel's memory before they are sent from there; false when they
/// cannot be read.
pub(crate) async fn bring(file: &Descriptor, at: u64, count: usize) -> bool {
    let last = at.saturating_add(count as u64).saturating_sub(1);
    let mut byte = [0];
    let here = [at, last].into_iter().all(|at| matches!(now_open(file, at, &mut byte), Ok(Now::Read(_))));
    if here {
        return true;
    }
    let file = file.clone();
    let brought = tokio::task::spawn_blocking(move || {
        let (mut step, mut at) = (vec![0; STEP], at);
        while at <= last {
            match pread(&*file, &mut step[..], at) {
                Ok(0) => return true,
                Ok(read) => at += read as u64,
                Err(_) => return false,
            }
        }
        true
    });
    brought.await.unwrap_or(false)
}
