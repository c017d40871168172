//! Copies both directions of two streams until both ended.
//!
//! One future, no task, and neither buffer nor pipe of its own while nothing is
//! stuck: [`flow`] moves one direction's bytes, [`pipes`] lends what a stream of
//! them goes through, [`conduit`] moves it through, [`rate`] says when a limited direction rests. A worker
//! that drains does not end a relay: whoever stops the process decides when.

mod conduit;
mod flow;
mod pipes;
mod rate;

pub use conduit::{Conduit, Passed};
pub use pipes::{Pipes, pipes_refused};
pub use rate::Rate;

use crate::net::{Deadline, Stream};
use crate::worker::{READ_BUFFER, Scratch};
use flow::{Flow, Way};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToPeer,
    ToClient,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// This direction's source has ended and all it sent is out; with half-closing, it was the last one.
    Closed(Direction),
    /// Its destination does not take bytes any more.
    Failed(Direction, io::Error),
    /// Nothing moved for the idle time.
    TimedOut,
}

/// What a relay did.
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
    pub end: End,
}

/// What each direction may hold and how fast it may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read at once, and so the most a direction holds in our memory. A direction that streams may
    /// have sixteen times as much in a pipe.
    pub buffer: usize,
    pub to_peer: Option<Rate>,
    pub to_client: Option<Rate>,
}

impl Default for Limits {
    /// Reads of what fits the first cache level beside what the kernel needs of it; no rates.
    fn default() -> Limits {
        Limits { buffer: 16 << 10, to_peer: None, to_client: None }
    }
}

/// Two connected streams, and what to do with them.
pub struct Tunnel<'a> {
    pub client: &'a Stream,
    pub peer: &'a Stream,
    pub scratch: &'a Scratch,
    /// How long nothing may move in either direction; a direction that rests for its rate stops this clock.
    pub idle: Duration,
    /// Whether the end of one direction leaves the other one open.
    pub half_close: bool,
    pub limits: Limits,
    /// Bytes to send before anything that is read: what the client sent early.
    pub to_peer: Vec<u8>,
    /// The same the other way.
    pub to_client: Vec<u8>,
}

impl<'a> Tunnel<'a> {
    /// Copies until both directions have ended, one cannot go on, or nothing moved for `idle`.
    /// Without `half_close`, the end of either direction ends the relay once its bytes are out.
    pub fn run(self) -> Relay<'a> {
        let mut deadline = Deadline::default();
        deadline.set(self.idle);
        // A splice stops at urgent data, which only the reactor tells of.
        self.client.register();
        self.peer.register();
        Relay {
            client: self.client,
            peer: self.peer,
            scratch: self.scratch,
            idle: self.idle,
            half_close: self.half_close,
            buffer: self.limits.buffer.clamp(1, READ_BUFFER),
            deadline,
            to_peer: Flow::new(self.to_peer, self.limits.to_peer),
            to_client: Flow::new(self.to_client, self.limits.to_client),
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
    buffer: usize,
    deadline: Deadline,
    to_peer: Flow,
    to_client: Flow,
}

impl Future for Relay<'_> {
    type Output = Relayed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Relayed> {
        let relay = &mut *self;
        let moved = relay.total();
        for direction in [Direction::ToPeer, Direction::ToClient] {
            let (flow, way) = relay.side(direction);
            if let Err(error) = flow.poll(&way, cx) {
                return Poll::Ready(relay.outcome(End::Failed(direction, error)));
            }
            if relay.ended(direction) {
                return Poll::Ready(relay.outcome(End::Closed(direction)));
            }
        }
        if relay.to_peer.rests() || relay.to_client.rests() {
            relay.deadline.clear();
            return Poll::Pending;
        }
        if moved != relay.total() || !relay.deadline.is_set() {
            relay.deadline.set(relay.idle);
        }
        relay.deadline.poll(cx).map(|_| relay.outcome(End::TimedOut))
    }
}

impl Relay<'_> {
    /// Bytes read from the client so far.
    pub fn from_client(&self) -> u64 {
        self.to_peer.read()
    }

    /// Bytes read from the peer so far.
    pub fn from_peer(&self) -> u64 {
        self.to_client.read()
    }

    /// Bytes written to the peer so far.
    pub fn to_peer(&self) -> u64 {
        self.to_peer.written()
    }

    /// Bytes written to the client so far.
    pub fn to_client(&self) -> u64 {
        self.to_client.written()
    }

    /// The error that a source ended with, once, and the direction it was the source of. Otherwise such an
    /// end is like any other: what was read before it still goes out.
    pub fn take_fault(&mut self) -> Option<(Direction, io::Error)> {
        let to_peer = self.to_peer.take_fault().map(|error| (Direction::ToPeer, error));
        to_peer.or_else(|| self.to_client.take_fault().map(|error| (Direction::ToClient, error)))
    }

    fn side(&mut self, direction: Direction) -> (&mut Flow, Way<'_>) {
        let (flow, from, to) = match direction {
            Direction::ToPeer => (&mut self.to_peer, self.client, self.peer),
            Direction::ToClient => (&mut self.to_client, self.peer, self.client),
        };
        (flow, Way { from, to, scratch: self.scratch, buffer: self.buffer, half_close: self.half_close })
    }

    fn total(&self) -> u64 {
        self.from_client() + self.from_peer() + self.to_peer() + self.to_client()
    }

    /// Whether the relay is over, this direction having just been polled.
    fn ended(&self, polled: Direction) -> bool {
        let (to_peer, to_client) = (self.to_peer.has_ended(), self.to_client.has_ended());
        match polled {
            _ if self.half_close => to_peer && to_client,
            Direction::ToPeer => to_peer,
            Direction::ToClient => to_client,
        }
    }

    fn outcome(&self, end: End) -> Relayed {
        Relayed {
            to_peer: self.to_peer(),
            to_client: self.to_client(),
            from_client: self.from_client(),
            from_peer: self.from_peer(),
            end,
        }
    }
}

#[cfg(test)]
mod tests;
