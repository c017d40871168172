//! When deadlines may have passed: a wheel of coarse buckets over numbers that the caller gives
//! out. Moving a deadline costs nothing here: it is looked at when its bucket comes round, and put
//! into a later one if it has moved meanwhile.
//!
//! Pure: time is an argument. Never early; late by less than [`GRAIN`]. Used for UDP flows and for
//! the deadlines of connections.

use crate::clock::Tick;

/// Milliseconds of one bucket.
pub const GRAIN: u64 = 16;

/// Buckets; a deadline beyond all of them waits in the last and is looked at again then.
const BUCKETS: usize = 1024;
const WORD: usize = 64;
const NONE: u32 = u32::MAX;

pub struct Wheel {
    heads: Box<[u32; BUCKETS]>,
    /// One bit per bucket that holds anybody.
    occupied: [u64; BUCKETS / WORD],
    links: Vec<Link>,
    /// The first grain that has not been looked at.
    cursor: u64,
}

/// Place of one number in its bucket's list.
#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    bucket: u32,
}

const LOOSE: Link = Link { before: NONE, after: NONE, bucket: NONE };

impl Wheel {
    pub fn new(now: Tick) -> Wheel {
        Wheel {
            heads: Box::new([NONE; BUCKETS]),
            occupied: [0; BUCKETS / WORD],
            links: Vec::new(),
            cursor: now.0 / GRAIN,
        }
    }

    /// Puts `number` where it will be found once `deadline` has passed. It must not be in the wheel.
    pub fn insert(&mut self, number: u32, deadline: Tick) {
        let index = number as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, LOOSE);
        }
        let last = self.cursor + BUCKETS as u64 - 1;
        let grain = deadline.0.div_ceil(GRAIN).clamp(self.cursor, last);
        let bucket = (grain % BUCKETS as u64) as u32;
        let after = self.head(bucket);
        self.put(number, Link { before: NONE, after, bucket });
        self.set_head(bucket, number);
        if let Some(link) = self.links.get_mut(after as usize) {
            link.before = number;
        }
    }

    pub fn remove(&mut self, number: u32) {
        let Some(link) = self.links.get(number as usize).copied().filter(|link| link.bucket != NONE) else {
            return;
        };
        match self.links.get_mut(link.before as usize) {
            Some(before) => before.after = link.after,
            None => self.set_head(link.bucket, link.after),
        }
        if let Some(after) = self.links.get_mut(link.after as usize) {
            after.before = link.before;
        }
        self.put(number, LOOSE);
    }

    /// Takes out one number whose bucket has come. Its deadline may have moved since: ask, and insert
    /// it again if so.
    pub fn take(&mut self, now: Tick) -> Option<u32> {
        let present = now.0 / GRAIN;
        while self.cursor <= present {
            let number = self.head((self.cursor % BUCKETS as u64) as u32);
            if number != NONE {
                self.remove(number);
                return Some(number);
            }
            self.cursor = match self.next_grain() {
                Some(grain) => grain.min(present + 1),
                None => present + 1,
            };
        }
        None
    }

    /// When to look next.
    pub fn next(&self) -> Option<Tick> {
        self.next_grain().map(|grain| Tick(grain * GRAIN))
    }

    fn next_grain(&self) -> Option<u64> {
        let start = (self.cursor % BUCKETS as u64) as usize;
        let words = self.occupied.len();
        // The first word is looked at twice: its high bits first, its low bits at the very end.
        (0..=words).find_map(|step| {
            let word = (start / WORD + step) % words;
            let mask = match step {
                0 => u64::MAX << (start % WORD),
                step if step == words => !(u64::MAX << (start % WORD)),
                _ => u64::MAX,
            };
            let bits = self.occupied.get(word)? & mask;
            let bucket = word * WORD + bits.trailing_zeros() as usize;
            (bits != 0).then(|| self.cursor + ((bucket + BUCKETS - start) % BUCKETS) as u64)
        })
    }

    fn head(&self, bucket: u32) -> u32 {
        self.heads.get(bucket as usize).copied().unwrap_or(NONE)
    }

    fn set_head(&mut self, bucket: u32, number: u32) {
        let index = bucket as usize;
        if let (Some(head), Some(word)) = (self.heads.get_mut(index), self.occupied.get_mut(index / WORD)) {
            *head = number;
            let bit = 1 << (index % WORD);
            *word = if number == NONE { *word & !bit } else { *word | bit };
        }
    }

    fn put(&mut self, number: u32, link: Link) {
        if let Some(slot) = self.links.get_mut(number as usize) {
            *slot = link;
        }
    }
}
