//! Requests by key as a leaky bucket: `limit_req`. Each key has an excess in thousandths of a
//! request, which a request adds to and time takes from; a request beyond the burst is too much.
//!
//! Shared by all workers: keys live in shards, each behind a lock that is held for one lookup. A
//! zone's size bounds the keys of all shards together; who was away longest makes room.

use super::key::Key;
use super::shards::{SHARDS, Shards};
use crate::clock::Tick;
use ahash::AHashMap;
use std::sync::Arc;

/// A zone as one generation sees it. Reloads carry the buckets over, whatever the new size and rate.
#[derive(Clone)]
pub struct Buckets {
    /// Bytes that keys may take.
    size: u64,
    /// Thousandths of a request in a second.
    rate: u64,
    table: Arc<Shards<Keys>>,
}

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// Its excess, in thousandths.
    Excess(u64),
    /// There is no room for another key, and no key that could make some.
    Full,
}

impl Buckets {
    /// An empty zone of `size` bytes whose buckets lose `rate` thousandths of a request a second.
    pub fn new(size: u64, rate: u64) -> Buckets {
        Buckets { size, rate, table: Arc::default() }
    }

    /// The same buckets under new rules.
    pub fn renewed(&self, size: u64, rate: u64) -> Buckets {
        Buckets { size, rate, table: self.table.clone() }
    }

    /// The excess that a request of `key` has now, which is counted if it is no more than `burst`.
    ///
    /// # Errors
    /// It is more, or there is no room: nothing is counted.
    pub fn take(&self, key: &[u8], burst: u64, now: Tick) -> Result<u64, TooMuch> {
        let mut keys = self.table.of(key);
        if let Some(bucket) = keys.touch(key) {
            return bucket.take(self.rate, burst, now);
        }
        // nginx too looks at one or two with each new key, so that silent ones do not pile up.
        let freed = keys.expire(self.rate, now);
        self.table.free(freed);
        drop(keys);
        self.reserve(key)?;
        let mut keys = self.table.of(key);
        if let Some(bucket) = keys.touch(key) {
            // Another worker was faster.
            self.table.free(cost(key));
            return bucket.take(self.rate, burst, now);
        }
        // The first request is never too much.
        keys.add(key, now);
        Ok(0)
    }

    /// The same without counting: other zones are to be asked first.
    ///
    /// # Errors
    /// It is more than `burst`.
    pub fn look(&self, key: &[u8], burst: u64, now: Tick) -> Result<(), TooMuch> {
        let keys = self.table.of(key);
        let excess = keys.find(key).map_or(0, |bucket| bucket.after(self.rate, now));
        if excess > burst { Err(TooMuch::Excess(excess)) } else { Ok(()) }
    }

    /// How long a request of this excess has to wait if `delay` of it need not.
    pub fn wait(&self, excess: u64, delay: u64) -> u64 {
        excess.saturating_sub(delay).saturating_mul(1000) / self.rate.max(1)
    }

    /// Takes room for a key; where there is none, from who was away longest in some shard, the
    /// key's own first.
    fn reserve(&self, key: &[u8]) -> Result<(), TooMuch> {
        let (bytes, own) = (cost(key), self.table.place(key));
        let mut next = 0;
        while !self.table.reserve(bytes, self.size) {
            if next == SHARDS {
                self.table.overflows.add(1);
                return Err(TooMuch::Full);
            }
            let freed = self.table.at(own + next).forget_oldest();
            match freed {
                0 => next += 1,
                _ => {
                    self.table.overflows.add(1);
                    self.table.free(freed);
                }
            }
        }
        Ok(())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes its keys take now.
    pub fn used(&self) -> u64 {
        self.table.used()
    }

    /// Keys forgotten before their time, and requests turned away, because the zone was full.
    pub fn overflows(&self) -> u64 {
        self.table.overflows.load()
    }

    /// Whether both count in the same place.
    pub fn is_same(&self, other: &Buckets) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }
}

