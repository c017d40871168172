//! What the zones of both limits share: their keys in shards, each behind a lock that is held for
//! one lookup, and the room that the keys of all shards take together. What a key has is the zone's.

use crate::stats::Counter;
use ahash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many that two workers seldom want the same one.
pub(super) const SHARDS: usize = 64;

pub(super) struct Shards<T> {
    shards: Box<[Shard<T>; SHARDS]>,
    hasher: RandomState,
    used: AtomicU64,
    /// How often there was no room.
    pub overflows: Counter,
}

/// On a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Shard<T>(Mutex<T>);

impl<T: Default> Default for Shards<T> {
    fn default() -> Shards<T> {
        Shards {
            shards: Box::new(std::array::from_fn(|_| Shard::default())),
            hasher: RandomState::new(),
            used: AtomicU64::new(0),
            overflows: Counter::default(),
        }
    }
}

impl<T> Shards<T> {
    pub fn of(&self, key: &[u8]) -> MutexGuard<'_, T> {
        self.at(self.place(key))
    }

    /// Which shard a key is in.
    pub fn place(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    /// The shard at `place`, counted round.
    pub fn at(&self, place: usize) -> MutexGuard<'_, T> {
        let shard = self.shards.get(place % SHARDS).unwrap_or(&self.shards[0]);
        // Nobody panics while holding it.
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` for a key if all keys together then have no more than `size`.
    pub fn reserve(&self, bytes: u64, size: u64) -> bool {
        let room = |used: u64| used.checked_add(bytes).filter(|used| *used <= size);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    pub fn free(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
