//! Copies both directions of two streams until both ended.
//!
//! One future, no task and no buffer of its own while nothing is stuck: bytes
//! go through the worker's shared buffer, and only what the other side does not
//! take at once is kept, no more than one read of it. A direction with such a
//! rest reads nothing until the rest is out. A worker that drains does not end
//! a relay: whoever stops the process decides when.

use crate::net::stream::is_transient;
use crate::net::{Deadline, Stream};
use crate::worker::{Context as Worker, Scratch};
use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToPeer,
    ToClient,
}

/// Which half of copying failed: `ToPeer` and `Read` is the client's fault, `ToPeer` and `Write` the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Read,
    Write,
}

/// How a relay ended.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes written to the peer, those that were pending at the start included.
    pub to_peer: u64,
    /// Bytes written to the client, likewise.
    pub to_client: u64,
    /// Bytes the relay itself read from the client.
    pub from_client: u64,
    /// Bytes the relay itself read from the peer.
    pub from_peer: u64,
    /// The direction that failed, or the idle timeout (`TimedOut` without an OS error; the
    /// direction means nothing then).
    pub error: Option<(Direction, io::Error)>,
    /// What failed in that direction.
    pub step: Step,
}

/// Copies until both directions have ended, one failed, or nothing moved for `idle`.
/// With `half_close` false, the end of either direction ends the relay once its bytes are out.
pub async fn relay(client: &Stream, peer: &Stream, context: &Worker, idle: Duration, half_close: bool) -> Relayed {
    let scratch = &context.scratch;
    Tunnel { client, peer, scratch, idle, half_close, to_peer: Vec::new(), to_client: Vec::new() }.run().await
}

/// Two connected streams, and what to do with them.
pub struct Tunnel<'a> {
    pub client: &'a Stream,
    pub peer: &'a Stream,
    pub scratch: &'a Scratch,
    /// How long nothing may move in either direction.
    pub idle: Duration,
    /// Whether the end of one direction leaves the other one open.
    pub half_close: bool,
    /// Bytes to send before anything that is read: what the client sent early.
    pub to_peer: Vec<u8>,
    /// The same the other way.
    pub to_client: Vec<u8>,
}

impl<'a> Tunnel<'a> {
    /// Copies until both directions have ended, one failed, or nothing moved for `idle`.
    pub fn run(self) -> Relay<'a> {
        let mut deadline = Deadline::default();
        deadline.set(self.idle);
        Relay {
            client: self.client,
            peer: self.peer,
            scratch: self.scratch,
            idle: self.idle,
            half_close: self.half_close,
            deadline,
            to_peer: Flow::new(self.to_peer),
            to_client: Flow::new(self.to_client),
        }
    }
}

/// A relay in progress.
pub struct Relay<'a> {
    client: &'a Stream,
    peer: &'a Stream,
    scratch: &'a Scratch,
    idle: Duration,
    half_close: bool,
    deadline: Deadline,
    to_peer: Flow,
    to_client: Flow,
}

/// Bytes of one read: what fits the first cache level beside what the kernel needs of it.
const STEP: usize = 16 << 10;

/// Reads of one direction in one poll: a bulk transfer lets others run after this many.
const READS: usize = 8;

/// One direction.
struct Flow {
    /// What was read and could not be written, from `sent` on; empty while nothing is stuck.
    rest: Vec<u8>,
    sent: usize,
    state: State,
    read: u64,
    written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended, the rest is still to be written.
    Ending,
    Ended,
}

