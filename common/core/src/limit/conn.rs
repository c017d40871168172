//! Connections in progress by key, shared by all workers of the process.
//!
//! A counted connection is a [`Held`]: dropping it is the only way to give its place back, so that
//! no count can be left over. Keys live in shards, each behind a lock that is held for one lookup;
//! a zone's size bounds the keys of all shards together.

use super::key::Key;
use super::shards::Shards;
use ahash::AHashMap;
use std::sync::Arc;

/// A zone as one generation sees it. Reloads carry the counts over, whatever the new size.
#[derive(Clone)]
pub struct Zone {
    /// Bytes that keys may take.
    size: u64,
    table: Arc<Shards<AHashMap<Key, u32>>>,
}

/// Why a connection was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key has as many as it may have.
    Limit,
    /// There is no room for another key.
    Full,
}

/// One counted connection.
pub struct Held {
    table: Arc<Shards<AHashMap<Key, u32>>>,
    key: Key,
}

impl Zone {
    /// An empty zone of `size` bytes.
    pub fn new(size: u64) -> Zone {
        Zone { size, table: Arc::default() }
    }

    /// The same counts, bounded anew. Keys beyond a smaller size stay until their connections end.
    pub fn resized(&self, size: u64) -> Zone {
        Zone { size, table: self.table.clone() }
    }

    /// Counts a connection of `key` if it has fewer than `limit`.
    ///
    /// # Errors
    /// Why it has to be turned away; nothing is counted then.
    pub fn take(&self, key: &[u8], limit: u32) -> Result<Held, Refusal> {
        let table = &self.table;
        let mut counts = table.of(key);
        let key = match counts.get_mut(key) {
            Some(count) if *count >= limit => return Err(Refusal::Limit),
            Some(count) => {
                *count += 1;
                Key::new(key)
            }
            None => {
                self.reserve(cost(key))?;
                counts.insert(Key::new(key), 1);
                Key::new(key)
            }
        };
        drop(counts);
        Ok(Held { table: table.clone(), key })
    }

    fn reserve(&self, bytes: u64) -> Result<(), Refusal> {
        if self.table.reserve(bytes, self.size) {
            return Ok(());
        }
        self.table.overflows.add(1);
        Err(Refusal::Full)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes its keys take now; zero when no connection is counted.
    pub fn used(&self) -> u64 {
        self.table.used()
    }

    /// Connections turned away because the zone was full.
    pub fn overflows(&self) -> u64 {
        self.table.overflows.load()
    }

    /// Whether both count in the same place.
    pub fn is_same(&self, other: &Zone) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.table.of(self.key.bytes());
        let left = counts.get_mut(self.key.bytes()).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            counts.remove(self.key.bytes());
            drop(counts);
            self.table.free(cost(self.key.bytes()));
        }
    }
}

/// What nginx takes for a key on a 64-bit machine: 64 bytes for up to 28 of it, then powers of two.
fn cost(key: &[u8]) -> u64 {
    const NODE: u64 = 36;
    (NODE + key.len() as u64).next_power_of_two()
}
