//! Which session a datagram belongs to, and when a session is over: the rules
//! of `proxy_requests`, `proxy_responses` and `proxy_timeout`, exactly nginx's.
//!
//! Pure: no sockets, time is an argument. `S` is what the edge keeps of a
//! session. Bounded: what does not fit is refused and counted.

use crate::udp::wheel::Wheel;
use ahash::AHashMap;
use fairlead_core::clock::Tick;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Whose datagrams make one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub client: SocketAddr,
    /// The address the client sent to, when the listener has several (a wildcard).
    pub local: Option<IpAddr>,
}

/// What ends a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Datagrams of the client in one session; 0: no limit.
    pub requests: u32,
    /// Datagrams of the peer for each one of the client; `None`: unknown.
    pub responses: Option<u32>,
    /// Longest silence.
    pub timeout: Duration,
}

/// Names one session; never another one that came to the same place later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    slot: u32,
    turn: u32,
}

impl Id {
    pub fn to_bits(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.slot)
    }

    pub fn from_bits(bits: u64) -> Id {
        Id { slot: bits as u32, turn: (bits >> 32) as u32 }
    }
}

/// Whether a session goes on after a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Open,
    /// All that was expected has come: close it.
    Done,
}

/// No room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

pub(crate) struct Flow<S> {
    pub session: S,
    key: Key,
    limits: Limits,
    pub requests: u64,
    pub responses: u64,
    deadline: Tick,
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

    pub fn key(&self) -> &Key {
        &self.key
    }
}

pub(crate) struct Flows<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    index: AHashMap<Key, u32>,
    wheel: Wheel,
    limit: usize,
    live: usize,
}

struct Slot<S> {
    turn: u32,
    flow: Option<Flow<S>>,
}

impl<S> Flows<S> {
    pub fn new(limit: usize, now: Tick) -> Flows<S> {
        let wheel = Wheel::new(now);
        Flows { slots: Vec::new(), free: Vec::new(), index: AHashMap::new(), wheel, limit, live: 0 }
    }

    pub fn len(&self) -> usize {
        self.live
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

    /// Begins a session that takes the datagrams of `key` from now on.
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
        let deadline = now.after(limits.timeout);
        let flow = Flow { session, key, limits, requests: 0, responses: 0, deadline, attached: true };
        let Some(place) = self.slots.get_mut(slot as usize) else { return Err((Full, flow.session)) };
        place.flow = Some(flow);
        self.live += 1;
        self.index.insert(key, slot);
        self.wheel.insert(slot, deadline);
        Ok(Id { slot, turn: place.turn })
    }

    /// A datagram of the client went to the peer.
    pub fn request(&mut self, id: Id, now: Tick) -> Verdict {
        self.count(id, now, |flow| flow.requests += 1)
    }

    /// A datagram of the peer went to the client.
    pub fn response(&mut self, id: Id, now: Tick) -> Verdict {
        self.count(id, now, |flow| flow.responses += 1)
    }

    fn count(&mut self, id: Id, now: Tick, count: impl FnOnce(&mut Flow<S>)) -> Verdict {
        let Some(flow) = self.flow(id) else { return Verdict::Done };
        count(flow);
        flow.deadline = now.after(flow.limits.timeout);
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

    /// One session that has been silent for its timeout. It stays until it is closed.
    pub fn expired(&mut self, now: Tick) -> Option<Id> {
        while let Some(slot) = self.wheel.take(now) {
            let Some(place) = self.slots.get(slot as usize) else { continue };
            let Some(flow) = &place.flow else { continue };
            if flow.deadline <= now {
                return Some(Id { slot, turn: place.turn });
            }
            self.wheel.insert(slot, flow.deadline);
        }
        None
    }

    /// When to ask for expired sessions again.
    pub fn next_expiry(&self) -> Option<Tick> {
        self.wheel.next()
    }

    /// Ends a session and gives back what the edge kept of it.
    pub fn close(&mut self, id: Id) -> Option<Flow<S>> {
        let place = self.slots.get_mut(id.slot as usize).filter(|slot| slot.turn == id.turn)?;
        let flow = place.flow.take()?;
        place.turn = place.turn.wrapping_add(1);
        self.live -= 1;
        self.free.push(id.slot);
        self.wheel.remove(id.slot);
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
