//! Which session a datagram belongs to, and when a session is over: the rules
//! of `proxy_requests`, `proxy_responses` and `proxy_timeout`, exactly nginx's.
//!
//! Pure: no sockets, time is an argument. `S` is what the edge keeps of a
//! session. Bounded: what does not fit is refused, or takes the place of a
//! session of which nothing shows that a client waits for it ([`Flows::victim`]).

use crate::udp::queue::Queue;
use ahash::AHashMap;
use fairlead_core::clock::Tick;
pub use fairlead_core::clock::wheel::GRAIN;
use fairlead_core::clock::wheel::Wheel;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Whose datagrams make one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub client: SocketAddr,
    /// The address the client sent to, when the listener has several (a wildcard).
    pub local: Option<IpAddr>,
}

/// What ends a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Datagrams of the client in one session; 0: no limit.
    pub requests: u32,
    /// Datagrams of the peer for each one of the client; `None`: unknown.
    pub responses: Option<u32>,
    /// Longest silence.
    pub timeout: Duration,
}

/// Names one session; never another one that came to the same place later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    slot: u32,
    turn: u32,
}

/// Whether a session goes on after a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Open,
    /// All that was expected has come: close it.
    Done,
}

/// How long the peer of a session has time to answer before others may take its place.
pub const UNANSWERED: Duration = Duration::from_millis(250);

/// The same once it has answered, and the client has not come back: more replies may follow.
pub const ANSWERED: Duration = Duration::from_secs(2);

/// Sessions looked at for one that may go.
pub const LOOKS: usize = 8;

/// No room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

pub struct Flow<S> {
    pub session: S,
    key: Key,
    limits: Limits,
    pub requests: u64,
    pub responses: u64,
    /// When a datagram last passed, and whether it was the client's.
    touched: Tick,
    asked: bool,
    /// New datagrams of the client still come here.
    attached: bool,
}

impl<S> Flow<S> {
    /// Replies are still expected: ending now would lose them.
    pub fn unanswered(&self) -> bool {
        match self.limits.responses {
            None => false,
            Some(each) => self.responses < u64::from(each).saturating_mul(self.requests),
        }
    }

    /// A reply may be on its way, as far as anybody knows.
    pub fn awaits(&self) -> bool {
        self.unanswered() || (self.limits.responses.is_none() && self.asked)
    }

    /// Replies after which the session is over; `None` while it has no such end.
    pub fn replies_left(&self) -> Option<u64> {
        let each = self.limits.responses.filter(|_| self.requests >= u64::from(self.limits.requests))?;
        Some(u64::from(each).saturating_mul(self.requests).saturating_sub(self.responses))
    }

    /// How many datagrams of the client may go before it is looked at whether the session is over.
    pub fn requests_at_once(&self) -> u64 {
        match (self.limits.requests, self.limits.responses) {
            (0, Some(0)) => 1,
            (0, _) => u64::MAX,
            (requests, _) => u64::from(requests).saturating_sub(self.requests),
        }
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    fn deadline(&self) -> Tick {
        self.touched.after(self.limits.timeout)
    }

    fn quiet_since(&self, now: Tick) -> bool {
        now.since(self.touched) >= if self.responses == 0 { UNANSWERED } else { ANSWERED }
    }
}

pub struct Flows<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    index: AHashMap<Key, u32>,
    wheel: Wheel,
    /// Sessions that rest for their rate; made for the first one that does.
    resting: Option<Box<Wheel>>,
    /// Sessions whose client has not come back after a reply: its address may be invented.
    unproven: Queue,
    limit: usize,
    live: usize,
}

struct Slot<S> {
    turn: u32,
    flow: Option<Flow<S>>,
}

impl<S> Flows<S> {
    pub fn new(limit: usize, now: Tick) -> Flows<S> {
        let (wheel, unproven) = (Wheel::new(now), Queue::new());
        let (slots, free, index) = (Vec::new(), Vec::new(), AHashMap::new());
        Flows { slots, free, index, wheel, resting: None, unproven, limit, live: 0 }
    }

    /// Changes the bound; sessions that are there stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The session that datagrams of `key` go to.
    pub fn find(&self, key: &Key) -> Option<Id> {
        let slot = *self.index.get(key)?;
        self.slots.get(slot as usize).map(|found| Id { slot, turn: found.turn })
    }

