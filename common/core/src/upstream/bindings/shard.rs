//! One shard of the clients' table: a hash table whose entries are also a list
//! by age. Fixed in size, without locks and without a clock.

use super::Sid;
use crate::clock::Tick;

type Client = [u8; 16];

/// No entry: places are counted from 0.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Shard {
    /// First entry of each hash's chain.
    buckets: Box<[u32]>,
    /// Grows to the capacity and never shrinks.
    entries: Vec<Entry>,
    capacity: usize,
    newest: u32,
    oldest: u32,
}

/// 56 bytes; with its bucket no more than [`super::BYTES_PER_CLIENT`].
#[derive(Debug)]
struct Entry {
    client: Client,
    sid: Sid,
    last: Tick,
    /// The low half of its hash, which finds its bucket.
    low: u32,
    /// Next in the chain of its bucket.
    next: u32,
    newer: u32,
    older: u32,
}

impl Shard {
    pub fn new(capacity: usize) -> Shard {
        let capacity = capacity.clamp(1, NONE as usize);
        // Between one and two entries a bucket when full.
        let buckets = vec![NONE; (capacity / 2).next_power_of_two()].into_boxed_slice();
        Shard { buckets, entries: Vec::new(), capacity, newest: NONE, oldest: NONE }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Everything it knows.
    pub fn all(&self) -> Vec<(Client, Sid, Tick)> {
        self.entries.iter().map(|entry| (entry.client, entry.sid, entry.last)).collect()
    }

    pub fn get(&self, hash: u64, client: &Client) -> Option<(Sid, Tick)> {
        let entry = &self.entries[self.find(hash, client)? as usize];
        Some((entry.sid, entry.last))
    }

    /// Makes a client's entry the newest. When the oldest had to make room for it, its tick.
    pub fn put(&mut self, hash: u64, client: Client, sid: Sid, now: Tick) -> Option<Tick> {
        if let Some(at) = self.find(hash, &client) {
            self.unlink(at);
            let entry = &mut self.entries[at as usize];
            (entry.sid, entry.last) = (sid, now);
            self.link(at);
            return None;
        }
        let low = hash as u32;
        let entry = Entry { client, sid, last: now, low, next: NONE, newer: NONE, older: NONE };
        let (at, forgotten) = if self.entries.len() < self.capacity {
            self.entries.push(entry);
            (self.entries.len() as u32 - 1, None)
        } else {
            let at = self.oldest;
            self.unlink(at);
            self.unchain(at);
            let last = std::mem::replace(&mut self.entries[at as usize], entry).last;
            (at, Some(last))
        };
        let bucket = self.bucket(low);
        self.entries[at as usize].next = std::mem::replace(&mut self.buckets[bucket], at);
        self.link(at);
        forgotten
    }

    fn bucket(&self, low: u32) -> usize {
        low as usize & (self.buckets.len() - 1)
    }

    /// Takes an entry out of its bucket's chain.
    fn unchain(&mut self, at: u32) {
        let Entry { low, next, .. } = self.entries[at as usize];
        let bucket = self.bucket(low);
        if self.buckets[bucket] == at {
            self.buckets[bucket] = next;
            return;
        }
        let mut before = self.buckets[bucket];
        while before != NONE {
            let entry = &mut self.entries[before as usize];
            if entry.next == at {
                entry.next = next;
                return;
            }
            before = entry.next;
        }
    }

    fn find(&self, hash: u64, client: &Client) -> Option<u32> {
        let mut at = self.buckets[self.bucket(hash as u32)];
        while at != NONE {
            let entry = &self.entries[at as usize];
            if entry.client == *client {
                return Some(at);
            }
            at = entry.next;
        }
        None
    }

    /// Makes an entry the newest of the list.
    fn link(&mut self, at: u32) {
        let older = std::mem::replace(&mut self.newest, at);
        let entry = &mut self.entries[at as usize];
        (entry.newer, entry.older) = (NONE, older);
        match older {
            NONE => self.oldest = at,
            older => self.entries[older as usize].newer = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Entry { newer, older, .. } = self.entries[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }
}
