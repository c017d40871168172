//! Pipes that `splice` moves bytes through, kept by each worker for its relays.
//!
//! A direction takes one for the time between two awaits and gives it back
//! empty; it keeps it only while its destination does not take what is inside.
//! So there are no more pipes in use than there are slow destinations, and never
//! more than [`MOST`]: who gets none copies instead.

use crate::stats::Counter;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Pipes a worker has open at most, those that wait to be used included.
const MOST: usize = 256;

/// Empty pipes a worker keeps: enough for whoever runs at the same moment.
const KEPT: usize = 16;

/// What a pipe is asked to hold. Linux counts in pages, and a user who is not root has 16,384 of
/// them for all pipes together (`fs.pipe-user-pages-soft`).
const SIZE: usize = 256 << 10;

/// A user over that limit gets pipes of one or two pages, which are worse than copying.
const LEAST: usize = 64 << 10;

/// How often a direction was refused a pipe, in the whole process.
static REFUSED: Counter = Counter::new();

/// How often a direction that streams had to copy because no pipe was to be had.
pub fn pipes_refused() -> u64 {
    REFUSED.load()
}

/// A worker's pipes.
#[derive(Default)]
pub struct Pipes {
    empty: RefCell<Vec<Pipe>>,
    open: Rc<Cell<usize>>,
    /// The kernel or its policy does not let us splice.
    forbidden: Cell<bool>,
}

/// An empty pipe, or one whose bytes are on their way.
pub(super) struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
    open: Rc<Cell<usize>>,
}

impl Pipe {
    /// Where bytes go in.
    pub fn entry(&self) -> BorrowedFd<'_> {
        self.entry.as_fd()
    }

    /// Where they come out.
    pub fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl Pipes {
    /// An empty pipe; `None` when there is none to be had, which is counted.
    pub(super) fn take(&self) -> Option<Pipe> {
        if self.forbidden.get() {
            return None;
        }
        let pipe = self.empty.borrow_mut().pop().or_else(|| self.open());
        if pipe.is_none() {
            REFUSED.add(1);
        }
        pipe
    }

    /// Takes back a pipe, which must be empty. One with bytes inside is dropped instead.
    pub(super) fn give_back(&self, pipe: Pipe) {
        let mut empty = self.empty.borrow_mut();
        if empty.len() < KEPT {
            empty.push(pipe);
        }
    }

    /// Nobody on this worker tries again.
    pub(super) fn forbid(&self) {
        self.forbidden.set(true);
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn opened(&self) -> usize {
        self.open.get()
    }

    /// Pipes that a direction holds.
    pub fn in_use(&self) -> usize {
        self.open.get() - self.empty.borrow().len()
    }

    fn open(&self) -> Option<Pipe> {
        if self.open.get() >= MOST {
            return None;
        }
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Counted from here on: dropping it on the way out counts it off again.
        self.open.set(self.open.get() + 1);
        let pipe = Pipe { exit, entry, open: self.open.clone() };
        let size = fcntl_setpipe_size(pipe.entry(), SIZE).or_else(|_| fcntl_getpipe_size(pipe.entry()));
        size.ok().filter(|size| *size >= LEAST).map(|_| pipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_are_open_and_few_are_kept() {
        let pipes = Pipes::default();
        let refused = pipes_refused();
        let mut taken: Vec<Pipe> = (0..MOST).map_while(|_| pipes.take()).collect();
        // Fewer only where this machine allows fewer descriptors.
        assert!(!taken.is_empty());
        assert_eq!(pipes.in_use(), taken.len());
        assert!(pipes.take().is_none());
        assert!(pipes_refused() > refused);
        taken.drain(..).for_each(|pipe| pipes.give_back(pipe));
        assert_eq!((pipes.in_use(), pipes.open.get()), (0, KEPT));
    }

    #[test]
    fn a_dropped_pipe_makes_room() {
        let pipes = Pipes::default();
        let pipe = pipes.take().expect("a pipe");
        assert_eq!(pipes.open.get(), 1);
        drop(pipe);
        assert_eq!((pipes.open.get(), pipes.in_use()), (0, 0));
    }

    #[test]
    fn where_splicing_is_forbidden_nobody_gets_one() {
        let pipes = Pipes::default();
        pipes.forbid();
        assert!(pipes.take().is_none());
    }
}