    pub fn flow(&mut self, id: Id) -> Option<&mut Flow<S>> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.turn == id.turn)?.flow.as_mut()
    }

    /// Whether [`Flows::open`] would find room.
    pub fn has_room(&self) -> bool {
        self.live < self.limit
    }

    /// A session that may be ended so that another can begin: the peer has not answered for a while,
    /// or the client has not come back after the answer. Whoever invents addresses gets no further
    /// than that, so a session that both sides have used is never given. It stays until it is closed.
    pub fn victim(&mut self, now: Tick) -> Option<Id> {
        for _ in 0..LOOKS {
            let slot = self.unproven.first()?;
            let place = self.slots.get(slot as usize)?;
            if place.flow.as_ref()?.quiet_since(now) {
                return Some(Id { slot, turn: place.turn });
            }
            // Something passed a moment ago: the others come first.
            self.unproven.remove(slot);
            self.unproven.push(slot);
        }
        None
    }

    /// Begins a session that takes the datagrams of `key` from now on, whoever took them before.
    ///
    /// # Errors
    /// The table is full; `session` comes back.
    pub fn open(&mut self, key: Key, limits: Limits, session: S, now: Tick) -> Result<Id, (Full, S)> {
        if !self.has_room() {
            return Err((Full, session));
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, flow: None });
            (self.slots.len() - 1) as u32
        });
        let (touched, asked, attached) = (now, true, true);
        let flow = Flow { session, key, limits, requests: 0, responses: 0, touched, asked, attached };
        let deadline = flow.deadline();
        let Some(place) = self.slots.get_mut(slot as usize) else { return Err((Full, flow.session)) };
        place.flow = Some(flow);
        self.live += 1;
        let turn = place.turn;
        if let Some(before) = self.index.insert(key, slot) {
            self.detach(before);
        }
        self.wheel.insert(slot, deadline);
        self.unproven.push(slot);
        Ok(Id { slot, turn })
    }

    fn detach(&mut self, slot: u32) {
        if let Some(flow) = self.slots.get_mut(slot as usize).and_then(|place| place.flow.as_mut()) {
            flow.attached = false;
        }
    }

    /// So many datagrams of the client went to the peer.
    pub fn request(&mut self, id: Id, count: u64, now: Tick) -> Verdict {
        if self.flow(id).is_some_and(|flow| flow.responses > 0) {
            self.unproven.remove(id.slot);
        }
        self.count(id, now, |flow| {
            flow.requests += count;
            flow.asked = true;
        })
    }

    /// So many datagrams of the peer went to the client.
    pub fn response(&mut self, id: Id, count: u64, now: Tick) -> Verdict {
        self.count(id, now, |flow| {
            flow.responses += count;
            flow.asked = false;
        })
    }

    fn count(&mut self, id: Id, now: Tick, count: impl FnOnce(&mut Flow<S>)) -> Verdict {
        let Some(flow) = self.flow(id) else { return Verdict::Done };
        count(flow);
        flow.touched = now;
        let wanted = u64::from(flow.limits.requests);
        if flow.requests < wanted {
            return Verdict::Open;
        }
        let done = flow.limits.responses.is_some() && !flow.unanswered();
        if wanted > 0 && flow.attached {
            // The next datagram of this client begins another session.
            flow.attached = false;
            let key = flow.key;
            self.index.remove(&key);
        }
        if done { Verdict::Done } else { Verdict::Open }
    }

    /// The next datagram of this client begins another session; this one goes on for replies that may
    /// be on their way, but is over after a silence of `patience`.
    pub fn retire(&mut self, id: Id, patience: Duration, now: Tick) {
        let Some(flow) = self.flow(id) else { return };
        flow.touched = now;
        flow.limits.timeout = flow.limits.timeout.min(patience);
        let (key, deadline) = (flow.key, flow.deadline());
        if std::mem::take(&mut flow.attached) {
            self.index.remove(&key);
        }
        self.wheel.remove(id.slot);
        self.wheel.insert(id.slot, deadline);
    }

    /// One session that has been silent for its timeout. It stays until it is closed.
    pub fn expired(&mut self, now: Tick) -> Option<Id> {
        while let Some(slot) = self.wheel.take(now) {
            let Some(place) = self.slots.get(slot as usize) else { continue };
            let Some(flow) = &place.flow else { continue };
            let deadline = flow.deadline();
            if deadline <= now {
                return Some(Id { slot, turn: place.turn });
            }
            self.wheel.insert(slot, deadline);
        }
        None
    }

    /// Lets a session that [`Flows::expired`] has named go on if its silence counts from `since` only,
    /// which may be yet to come; false when it is over even so.
    pub fn prolong(&mut self, id: Id, since: Tick, now: Tick) -> bool {
        let Some(flow) = self.flow(id) else { return false };
        let deadline = since.after(flow.limits.timeout);
        if deadline > now {
            self.wheel.insert(id.slot, deadline);
        }
        deadline > now
    }

    /// Names the session again once `until`, which is later than `now`, has come.
    pub fn rest(&mut self, id: Id, until: Tick, now: Tick) {
        if self.flow(id).is_some() {
            let resting = self.resting.get_or_insert_with(|| Box::new(Wheel::new(now)));
            resting.remove(id.slot);
            resting.insert(id.slot, until);
        }
    }

    /// One session whose rest is over; or is not, when it is a long one: ask what it waits for again.
    pub fn rested(&mut self, now: Tick) -> Option<Id> {
        let slot = self.resting.as_mut()?.take(now)?;
        self.slots.get(slot as usize).map(|place| Id { slot, turn: place.turn })
    }

    /// When to ask for expired and for rested sessions again.
    pub fn next_expiry(&self) -> Option<Tick> {
        let resting = self.resting.as_ref().and_then(|resting| resting.next());
        self.wheel.next().into_iter().chain(resting).min()
    }

    /// Ends a session and gives back what the edge kept of it.
    pub fn close(&mut self, id: Id) -> Option<Flow<S>> {
        let place = self.slots.get_mut(id.slot as usize).filter(|slot| slot.turn == id.turn)?;
        let flow = place.flow.take()?;
        place.turn = place.turn.wrapping_add(1);
        self.live -= 1;
        self.free.push(id.slot);
        self.wheel.remove(id.slot);
        self.unproven.remove(id.slot);
        if let Some(resting) = &mut self.resting {
            resting.remove(id.slot);
        }
        if flow.attached {
            self.index.remove(&flow.key);
        }
        Some(flow)
    }

    /// Every session there is.
    pub fn ids(&self) -> Vec<Id> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.flow.is_some());
        slots.map(|(index, slot)| Id { slot: index as u32, turn: slot.turn }).collect()
    }
}

#[cfg(test)]
mod tests;
