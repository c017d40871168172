//! Room for one more session: places among `worker_connections` and
//! `udp_sessions`, descriptors, and who makes way when they are all taken.

use crate::udp::Engine;
use crate::udp::session::End;
use crate::worker::{Entry, Worker};
use fairlead_core::clock::Tick;
use fairlead_core::log::Level;
use fairlead_core::worker::Ticket;

/// Says something once a second: a flood must not become a flood of log lines.
#[derive(Default)]
pub(crate) struct Complaint(Option<u64>);

impl Complaint {
    pub fn is_due(&mut self, now: Tick) -> bool {
        let second = now.0 / 1000;
        self.0.replace(second) != Some(second)
    }
}

impl Engine {
    /// A place for one more session, if need be that of another; `None` when the datagram has to be
    /// dropped, which is counted.
    pub fn admit(&mut self, worker: &Worker, entry: &Entry, now: Tick) -> Option<Ticket> {
        self.flows.set_limit(entry.server.udp.sessions);
        let full = self.flows.len() + self.waiting.len() >= self.flows.limit();
        // Out of descriptors: the next socket needs that of a session.
        let made_room = (full || self.links.is_short(now)) && self.evict(entry, now);
        if full && !made_room {
            let limit = self.flows.limit();
            self.refuse(entry, now, format_args!("{limit} udp_sessions are not enough"));
            return None;
        }
        let ticket = worker.context.admit().or_else(|| self.evict(entry, now).then(|| worker.context.admit())?);
        if ticket.is_none() {
            let limit = worker.context.connections.active();
            self.refuse(entry, now, format_args!("{limit} worker_connections are not enough"));
        }
        ticket
    }

    /// Ends a session that nobody seems to wait for.
    fn evict(&mut self, entry: &Entry, now: Tick) -> bool {
        let Some(id) = self.flows.victim(now) else { return false };
        self.end(id, End::Evicted, now);
        entry.server.outcomes.evictions.add(1);
        if self.evicting.is_due(now) {
            let (name, count) = (&entry.name, entry.server.outcomes.evictions.load());
            let message = format_args!(
                "too many UDP sessions on {name}, the oldest unanswered ones make room, {count} of them so far"
            );
            entry.server.error_log.write(Level::Warn, 0, message);
        }
        true
    }

    fn refuse(&mut self, entry: &Entry, now: Tick, message: std::fmt::Arguments<'_>) {
        entry.server.outcomes.overflows.add(1);
        if self.full.is_due(now) {
            let count = entry.server.outcomes.overflows.load();
            entry.server.error_log.write(Level::Alert, 0, format_args!("{message}, {count} turned away so far"));
        }
    }
}
