//! From peers to clients: replies of many sessions gather in the batch and go
//! with one call.

use crate::udp::Engine;
use crate::udp::batch::{self, BATCH, Batch, Message, Sender};
use crate::udp::flows::{Id, Verdict};
use crate::udp::links::Link;
use crate::udp::readiness::Ready;
use crate::udp::session::End;
use fairlead_core::clock::Tick;
use fairlead_core::log::{Level, OsError};
use std::io;
use std::os::fd::AsFd;

/// Datagrams taken from one peer at a time; most send one.
const WANT: usize = 8;

/// Messages that wait to be sent, in the order of their datagrams in the batch.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: Vec<Message>,
    sessions: Vec<Id>,
    /// Places of the batch that they take.
    taken: usize,
}

impl Outbox {
    /// Adds the datagrams of `count` places from the first free one on. The batch's places up to
    /// `received` are in use whether sent or not.
    fn add(&mut self, batch: &Batch, (id, to, segments): (Id, Sender, bool), count: usize) {
        let mut bytes = 0;
        let mut open = false;
        for place in self.taken..self.taken + count {
            let length = batch.datagram(place).map_or(0, <[u8]>::len);
            match self.messages.last_mut().filter(|last| open && batch.continues(last.first, place, bytes)) {
                Some(last) => {
                    last.count += 1;
                    bytes += length;
                    open = batch.is_whole(last.first, place);
                }
                None => {
                    self.messages.push(Message { to, first: place, count: 1 });
                    self.sessions.push(id);
                    (bytes, open) = (length, segments);
                }
            }
        }
        self.taken += count;
    }
}

impl Engine {
    /// Reads the peers of sessions that have rested for their rate.
    pub fn read_on(&mut self, batch: &mut Batch, now: Tick) {
        while let Some(id) = self.flows.rested(now) {
            if let Some(link) = self.flows.flow(id).map(|flow| flow.session.link) {
                self.take_replies(Ready { token: link.token(), error: true }, batch, now);
                self.send_replies(batch, now);
            }
        }
    }

    /// Reads a session's peer until it is drained, or has to rest for its rate.
    pub fn take_replies(&mut self, event: Ready, batch: &mut Batch, now: Tick) {
        let link = Link::of(&event);
        let mut queued = 0;
        loop {
            // What a socket hears between two sessions is taken out when the next one begins.
            let Some(id) = self.links.owner(link) else { return };
            if self.outbox.taken + WANT > BATCH {
                self.send_replies(batch, now);
                queued = 0;
            }
            let (Some(flow), Some(socket)) = (self.flows.flow(id), self.links.socket(link)) else { return };
            let want = match flow.session.appetite(WANT, now) {
                Ok(want) => want,
                Err(until) => return self.flows.rest(id, until, now),
            };
            let taken = match batch.receive_replies(socket.as_fd(), self.outbox.taken, want) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    flow.session.peer_failed("recv()", &error);
                    self.send_replies(batch, now);
                    return self.end(id, End::Unreachable, now);
                }
            };
            let places = self.outbox.taken..self.outbox.taken + taken;
            flow.session.read(places.filter_map(|place| batch.datagram(place)).map(<[u8]>::len), now);
            let left = flow.replies_left().map_or(u64::MAX, |left| left.saturating_sub(queued));
            let wanted = usize::try_from(left).unwrap_or(taken).min(taken);
            let to = Sender { client: flow.key().client, local: flow.key().local };
            self.outbox.add(batch, (id, to, flow.session.segments.to_client), wanted);
            queued += wanted as u64;
            // What is more than the session waits for is lost with it.
            if wanted as u64 == left || (taken < want && !event.error) {
                return;
            }
        }
    }

    /// Sends what has gathered.
    pub fn send_replies(&mut self, batch: &Batch, now: Tick) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let mut at = 0;
        while let Some(rest) = outbox.messages.get(at..).filter(|rest| !rest.is_empty()) {
            match batch.send_replies(self.socket.as_fd(), rest) {
                Ok(sent) => {
                    for (message, id) in rest.iter().zip(outbox.sessions.iter().skip(at)).take(sent) {
                        self.replied(*id, message, batch, now);
                    }
                    // Zero is not a thing that happens, and would be one for ever.
                    at += sent.max(1);
                }
                Err(error) => {
                    if let (Some(message), Some(id)) = (rest.first(), outbox.sessions.get(at)) {
                        self.not_replied(*id, message, batch, (&error, now));
                    }
                    at += 1;
                }
            }
        }
        outbox.messages.clear();
        outbox.sessions.clear();
        outbox.taken = 0;
        self.outbox = outbox;
    }

    fn replied(&mut self, id: Id, message: &Message, batch: &Batch, now: Tick) {
        let Some(flow) = self.flows.flow(id) else { return };
        let bytes = bytes_of(message, batch);
        flow.session.record.sent += bytes as u64;
        self.count_replies(id, message.count, bytes, now);
    }

    fn count_replies(&mut self, id: Id, count: usize, bytes: usize, now: Tick) {
        let Some(flow) = self.flows.flow(id) else { return };
        let first = flow.responses == 0;
        flow.session.received(bytes, first, now);
        if self.flows.response(id, count as u64, now) == Verdict::Done {
            return self.end(id, End::Done, now);
        }
        // Nothing more comes to a listener that is gone.
        if self.closed.is_some() && self.flows.flow(id).is_some_and(|flow| !flow.awaits()) {
            self.end(id, End::Shutdown, now);
        }
    }

    /// The first of several messages did not go: it is sent in another way, or lost.
    fn not_replied(&mut self, id: Id, message: &Message, batch: &Batch, (error, now): (&io::Error, Tick)) {
        let Some(flow) = self.flows.flow(id) else { return };
        if message.count > 1 && batch::refuses_segments(error) {
            flow.session.segments.to_client = false;
            for place in message.first..message.first + message.count {
                let one = Message { to: message.to, first: place, count: 1 };
                match batch.send_replies(self.socket.as_fd(), &[one]) {
                    Ok(_) => self.replied(id, &one, batch, now),
                    Err(error) => self.not_replied(id, &one, batch, (&error, now)),
                }
            }
            return;
        }
        // As on any full queue of the network, a datagram is lost.
        if error.kind() != io::ErrorKind::WouldBlock {
            flow.session.record.log(
                Level::Alert,
                "proxying and sending to client",
                format_args!("sendmsg() failed {}", OsError(error)),
            );
        }
        self.count_replies(id, message.count, bytes_of(message, batch), now);
    }
}

fn bytes_of(message: &Message, batch: &Batch) -> usize {
    let places = message.first..message.first + message.count;
    places.map(|place| batch.datagram(place).map_or(0, <[u8]>::len)).sum()
}