impl Future for Relay<'_> {
    type Output = Relayed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Relayed> {
        let relay = &mut *self;
        let moved = relay.to_peer.total() + relay.to_client.total();
        if let Err((step, error)) = relay.to_peer.poll(relay.client, relay.peer, relay.scratch, cx) {
            return Poll::Ready(relay.outcome(step, Some((Direction::ToPeer, error))));
        }
        if relay.ended(&relay.to_peer) {
            return Poll::Ready(relay.outcome(Step::Read, None));
        }
        if let Err((step, error)) = relay.to_client.poll(relay.peer, relay.client, relay.scratch, cx) {
            return Poll::Ready(relay.outcome(step, Some((Direction::ToClient, error))));
        }
        if relay.ended(&relay.to_client) {
            return Poll::Ready(relay.outcome(Step::Read, None));
        }
        if moved != relay.to_peer.total() + relay.to_client.total() {
            relay.deadline.set(relay.idle);
        }
        if relay.deadline.poll(cx).is_ready() {
            let error = io::Error::from(io::ErrorKind::TimedOut);
            return Poll::Ready(relay.outcome(Step::Read, Some((Direction::ToClient, error))));
        }
        Poll::Pending
    }
}

impl Relay<'_> {
    /// Bytes read from the peer so far.
    pub fn from_peer(&self) -> u64 {
        self.to_client.read
    }

    /// What has been moved so far, for who ends the relay before it has ended.
    pub fn abandon(&self) -> Relayed {
        self.outcome(Step::Read, None)
    }

    /// Whether the client has sent its last byte.
    pub fn client_has_ended(&self) -> bool {
        self.to_peer.state != State::Open
    }

    /// Whether the relay is over, `flow` having just been polled.
    fn ended(&self, flow: &Flow) -> bool {
        match self.half_close {
            true => self.to_peer.state == State::Ended && self.to_client.state == State::Ended,
            false => flow.state == State::Ended,
        }
    }

    fn outcome(&self, step: Step, error: Option<(Direction, io::Error)>) -> Relayed {
        Relayed {
            to_peer: self.to_peer.written,
            to_client: self.to_client.written,
            from_client: self.to_peer.read,
            from_peer: self.to_client.read,
            error,
            step,
        }
    }
}

impl Flow {
    fn new(pending: Vec<u8>) -> Flow {
        Flow { rest: pending, sent: 0, state: State::Open, read: 0, written: 0 }
    }

    fn total(&self) -> u64 {
        self.read + self.written
    }

    /// Copies what can be copied now; an error is the end of the relay. Wakes `cx` when there is more to do.
    fn poll(
        &mut self,
        from: &Stream,
        to: &Stream,
        scratch: &Scratch,
        cx: &mut Context<'_>,
    ) -> Result<(), (Step, io::Error)> {
        for _ in 0..READS {
            if self.state == State::Ended {
                return Ok(());
            }
            match self.poll_flush(to, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(flushed) => flushed.map_err(|error| (Step::Write, error))?,
            }
            if self.state == State::Ending {
                // Told once and for all; when nobody waits for it any more the sockets are closed anyway.
                to.shutdown_write();
                self.state = State::Ended;
                return Ok(());
            }
            match self.poll_copy(from, to, scratch, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(copied) => copied?,
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// One read and one attempt to pass it on.
    fn poll_copy(
        &mut self,
        from: &Stream,
        to: &Stream,
        scratch: &Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), (Step, io::Error)>> {
        ready!(from.poll_read_ready(cx)).map_err(|error| (Step::Read, error))?;
        scratch.with_read(|buffer| {
            let bytes = match from.try_read(buffer.get_mut(..STEP).unwrap_or_default()) {
                Ok(0) => {
                    self.state = State::Ending;
                    return Poll::Ready(Ok(()));
                }
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                // The next round asks for readiness again, and waits.
                Err(error) if is_transient(&error) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err((Step::Read, error))),
            };
            self.read += bytes.len() as u64;
            let taken = match to.try_write(bytes) {
                Ok(taken) => taken,
                Err(error) if is_transient(&error) => 0,
                Err(error) => return Poll::Ready(Err((Step::Write, error))),
            };
            self.written += taken as u64;
            self.rest.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Ready when nothing is left over.
    fn poll_flush(&mut self, to: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.rest.get(self.sent..).filter(|rest| !rest.is_empty()) {
            ready!(to.poll_write_ready(cx))?;
            match to.try_write(rest) {
                Ok(taken) => {
                    self.sent += taken;
                    self.written += taken as u64;
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.sent > 0 {
            // An idle session owns no buffer.
            drop(take(&mut self.rest));
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