/// What nginx takes for a key on a 64-bit machine: 128 bytes for up to 48 of it, then powers of two.
fn cost(key: &[u8]) -> u64 {
    const NODE: u64 = 80;
    (NODE + key.len() as u64).next_power_of_two()
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a request.
    excess: u64,
    last: Tick,
}

impl Bucket {
    /// The excess once one more request is in it.
    fn after(&self, rate: u64, now: Tick) -> u64 {
        let millis = now.0.saturating_sub(self.last.0);
        (self.excess + 1000).saturating_sub(rate.saturating_mul(millis) / 1000)
    }

    fn take(&mut self, rate: u64, burst: u64, now: Tick) -> Result<u64, TooMuch> {
        let excess = self.after(rate, now);
        if excess > burst {
            return Err(TooMuch::Excess(excess));
        }
        *self = Bucket { excess, last: self.last.max(now) };
        Ok(excess)
    }

    /// Nothing is left of it, and nobody came for a minute.
    fn is_over(&self, rate: u64, now: Tick) -> bool {
        let millis = now.0.saturating_sub(self.last.0);
        millis >= 60_000 && self.excess <= rate.saturating_mul(millis) / 1000
    }
}

/// The keys of a shard, by key and in the order of their last visit.
#[derive(Default)]
struct Keys {
    by_key: AHashMap<Key, usize>,
    places: Vec<Place>,
    /// Places without a key.
    free: Vec<usize>,
    newest: Option<usize>,
    oldest: Option<usize>,
}

struct Place {
    key: Key,
    bucket: Bucket,
    newer: Option<usize>,
    older: Option<usize>,
}

impl Keys {
    fn find(&self, key: &[u8]) -> Option<&Bucket> {
        let at = *self.by_key.get(key)?;
        self.places.get(at).map(|place| &place.bucket)
    }

    /// The bucket of a key, which is the newest from now on.
    fn touch(&mut self, key: &[u8]) -> Option<&mut Bucket> {
        let at = *self.by_key.get(key)?;
        if self.newest != Some(at) {
            self.unlink(at);
            self.link(at);
        }
        self.places.get_mut(at).map(|place| &mut place.bucket)
    }

    /// The request that brings the key is in it.
    fn add(&mut self, key: &[u8], now: Tick) {
        let place = Place { key: Key::new(key), bucket: Bucket { excess: 0, last: now }, newer: None, older: None };
        let at = match self.free.pop() {
            Some(at) => at,
            None => self.places.len(),
        };
        match self.places.get_mut(at) {
            Some(old) => *old = place,
            None => self.places.push(place),
        }
        self.by_key.insert(Key::new(key), at);
        self.link(at);
    }

    /// Forgets up to two whose time is over; gives the bytes they took.
    fn expire(&mut self, rate: u64, now: Tick) -> u64 {
        let mut freed = 0;
        for _ in 0..2 {
            let oldest = self.oldest.and_then(|at| self.places.get(at));
            if !oldest.is_some_and(|place| place.bucket.is_over(rate, now)) {
                break;
            }
            freed += self.forget_oldest();
        }
        freed
    }

    /// Gives the bytes it took.
    fn forget_oldest(&mut self) -> u64 {
        let Some(at) = self.oldest else { return 0 };
        self.unlink(at);
        let Some(place) = self.places.get(at) else { return 0 };
        let bytes = cost(place.key.bytes());
        self.by_key.remove(place.key.bytes());
        self.free.push(at);
        bytes
    }

    fn link(&mut self, at: usize) {
        let older = self.newest.replace(at);
        if let Some(place) = self.places.get_mut(at) {
            (place.newer, place.older) = (None, older);
        }
        match older.and_then(|older| self.places.get_mut(older)) {
            Some(older) => older.newer = Some(at),
            None => self.oldest = Some(at),
        }
    }

    fn unlink(&mut self, at: usize) {
        let Some(place) = self.places.get_mut(at) else { return };
        let (newer, older) = (place.newer.take(), place.older.take());
        match newer.and_then(|newer| self.places.get_mut(newer)) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match older.and_then(|older| self.places.get_mut(older)) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests;
