//! `hash KEY maglev`: the lookup tables of Google's Maglev (Eisenbud and
//! others, NSDI 2016, section 3.4), with weights.
//!
//! Each peer walks through all slots of the table in an order of its own, and
//! in turns they take the next slot that is free, a peer of half the weight
//! in every second turn. So all have their share to the slot. The order
//! comes from the peer's own words and the turns go by the same, so that every
//! balancer with the same servers has the same table, however they are listed.
//!
//! The table is made of all primary peers, also those that are `down` or fail: a
//! key whose peer cannot take it is hashed again, and no other key moves. A
//! peer that is not in the configuration any more leaves slots that the others
//! fill in turns, which shifts some of theirs too. That effect shrinks as the
//! table grows, so a table has 400 slots for each pair of peers where the
//! largest size allows it: then about 5 % more keys move than the peer had.
//!
//! Part of the group and shared by all workers; a reload that changes no
//! server of a group keeps the table as it is.

use super::search::Search;
use crate::dice::mix;
use crate::upstream::Peer;
use ahash::AHashMap;
use std::sync::Arc;

/// As many as a slot can name.
pub(in crate::upstream) const MAX_PEERS: usize = 1 << 16;

/// Prime, so that every order visits every slot.
const SIZES: [usize; 3] = [65_537, 655_373, 6_553_621];

const SLOTS_PER_PAIR: usize = 400;

#[derive(Debug)]
pub(in crate::upstream) struct Maglev {
    /// Rank of the peer that has the slot.
    slots: Arc<[u16]>,
    /// What the table was made of, by rank: the peers' words, in order, and their weights.
    made_of: Vec<(String, u32)>,
    /// Position in the group of the peer of each rank.
    positions: Vec<usize>,
}

impl Maglev {
    pub fn new(primaries: &[Arc<Peer>], previous: Option<&Maglev>) -> Maglev {
        let mut ranked: Vec<(String, u32, usize)> = words(primaries)
            .into_iter()
            .zip(primaries)
            .enumerate()
            .map(|(at, (words, of))| (words, of.weight, at))
            .collect();
        ranked.sort();
        let positions = ranked.iter().map(|(_, _, at)| *at).collect();
        let made_of: Vec<(String, u32)> = ranked.into_iter().map(|(words, weight, _)| (words, weight)).collect();
        let slots = match previous.filter(|previous| previous.made_of == made_of) {
            Some(previous) => previous.slots.clone(),
            None => fill(&made_of, size(made_of.len())),
        };
        Maglev { slots, made_of, positions }
    }

    fn peer_of(&self, hash: u64) -> Option<usize> {
        let slot = hash.checked_rem(self.slots.len() as u64)?;
        let rank = self.slots.get(slot as usize)?;
        self.positions.get(usize::from(*rank)).copied()
    }
}

/// The peer that `key` belongs to, or those it is hashed to next; `None` leaves the pick to round robin.
pub(super) fn pick(mut search: Search<'_>, table: &Maglev, key: &[u8]) -> Option<usize> {
    let hash = hash(key);
    while search.goes_on() {
        let round = u64::from(search.tried.rehash.rounds);
        search.tried.rehash.rounds += 1;
        let member = table.peer_of(mix(hash.wrapping_add(round)))?;
        if let Some(member) = search.take(member) {
            return Some(member);
        }
    }
    None
}

fn size(peers: usize) -> usize {
    let wanted = peers.saturating_mul(peers).saturating_mul(SLOTS_PER_PAIR);
    let [.., largest] = SIZES;
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(largest)
}

/// What tells the peers apart: their server's words, with the address where one server has several,
/// with a number where even that is written twice.
fn words(peers: &[Arc<Peer>]) -> Vec<String> {
    let mut of_server: AHashMap<&str, usize> = AHashMap::new();
    for peer in peers {
        *of_server.entry(&peer.server).or_default() += 1;
    }
    let mut repeated: AHashMap<(&str, &str), usize> = AHashMap::new();
    let words = peers.iter().map(|peer| {
        if of_server.get(&*peer.server).is_none_or(|count| *count == 1) {
            return peer.server.to_string();
        }
        let again = repeated.entry((&peer.server, &peer.name)).or_default();
        *again += 1;
        format!("{}\0{}\0{again}", peer.server, peer.name)
    });
    words.collect()
}

/// One peer's way through the table.
struct Walk {
    next: usize,
    skip: usize,
    /// Share of a slot that its turns so far have left over.
    saved: u64,
}

impl Walk {
    fn new(words: &str, size: usize) -> Walk {
        let hash = hash(words.as_bytes());
        let below = |hash: u64, limit: usize| (hash % limit.max(1) as u64) as usize;
        Walk { next: below(mix(hash), size), skip: below(mix(!hash), size - 1) + 1, saved: 0 }
    }

    fn step(&mut self, size: usize) -> usize {
        let at = self.next;
        self.next = (at + self.skip) % size;
        at
    }
}

fn fill(peers: &[(String, u32)], size: usize) -> Arc<[u16]> {
    let heaviest = peers.iter().map(|(_, weight)| u64::from(*weight)).max().unwrap_or(0);
    if heaviest == 0 {
        return Arc::new([]);
    }
    let mut walks: Vec<Walk> = peers.iter().map(|(words, _)| Walk::new(words, size)).collect();
    let mut slots = vec![0; size];
    let mut taken = vec![false; size];
    let mut free = size;
    while free > 0 {
        for (rank, (walk, (_, weight))) in walks.iter_mut().zip(peers).enumerate() {
            walk.saved += u64::from(*weight);
            if walk.saved < heaviest {
                continue;
            }
            walk.saved -= heaviest;
            let slot = next_free(walk, &taken);
            slots[slot] = rank as u16;
            taken[slot] = true;
            free -= 1;
            if free == 0 {
                break;
            }
        }
    }
    slots.into()
}

/// There is one, and a walk visits every slot.
fn next_free(walk: &mut Walk, taken: &[bool]) -> usize {
    loop {
        let slot = walk.step(taken.len());
        if !taken[slot] {
            return slot;
        }
    }
}

/// FNV-1a of 64 bits: the same on every machine and in every version.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
