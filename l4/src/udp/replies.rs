//! From peers to clients: replies of many sessions gather in the batch and go
//! with one call.

use crate::udp::Engine;
use crate::udp::batch::{self, BATCH, Batch, Message, Sender};
use crate::udp::flows::{Id, Verdict};
use crate::udp::links::Link;
use crate::udp::readiness::Ready;
use crate::udp::session::End;
use crate::udp::spans::{Run, Span};
use fairlead_core::clock::Tick;
use fairlead_core::log::{Level, OsError};
use std::io;
use std::os::fd::AsFd;

/// Messages taken from one peer at a time; most send one.
const WANT: usize = 8;

/// Messages that wait to be sent, in the order of their datagrams in the batch.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: Vec<Message>,
    sessions: Vec<Id>,
    /// Pieces of all messages, one message's behind another's.
    spans: Vec<Span>,
    /// Places of the batch that they take.
    taken: usize,
}

/// Whose replies, to whom, and how long those may be that go together.
type Address = (Id, Sender, usize);

impl Outbox {
    /// Adds `wanted` datagrams at most; how many there were.
    fn add(&mut self, spans: impl Iterator<Item = Span>, address: Address, wanted: u64) -> u64 {
        let mut added = 0;
        for span in spans {
            if added == wanted {
                break;
            }
            let most = usize::try_from(wanted - added).unwrap_or(usize::MAX);
            let (span, _) = span.split(most);
            self.push(span, address, added > 0);
            added += span.count() as u64;
        }
        added
    }

    /// `joins`: the last message is the same session's, of this very moment.
    fn push(&mut self, span: Span, (id, to, longest): Address, mut joins: bool) {
        let mut left = Some(span);
        while let Some(span) = left {
            if !joins {
                self.messages.push(Message { to, run: Run::new(longest, usize::MAX), spans: 0 });
                self.sessions.push(id);
            }
            let Some(message) = self.messages.last_mut() else { return };
            let (head, rest) = message.run.take(span);
            message.spans += usize::from(head.is_some());
            self.spans.extend(head);
            (left, joins) = (rest, false);
        }
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.sessions.clear();
        self.spans.clear();
        self.taken = 0;
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
            if flow.session.is_dropped() {
                self.send_replies(batch, now);
                return self.end(id, End::Dropped, now);
            }
            let want = match flow.session.appetite(WANT, now) {
                Ok(want) => want,
                Err(until) => return self.flows.rest(id, until, now),
            };
            let at = self.outbox.taken;
            let taken = match batch.receive_replies(socket.as_fd(), (at, want), self.links.is_udp(link)) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    flow.session.peer_failed("recv()", &error);
                    self.send_replies(batch, now);
                    return self.end(id, End::Unreachable, now);
                }
            };
            let spans = (at..at + taken).filter_map(|place| batch.span(place));
            flow.session.read(spans.clone().map(|span| span.length), now);
            let left = flow.replies_left().map_or(u64::MAX, |left| left.saturating_sub(queued));
            let to = Sender { client: flow.key().client, local: flow.key().local };
            let added = self.outbox.add(spans, (id, to, flow.session.segments.to_client), left);
            self.outbox.taken += taken;
            queued += added;
            // What is more than the session waits for is lost with it.
            if added == left || (taken < want && !event.error) {
                return;
            }
        }
    }

    /// Sends what has gathered.
    pub fn send_replies(&mut self, batch: &Batch, now: Tick) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let (mut at, mut spans) = (0, 0);
        while let Some(rest) = outbox.messages.get(at..).filter(|rest| !rest.is_empty()) {
            let left = outbox.spans.get(spans..).unwrap_or_default();
            // Zero sent is not a thing that happens, and would be one for ever.
            let done = match batch.send_replies(self.socket.as_fd(), rest, left) {
                Ok(sent) => {
                    for (message, id) in rest.iter().zip(outbox.sessions.iter().skip(at)).take(sent) {
                        self.replied(*id, &message.run, now);
                    }
                    sent.max(1)
                }
                Err(error) => {
                    if let (Some(message), Some(id)) = (rest.first(), outbox.sessions.get(at)) {
                        let spans = left.get(..message.spans).unwrap_or_default();
                        self.not_replied(*id, (message, spans), batch, (&error, now));
                    }
                    1
                }
            };
            spans += rest.iter().take(done).map(|message| message.spans).sum::<usize>();
            at += done;
        }
        outbox.clear();
        self.outbox = outbox;
    }

    fn replied(&mut self, id: Id, run: &Run, now: Tick) {
        let Some(flow) = self.flows.flow(id) else { return };
        flow.session.record.sent += run.bytes() as u64;
        self.count_replies(id, run, now);
    }

    fn count_replies(&mut self, id: Id, run: &Run, now: Tick) {
        let Some(flow) = self.flows.flow(id) else { return };
        let first = flow.responses == 0;
        flow.session.received(run.bytes(), first, now);
        if self.flows.response(id, run.count() as u64, now) == Verdict::Done {
            return self.end(id, End::Done, now);
        }
        // Nothing more comes to a listener that is gone.
        if self.closed.is_some() && self.flows.flow(id).is_some_and(|flow| !flow.awaits()) {
            self.end(id, End::Shutdown, now);
        }
    }

    /// The first of several messages did not go: it is sent in another way, or lost.
    fn not_replied(
        &mut self,
        id: Id,
        (message, spans): (&Message, &[Span]),
        batch: &Batch,
        (error, now): (&io::Error, Tick),
    ) {
        let Some(flow) = self.flows.flow(id) else { return };
        if let Some(longest) = batch::longest_after(error, message.run.segment()) {
            flow.session.segments.to_client = longest;
            for span in spans.iter().flat_map(|span| span.datagrams()) {
                let one = Message { to: message.to, run: Run::of(span), spans: 1 };
                match batch.send_replies(self.socket.as_fd(), &[one], &[span]) {
                    Ok(_) => self.replied(id, &one.run, now),
                    Err(error) => self.not_replied(id, (&one, &[span]), batch, (&error, now)),
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
        self.count_replies(id, &message.run, now);
    }
}
