//! From clients to peers: a batch of a listener's datagrams goes to their
//! sessions, which begin here.

use crate::outcomes::Status;
use crate::plan::Content;
use crate::record::Record;
use crate::target::{self, Located};
use crate::udp::batch::{self, Batch, Sender};
use crate::udp::flows::{Id, Key, Verdict};
use crate::udp::session::{self, End, Segments, Session};
use crate::udp::spans::{LONGEST_SEGMENT, Run, Span};
use crate::udp::{Engine, GRACE, stand_ins};
use crate::variables::Variable;
use crate::{pass, phases, returns};
use fairlead_conf::Template;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{Level, OsError};
use fairlead_core::worker::next_connection_number;
use std::os::fd::AsFd;

impl Engine {
    pub fn take_requests(&mut self, batch: &Batch, taken: usize, now: Tick) {
        let mut pile = std::mem::take(&mut self.pile);
        pile.fill((0..taken).map(|place| batch.span(place)));
        for first in 0..taken {
            let Some(sender) = batch.sender(first) else { continue };
            let key = Key { client: sender.client, local: sender.local };
            // After a message that did not go as one the next is a single datagram, come what may.
            let mut alone = false;
            while pile.left(first).is_some() {
                let known = self.flows.find(&key).filter(|id| self.keeps_its_peer(*id, now));
                let run = known.filter(|_| !alone).map_or(Run::ONE, |id| self.run_to_peer(id));
                let run = pile.gather(first, run, |place| batch.sender(place) == Some(sender));
                alone = match known.filter(|_| run.count() > 1) {
                    Some(id) if self.forward_run(id, batch, (&run, pile.spans()), now) => {
                        pile.remove();
                        false
                    }
                    Some(_) => true,
                    None => {
                        let one = pile.remove_one(first).map_or(&[][..], |one| batch.bytes(one));
                        self.take_request(known, key, one, now);
                        false
                    }
                };
            }
        }
        self.pile = pile;
    }

    /// Which datagrams may go to a session's peer as one message.
    fn run_to_peer(&mut self, id: Id) -> Run {
        match self.flows.flow(id) {
            // The first one has our PROXY header.
            Some(flow) if flow.requests > 0 => {
                let most = usize::try_from(flow.requests_at_once()).unwrap_or(usize::MAX);
                Run::new(flow.session.segments.to_peer, most)
            }
            _ => Run::ONE,
        }
    }

    /// A session whose peer has left goes on for replies that may be on their way, and no more.
    fn keeps_its_peer(&mut self, id: Id, now: Tick) -> bool {
        let Some(flow) = self.flows.flow(id) else { return false };
        if !flow.session.has_lost_its_peer(now) {
            return true;
        }
        match flow.awaits() {
            true => self.flows.retire(id, GRACE, now),
            false => self.end(id, End::Moved, now),
        }
        false
    }

    fn take_request(&mut self, known: Option<Id>, key: Key, bytes: &[u8], now: Tick) {
        if known.is_some_and(|id| self.forward(id, bytes, now)) {
            return;
        }
        // No session, or one whose peer turned out to be gone: then this datagram goes to another.
        if !self.waiting.holds(&key) {
            return self.begin(key, bytes, now);
        }
        if !self.waiting.add(&key, bytes)
            && let Some(entry) = self.current.load().entry(&self.key)
        {
            entry.server.outcomes.overflows.add(1);
        }
    }

    /// Sends datagrams to a session's peer as one message. False when they have to be tried in another
    /// way: one by one, or to another peer.
    fn forward_run(&mut self, id: Id, batch: &Batch, (run, spans): (&Run, &[Span]), now: Tick) -> bool {
        let Some(flow) = self.flows.flow(id) else { return false };
        let Some(socket) = self.links.socket(flow.session.link) else { return false };
        match batch.send_run(socket.as_fd(), spans, run.segment()) {
            Ok(sent) => {
                flow.session.sent(sent, sent);
                if self.flows.request(id, run.count() as u64, now) == Verdict::Done {
                    self.end(id, End::Done, now);
                }
                true
            }
            Err(error) if returns::is_lost(&error) => true,
            Err(error) => {
                match batch::longest_after(&error, run.segment()) {
                    Some(longest) => flow.session.segments.to_peer = longest,
                    None => {
                        flow.session.peer_failed("send()", &error);
                        self.end(id, End::Unreachable, now);
                    }
                }
                false
            }
        }
    }

    /// Sends a datagram to a session's peer. False when the peer turned out to be gone, which ends
    /// the session.
    fn forward(&mut self, id: Id, bytes: &[u8], now: Tick) -> bool {
        let Some(flow) = self.flows.flow(id) else { return false };
        let Some(socket) = self.links.socket(flow.session.link) else { return false };
        let first = flow.requests == 0;
        if !first && !flow.session.lets_pass(bytes.len(), now) {
            flow.session.record.entry.server.outcomes.over_rate.add(1);
            return true;
        }
        match flow.session.send(socket, bytes, first) {
            Ok(()) => {
                if self.flows.request(id, 1, now) == Verdict::Done {
                    self.end(id, End::Done, now);
                }
                true
            }
            Err(error) if returns::is_lost(&error) => true,
            Err(error) => {
                flow.session.peer_failed("send()", &error);
                if error.raw_os_error() == Some(libc::EMSGSIZE) {
                    return true;
                }
                self.end(id, End::Unreachable, now);
                first
            }
        }
    }

