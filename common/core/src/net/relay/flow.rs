//! One direction of a relay.
//!
//! It copies through the worker's shared buffer, and only what the destination
//! does not take at once is kept, no more than one read of it. A direction that
//! fills this buffer again and again streams: its bytes then go through a pipe,
//! uncopied, until what comes is little again. Nothing is read while a rest is
//! not out: the source's own window stops the source.

use crate::clock::tick;
use crate::net::Stream;
use crate::net::relay::Rate;
use crate::net::relay::conduit::{self, Passed, untransient};
use crate::net::relay::pipes::Pipe;
use crate::net::stream::is_transient;
use crate::worker::Scratch;
use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What one poll may do before others get their turn, in units of a copy of one buffer.
const TURN: u32 = 8;

/// What a splice counts of a turn: it moves more and costs less for it.
const SPLICE: u32 = 2;

/// Bytes read in full buffers without a pause between them that make a stream.
const STREAM: u32 = 64 << 10;

/// How much more a splice moves at most than a copy.
const PIPED: usize = 16;

/// Splices in a row that bring less than a buffer, after which copying is cheaper.
const SHORT: u8 = 2;

/// Where bytes come from and go to, and through what.
pub(super) struct Way<'a> {
    pub from: &'a Stream,
    pub to: &'a Stream,
    pub scratch: &'a Scratch,
    pub buffer: usize,
    pub half_close: bool,
}

/// One direction.
pub(super) struct Flow {
    held: Held,
    state: State,
    pace: Pace,
    read: u64,
    written: u64,
    /// What the source ended with, where it was an error.
    fault: Option<io::Error>,
    throttle: Option<Box<Throttle>>,
}

/// What was read and is not out yet.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    /// From `sent` on.
    Bytes { rest: Vec<u8>, sent: usize },
    /// In the kernel.
    Piped { pipe: Pipe, left: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended, the rest is still to be written.
    Ending,
    Ended,
}

/// How bytes move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// `run` bytes filled buffers so far.
    Copying { run: u32 },
    /// `short` splices in a row brought little.
    Streaming { short: u8 },
    /// These sockets cannot be spliced, or not any more.
    CopyingForGood,
}

/// A direction's rate, and its rest after a read.
struct Throttle {
    rate: Rate,
    sleep: Option<Pin<Box<Sleep>>>,
    resting: bool,
}

impl Flow {
    pub fn new(pending: Vec<u8>, rate: Option<Rate>) -> Flow {
        let throttle = rate.filter(|rate| rate.limit > 0);
        Flow {
            held: if pending.is_empty() { Held::Nothing } else { Held::Bytes { rest: pending, sent: 0 } },
            state: State::Open,
            pace: Pace::Copying { run: 0 },
            read: 0,
            written: 0,
            fault: None,
            throttle: throttle.map(|rate| Box::new(Throttle { rate, sleep: None, resting: false })),
        }
    }

