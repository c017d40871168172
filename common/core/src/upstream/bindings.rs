//! `sticky source` and `sticky learn`: which peer each client's address went to last, or where
//! each session is.
//!
//! Shared by all workers and carried over reloads with its upstream. Split
//! into shards by hash, so that workers seldom meet, and a worker that does
//! meet another waits for the few writes of one entry. Bounded by the zone's size: full, it forgets
//! whom it has not seen for the longest time. Does not pick: the [`crate::upstream::Balancer`]
//! does. It asks here first for addresses; sessions are the http plane's to ask for and to tell.

mod shard;

use crate::clock::Tick;
use crate::stats::Counter;
use ahash::RandomState;
use md5::{Digest, Md5};
use shard::Shard;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of a zone, for each client it remembers.
pub(super) const BYTES_PER_CLIENT: u64 = 64;

const MOST_SHARDS: usize = 64;
const LEAST_PER_SHARD: usize = 256;

#[derive(Debug)]
pub struct Bindings {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    capacity: usize,
    /// Milliseconds.
    timeout: u64,
    /// Clients or sessions forgotten before their time, because the zone was full.
    pub evicted: Arc<Counter>,
}

/// What tables know a peer by: the MD5 of its address, or one of its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sid([u8; 16]);

/// What became of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Here,
    /// Somebody else has bound the client since it was looked up.
    Elsewhere(Sid),
}

impl Sid {
    pub fn of_address(name: &str) -> Sid {
        Sid(Md5::digest(name.as_bytes()).into())
    }

    /// Never that of an address, whatever the route is called.
    pub fn of_route(route: &str) -> Sid {
        Sid(Md5::new().chain_update(b"\0route ").chain_update(route.as_bytes()).finalize().into())
    }

    /// Lowercase hexadecimal digits.
    pub fn text(self) -> Box<str> {
        self.0
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }
}

impl Bindings {
    /// A table of `size` bytes that knows what `previous` knew, as far as it fits.
    pub(super) fn over(size: u64, timeout: Duration, previous: Option<&Arc<Bindings>>) -> Arc<Bindings> {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let capacity = usize::try_from(size / BYTES_PER_CLIENT).unwrap_or(usize::MAX).max(1);
        match previous {
            Some(same) if (same.capacity, same.timeout) == (capacity, timeout) => same.clone(),
            _ => {
                let new = Bindings::new(capacity, timeout, previous.map(|previous| previous.evicted.clone()));
                if let Some(previous) = previous {
                    new.take_over(previous);
                }
                Arc::new(new)
            }
        }
    }

    fn new(capacity: usize, timeout: u64, evicted: Option<Arc<Counter>>) -> Bindings {
        let shards = (capacity / LEAST_PER_SHARD).clamp(1, MOST_SHARDS);
        // Every slot of the capacity has its shard.
        let of = |shard: usize| capacity / shards + usize::from(shard < capacity % shards);
        let shards = (0..shards).map(|shard| Mutex::new(Shard::new(of(shard)))).collect();
        Bindings { shards, hasher: RandomState::new(), capacity, timeout, evicted: evicted.unwrap_or_default() }
    }

    /// Sessions of the old generation that begin later are bound there, and forgotten with it.
    fn take_over(&self, previous: &Bindings) {
        let mut known: Vec<_> = previous.shards.iter().flat_map(|shard| lock(shard).all()).collect();
        // In the order in which they came, so that the newest stay.
        known.sort_by_key(|(_, _, last)| *last);
        for (client, sid, last) in known {
            let hash = self.hasher.hash_one(client);
            if let Some(mut shard) = self.shard(hash) {
                shard.put(hash, client, sid, last);
            }
        }
    }

    /// Clients remembered, some of them perhaps past their time.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where a client's last session went, unless that is too long ago.
    pub(super) fn find(&self, client: IpAddr, now: Tick) -> Option<Sid> {
        self.look_up(&key(client), now)
    }

    /// Where a session is, unless it was not used for too long.
    pub(super) fn session(&self, id: &[u8], now: Tick) -> Option<Sid> {
        self.look_up(&Md5::digest(id).into(), now)
    }

    fn look_up(&self, key: &Key, now: Tick) -> Option<Sid> {
        let hash = self.hasher.hash_one(key);
        let (sid, last) = self.shard(hash)?.get(hash, key)?;
        self.lives(last, now).then_some(sid)
    }

    /// A session was used at `sid`, and is there from now on. One that is not known begins only if
    /// it is `new`.
    pub(super) fn learn(&self, id: &[u8], sid: Sid, new: bool, now: Tick) {
        let key: Key = Md5::digest(id).into();
        let hash = self.hasher.hash_one(key);
        let Some(mut shard) = self.shard(hash) else { return };
        let known = shard.get(hash, &key).is_some_and(|(_, last)| self.lives(last, now));
        if known || new {
            let forgotten = shard.put(hash, key, sid, now);
            self.count(forgotten, now);
        }
    }

    /// What had to make room counts if it was still alive.
    fn count(&self, forgotten: Option<Tick>, now: Tick) {
        if forgotten.is_some_and(|last| self.lives(last, now)) {
            self.evicted.add(1);
        }
    }

    /// A client's session goes to `sid`. `seen` is what [`Bindings::find`] said: if another session
    /// of the client has been bound since, that binding stays.
    pub(super) fn bind(&self, client: IpAddr, seen: Option<Sid>, sid: Sid, now: Tick) -> Bound {
        let client = key(client);
        let hash = self.hasher.hash_one(client);
        let Some(mut shard) = self.shard(hash) else { return Bound::Here };
        if let Some((other, last)) = shard.get(hash, &client)
            && self.lives(last, now)
            && other != sid
            && Some(other) != seen
        {
            return Bound::Elsewhere(other);
        }
        let forgotten = shard.put(hash, client, sid, now);
        self.count(forgotten, now);
        Bound::Here
    }

    fn lives(&self, last: Tick, now: Tick) -> bool {
        now.0.saturating_sub(last.0) < self.timeout
    }

    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        // The low bits choose the bucket within.
        let shard = (u128::from(hash) * self.shards.len() as u128) >> 64;
        self.shards.get(shard as usize).map(lock)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address or, as in nginx, the MD5 of a session's id: it is the same on every machine.
type Key = [u8; 16];

/// Both families in one: an IPv4 address as an IPv6 socket shows it.
fn key(client: IpAddr) -> Key {
    match client {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;