    /// A datagram that no session takes begins one.
    fn begin(&mut self, key: Key, bytes: &[u8], now: Tick) {
        let worker = self.current.load();
        // A listener that the newest generation does not have is about to be dropped.
        let Some(entry) = worker.entry(&self.key) else { return };
        let Some(ticket) = self.admit(&worker, &entry, now) else { return };
        let mut record = Record::new(next_connection_number(), worker, entry, now);
        match stand_ins::path(&key.client) {
            None => record.client = Some(key.client),
            Some(path) => record.client_path = Some(path),
        }
        // For a session that goes no further; one that does counts as it sends.
        record.received = bytes.len() as u64;
        record.local = key.local.zip(self.key.address.port()).map(Into::into);
        if record.wants(Level::Info) {
            match record.client {
                Some(client) => record.note(format_args!("udp client {client} connected to {}", record.entry.name)),
                None => {
                    let path = record.client_path.as_deref().unwrap_or_default();
                    record.note(format_args!("udp client unix:{path} connected to {}", record.entry.name));
                }
            }
        }
        if let Err(status) = phases::enter(&mut record) {
            return record.finish(status, now);
        }
        let entry = record.entry.clone();
        let target = match &entry.server.content {
            Content::Proxy(target) => target,
            Content::Return(text) => return self.answer(text, &key, record),
            Content::Pass(_) => {
                record.log(Level::Error, pass::ACTION, format_args!("cannot pass udp connection"));
                return record.finish(Status::InternalError, now);
            }
        };
        match target::locate(target, &mut record, now) {
            Ok(Located::Peers(candidates)) => {
                if let Some(session) = Session::open(record, candidates, ticket, (&mut self.links, now)) {
                    self.start(key, session, &[bytes], now);
                }
            }
            Ok(Located::Name { host, port }) => self.waiting.resolve(key, record, ticket, (host, port), bytes),
            Err(status) => record.finish(status, now),
        }
    }

    /// `return`: the session is this one exchange.
    fn answer(&self, text: &Template<Variable>, key: &Key, mut record: Record) {
        let (mut answer, now) = (Vec::new(), tick());
        record.render(text, now, &mut answer);
        let to = Sender { client: key.client, local: key.local };
        let sent = match answer.is_empty() {
            true => Ok(0),
            false => batch::reply(self.socket.as_fd(), &answer, to),
        };
        let status = match sent {
            Ok(sent) => {
                record.sent += sent as u64;
                Status::Ok
            }
            Err(error) if returns::is_lost(&error) => Status::Ok,
            Err(error) => {
                record.log(Level::Alert, returns::ACTION, format_args!("sendmsg() failed {}", OsError(&error)));
                Status::InternalError
            }
        };
        record.finish(status, now);
    }

    /// Sessions whose peer's name has been resolved.
    pub fn begin_resolved(&mut self, now: Tick) {
        while let Some((answer, datagrams)) = self.waiting.resolved() {
            let mut record = answer.record;
            match answer.outcome {
                Ok(candidates) => {
                    if let Some(session) = Session::open(record, candidates, answer.ticket, (&mut self.links, now)) {
                        let datagrams: Vec<&[u8]> = datagrams.iter().map(|bytes| &**bytes).collect();
                        self.start(answer.key, session, &datagrams, now);
                    }
                }
                Err(status) => record.finish(status, now),
            }
        }
    }

    fn start(&mut self, key: Key, mut session: Session, datagrams: &[&[u8]], now: Tick) {
        let limits = session::limits(&session.record.entry.server);
        let link = session.link;
        session.record.received = 0;
        let id = match self.flows.open(key, limits, session, now) {
            Ok(id) => id,
            // Room was made for it, but a reload has lowered the bound while its name was resolved.
            Err((_, mut session)) => {
                self.links.release(link, true, now);
                session.record.entry.server.outcomes.overflows.add(1);
                return session.record.finish(Status::Unavailable, now);
            }
        };
        self.links.own(link, id);
        let (to_peer, to_client) = (self.longest_segment(self.links.is_udp(link)), self.longest_segment(self.is_udp));
        if let Some(flow) = self.flows.flow(id) {
            let to_peer = if flow.session.is_judged() { 0 } else { to_peer };
            flow.session.segments = Segments { to_peer, to_client };
        }
        for bytes in datagrams {
            if !self.forward(id, bytes, now) {
                break;
            }
        }
    }
    /// How long datagrams may be that go with others as one message.
    pub fn longest_segment(&self, is_udp: bool) -> usize {
        if is_udp && self.kernel_cuts_segments { LONGEST_SEGMENT } else { 0 }
    }
}
