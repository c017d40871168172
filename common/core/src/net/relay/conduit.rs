//! Bytes moved from one stream to another through a pipe, uncopied: one step of it, and who wants
//! a stretch of a stream moved.
//!
//! It never waits for bytes and keeps a pipe only while the destination does not take what is
//! inside. Called by the relay's flows and, for bodies nobody has to look at, by the HTTP plane.

use crate::net::Stream;
use crate::net::relay::pipes::{Pipe, Pipes};
use crate::net::stream::is_transient;
use std::io;
use std::task::{Context, Poll, ready};

/// What one step moves at most: what a pipe holds.
const MOST: usize = 256 << 10;

/// Reads of one buffer that a step counts for in a task's turn.
const COST: u32 = 4;

/// What became of one step.
#[derive(Debug)]
pub enum Passed {
    /// So many bytes were read, and so many of them are out.
    Bytes { read: usize, written: usize },
    /// There is nothing to read now.
    Nothing,
    /// Nothing was moved, and nothing will be this way: the end or urgent data, which a read tells, or no pipe.
    Unspliceable,
    /// The source's error.
    Failed(io::Error),
}

/// A pipe and what is in it.
pub(super) type Stuck = (Pipe, usize);

/// Moves up to `most` bytes through an empty pipe: only when it is empty does the kernel's "again" speak of the
/// socket. What the destination does not take at once is given back with its pipe.
///
/// # Errors
/// The destination's.
pub(super) fn pass(
    pipe: Pipe,
    (from, to): (&Stream, &Stream),
    pipes: &Pipes,
    most: usize,
) -> io::Result<(Passed, Option<Stuck>)> {
    let read = match from.try_splice_into(pipe.entry(), most) {
        Ok(read @ 1..) => read,
        refused => {
            pipes.give_back(pipe);
            return Ok((refused.map_or_else(|error| not_read(error, pipes), |_| Passed::Unspliceable), None));
        }
    };
    let written = untransient(to.try_splice_from(pipe.exit(), read))?;
    let stuck = match read.saturating_sub(written) {
        0 => {
            pipes.give_back(pipe);
            None
        }
        left => Some((pipe, left)),
    };
    Ok((Passed::Bytes { read, written }, stuck))
}

/// Nothing has moved, so whoever cannot splice can still copy.
fn not_read(error: io::Error, pipes: &Pipes) -> Passed {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => {
            pipes.forbid();
            Passed::Unspliceable
        }
        Some(libc::EINVAL | libc::ENOMEM) => Passed::Unspliceable,
        _ if is_transient(&error) => Passed::Nothing,
        _ => Passed::Failed(error),
    }
}

/// A stretch of a stream on its way to another.
#[derive(Default)]
pub struct Conduit {
    stuck: Option<Stuck>,
}

impl Conduit {
    /// Waits for bytes and moves up to `most` of them; nothing may be stuck. Never gives [`Passed::Nothing`].
    ///
    /// # Errors
    /// The destination's.
    pub fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        ends: (&Stream, &Stream),
        pipes: &Pipes,
        most: usize,
    ) -> Poll<io::Result<Passed>> {
        let (from, _) = ends;
        ready!(from.poll_turn(cx, COST));
        loop {
            ready!(from.poll_read_ready(cx));
            let pipe = if from.has_urgent() { None } else { pipes.take() };
            let Some(pipe) = pipe else { return Poll::Ready(Ok(Passed::Unspliceable)) };
            let (passed, stuck) = pass(pipe, ends, pipes, most.min(MOST))?;
            self.stuck = stuck;
            if !matches!(passed, Passed::Nothing) {
                return Poll::Ready(Ok(passed));
            }
        }
    }

    /// The destination has not taken all of it.
    pub fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Ready with how much the destination has taken of what is stuck.
    ///
    /// # Errors
    /// The destination's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, to: &Stream, pipes: &Pipes) -> Poll<io::Result<usize>> {
        let Some((pipe, left)) = &mut self.stuck else { return Poll::Ready(Ok(0)) };
        ready!(to.poll_write_ready(cx));
        let written = untransient(to.try_splice_from(pipe.exit(), *left))?;
        *left = left.saturating_sub(written);
        if *left == 0
            && let Some((pipe, _)) = self.stuck.take()
        {
            pipes.give_back(pipe);
        }
        Poll::Ready(Ok(written))
    }
}

/// A destination that takes nothing now has taken none.
pub(super) fn untransient(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) if is_transient(&error) => Ok(0),
        written => written,
    }
}