    pub fn read(&self) -> u64 {
        self.read
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were read and are not out.
    #[cfg(test)]
    pub fn holds(&self) -> u64 {
        match &self.held {
            Held::Nothing => 0,
            Held::Bytes { rest, sent } => (rest.len() - sent) as u64,
            Held::Piped { left, .. } => *left as u64,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// It could move bytes but for its rate.
    pub fn rests(&self) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| throttle.resting) && self.state == State::Open
    }

    /// Moves what can be moved now; wakes `cx` when there is more to do.
    ///
    /// # Errors
    /// The destination's: the end of the relay.
    pub fn poll(&mut self, way: &Way<'_>, cx: &mut Context<'_>) -> io::Result<()> {
        let mut turn = TURN;
        while turn > 0 {
            if self.state == State::Ended {
                return Ok(());
            }
            // Also while something is stuck: a direction that rests has its idle time stopped.
            if let Some(throttle) = &mut self.throttle {
                throttle.wake(cx);
            }
            match self.poll_flush(way, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(flushed) => flushed?,
            }
            if self.state == State::Ending {
                self.state = State::Ended;
                if way.half_close {
                    way.to.shutdown_write();
                }
                return Ok(());
            }
            match self.poll_move(way, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(moved) => turn = turn.saturating_sub(moved?),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// One read and one attempt to pass it on; ready with what it counts of a turn.
    fn poll_move(&mut self, way: &Way<'_>, cx: &mut Context<'_>) -> Poll<io::Result<u32>> {
        let most = match &mut self.throttle {
            None => u64::MAX,
            Some(throttle) => ready!(throttle.poll(self.read, cx)).min(throttle.rate.portion().max(way.buffer as u64)),
        };
        ready!(way.from.poll_read_ready(cx));
        if matches!(self.pace, Pace::Streaming { .. }) && way.from.has_urgent() {
            self.pace = Pace::CopyingForGood;
        }
        let before = self.read;
        let streams = matches!(self.pace, Pace::Streaming { .. }) && most > way.buffer as u64;
        let moved = match streams.then(|| way.scratch.pipes.take()) {
            Some(Some(pipe)) => self.splice(pipe, way, most).map(|()| SPLICE),
            refused => {
                if refused.is_some() {
                    self.pace = Pace::Copying { run: 0 };
                }
                self.copy(way, most).map(|()| 1)
            }
        };
        if let Some(throttle) = &mut self.throttle {
            throttle.rest(throttle.rate.rest(self.read - before));
        }
        Poll::Ready(moved)
    }

    fn copy(&mut self, way: &Way<'_>, most: u64) -> io::Result<()> {
        way.scratch.with_read(|buffer| {
            let size = way.buffer.min(usize::try_from(most).unwrap_or(usize::MAX));
            let bytes = match way.from.try_read(buffer.get_mut(..size).unwrap_or_default()) {
                Ok(0) => {
                    self.state = State::Ending;
                    return Ok(());
                }
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) => {
                    self.pace.paused();
                    self.broke(error);
                    return Ok(());
                }
            };
            self.read += bytes.len() as u64;
            self.pace.copied(bytes.len(), bytes.len() == way.buffer);
            let taken = untransient(way.to.try_write(bytes))?;
            self.written += taken as u64;
            if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
                self.held = Held::Bytes { rest: rest.to_vec(), sent: 0 };
            }
            Ok(())
        })
    }

    /// The same through an empty pipe.
    fn splice(&mut self, pipe: Pipe, way: &Way<'_>, most: u64) -> io::Result<()> {
        let most = (way.buffer * PIPED).min(usize::try_from(most).unwrap_or(usize::MAX));
        let (passed, stuck) = conduit::pass(pipe, (way.from, way.to), &way.scratch.pipes, most)?;
        match passed {
            Passed::Bytes { read, written } => {
                self.read += read as u64;
                self.written += written as u64;
                self.pace.spliced(read >= way.buffer);
            }
            Passed::Nothing => {}
            Passed::Unspliceable => self.pace = Pace::CopyingForGood,
            Passed::Failed(error) => self.broke(error),
        }
        if let Some((pipe, left)) = stuck {
            self.held = Held::Piped { pipe, left };
        }
        Ok(())
    }

    /// An error of the source is its end; "again" is none: the next round asks for readiness, and waits.
    fn broke(&mut self, error: io::Error) {
        if !is_transient(&error) {
            self.fault = Some(error);
            self.state = State::Ending;
        }
    }

    /// Ready when nothing is left over.
    fn poll_flush(&mut self, way: &Way<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let (written, left) = match &mut self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Bytes { rest, sent } => {
                    ready!(way.to.poll_write_ready(cx));
                    let bytes = rest.get(*sent..).unwrap_or_default();
                    let written = untransient(way.to.try_write(bytes))?;
                    *sent += written;
                    (written, bytes.len().saturating_sub(written))
                }
                Held::Piped { pipe, left } => {
                    ready!(way.to.poll_write_ready(cx));
                    let written = untransient(way.to.try_splice_from(pipe.exit(), *left))?;
                    *left = left.saturating_sub(written);
                    (written, *left)
                }
            };
            self.written += written as u64;
            if left == 0 {
                // An idle session owns neither a buffer nor a pipe.
                if let Held::Piped { pipe, .. } = take(&mut self.held) {
                    way.scratch.pipes.give_back(pipe);
                }
            }
        }
    }
}

impl Pace {
    fn copied(&mut self, count: usize, full: bool) {
        if let Pace::Copying { run } = self {
            *run = if full { run.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)) } else { 0 };
            if *run >= STREAM {
                *self = Pace::Streaming { short: 0 };
            }
        }
    }

    fn spliced(&mut self, full: bool) {
        if let Pace::Streaming { short } = self {
            *short = if full { 0 } else { *short + 1 };
            if *short >= SHORT {
                *self = Pace::Copying { run: 0 };
            }
        }
    }

    /// There was nothing to copy.
    fn paused(&mut self) {
        if let Pace::Copying { run } = self {
            *run = 0;
        }
    }
}

impl Throttle {
    /// Ready, when no rest is due, with the bytes that may be read.
    fn poll(&mut self, read: u64, cx: &mut Context<'_>) -> Poll<u64> {
        while !self.resting {
            match self.rate.allowance(read, tick()) {
                Ok(most) => return Poll::Ready(most),
                Err(wait) => self.rest(wait),
            }
            self.wake(cx);
        }
        Poll::Pending
    }

    fn rest(&mut self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let until = Instant::now() + wait;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(until),
            none => *none = Some(Box::pin(sleep_until(until))),
        }
        self.resting = true;
    }

    /// Ends a rest whose time has come, and has `cx` woken at the end of one that lasts.
    fn wake(&mut self, cx: &mut Context<'_>) {
        if let Some(sleep) = self.sleep.as_mut().filter(|_| self.resting) {
            self.resting = sleep.as_mut().poll(cx).is_pending();
        }
    }
}
