//! nginx's smooth weighted round robin over one set of peers, without its walk.
//!
//! In every pick each peer that may be picked gains its effective weight, the
//! highest current weight wins (the first of equals), and the winner pays what
//! all gained. A failure lowers a peer's effective weight, each pick gives one
//! back. Peers that may not be picked neither gain nor pay.
//!
//! Peers with their full weight play in a [`Tournament`]; those that recover
//! are few and walked over, `weight / max_fails` picks for each failure; the
//! others wait aside with their current weight kept. A rotation holds one
//! worker's weights; whether a peer may be picked is shared and looked up in
//! the peer when it wins. What other workers change is noticed at the next
//! tick (`places`), or when the peer wins; a place below
//! `max_conns` that another worker frees, within `members / SWEEP` picks or,
//! when nobody else is left, a tick.

mod places;
mod recovery;

use super::tournament::{Load, Tournament};
use crate::clock::Tick;
use crate::upstream::peer::{Unfit, Version};
use crate::upstream::{Measure, Peer, Tried};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Peers that are looked at again in each pick because other workers may have changed them.
pub(super) const SWEEP: usize = 2;

/// One set of peers (the primary ones, the backup ones, or the addresses of one server) and
/// this worker's weights of them. Members are numbered from 0.
pub(super) struct Rotation {
    pub(super) members: Vec<Member>,
    pub(super) tournament: Tournament,
    /// Members whose effective weight is below their weight.
    recovering: Vec<usize>,
    /// Members with `max_conns` uses in progress.
    full: Vec<usize>,
    /// When failed members may be tried again.
    retries: BinaryHeap<Reverse<(u64, usize)>>,
    /// Members that this request has tried, while it picks.
    aside: Vec<usize>,
    /// What members are compared by first (`least_conn`, `least_time`).
    pub(super) by: Option<Measure>,
    total_weight: i64,
    /// One unit of a `server` line's weight: more than 1 where weights grow in `slow_start`.
    unit: u32,
    /// When the weights of those that start slowly grow.
    growth: BinaryHeap<Reverse<(u64, usize)>>,
    /// The tick of the last pick or verdict.
    pub(super) now: Tick,
    /// When a pick that found nobody last looked at all full members.
    searched: Tick,
    full_hand: usize,
    pub(super) load_hand: usize,
    version: Version,
    /// The group's version as it was last looked at, and when.
    seen: u64,
    synced: Tick,
    /// Members looked at: with the tournament's steps, what a pick costs.
    #[cfg(test)]
    pub(super) looks: u64,
}

pub(super) struct Member {
    pub(super) peer: Arc<Peer>,
    /// Position in the group.
    pub(super) index: usize,
    pub(super) place: Place,
    /// Its position in the list that `place` names.
    position: usize,
    /// In the rotation's units; less than its `server` line says while it starts slowly.
    nominal: u32,
    /// Kept here while the member is not in the tournament.
    current: i64,
    effective: i64,
    /// What it is compared by, as this worker knows it; 0 when only turns count.
    pub(super) burden: u32,
    retry_queued: bool,
    growth_queued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the tournament.
    Playing,
    Recovering,
    Full,
    /// Over `max_fails`; its next try is queued.
    Failed,
    /// `down` or unhealthy.
    Off,
    /// Tried by the request that picks now.
    Aside,
}

/// Who would be picked: its load and its current weight in this pick.
#[derive(Clone, Copy)]
struct Candidate {
    member: usize,
    load: Load,
    key: i64,
}

impl Member {
    pub(super) fn is_up(&self) -> bool {
        matches!(self.place, Place::Playing | Place::Recovering)
    }

    fn weight(&self) -> i64 {
        i64::from(self.nominal)
    }

    pub(super) fn load(&self) -> Load {
        Load { burden: self.burden, weight: self.nominal.max(1) }
    }
}

impl Rotation {
    /// `members` with their positions in the group.
    pub fn new(members: impl Iterator<Item = (usize, Arc<Peer>)>, by: Option<Measure>, version: &Version) -> Rotation {
        let version = version.clone();
        let members: Vec<(usize, Arc<Peer>)> = members.collect();
        let unit = recovery::unit(&members);
        let members: Vec<Member> = members.into_iter().map(|(index, peer)| Member::new(index, peer, unit)).collect();
        let mut rotation = Rotation {
            tournament: Tournament::new(members.len()),
            recovering: Vec::new(),
            full: Vec::new(),
            retries: BinaryHeap::new(),
            aside: Vec::with_capacity(8),
            by,
            unit,
            growth: BinaryHeap::new(),
            now: Tick(0),
            total_weight: members.iter().map(Member::weight).sum(),
            searched: Tick(0),
            full_hand: 0,
            load_hand: 0,
            version,
            // What the peers' states say already is looked at by the first pick.
            seen: u64::MAX,
            synced: Tick(u64::MAX),
            #[cfg(test)]
            looks: 0,
            members,
        };
        for member in 0..rotation.members.len() {
            rotation.learn_load(member);
            rotation.enter(member);
        }
        rotation
    }

    /// Picks a member by load and weights and counts one use of its peer.
    pub fn pick(&mut self, now: Tick, tried: &Tried) -> Option<usize> {
        self.set_aside(tried);
        let picked = self.pick_first(now);
        self.put_back();
        picked
    }

    /// Picks the member a sticky session asks for, if it may be picked.
    pub fn pick_sticky(&mut self, member: usize, now: Tick, tried: &Tried) -> bool {
        if self.members[member].peer.drain {
            return self.take_bound(member, now, tried);
        }
        self.look(member, now);
        if tried.holds(self.members[member].index) || !self.members[member].is_up() {
            return false;
        }
        let pays = self.pays_for_sticky(member);
        self.set_aside(tried);
        let picked = self.take(member, now, pays);
        self.put_back();
        picked
    }

    /// Counts one use of a member that some other method has found. Its weights stay as they are.
    pub fn take_found(&mut self, member: usize, now: Tick) -> bool {
        self.take(member, now, false)
    }

    /// The same for a method that does without turns, and for a member that takes nothing else.
    pub fn take_bound(&mut self, member: usize, now: Tick, tried: &Tried) -> bool {
        let it = &self.members[member];
        if tried.holds(it.index) {
            return false;
        }
        if it.peer.drain { it.peer.acquire(now, true).is_ok() } else { self.take_found(member, now) }
    }

    /// A member's use has failed: its weight sinks.
    pub fn failed(&mut self, member: usize, now: Tick) {
        let peer = &self.members[member].peer;
        if let Some(loss) = peer.weight.checked_div(peer.max_fails) {
            self.put(member, Place::Off);
            let effective = &mut self.members[member].effective;
            *effective = (*effective - i64::from(loss) * i64::from(self.unit)).max(0);
        }
        self.look(member, now);
    }

    /// A use of a member has ended.
    pub fn released(&mut self, member: usize) {
        self.learn_load(member);
        if self.members[member].place == Place::Full && !self.members[member].peer.is_full() {
            // Whether it may be picked for other reasons is looked up when it wins.
            self.enter(member);
        }
    }

    fn pick_first(&mut self, now: Tick) -> Option<usize> {
        // Every turn moves a member out of play or corrects a load, but for the bound on the latter.
        let mut corrections = 0;
        loop {
            let Some(candidate) = self.candidate() else {
                if self.search_full(now) {
                    continue;
                }
                return None;
            };
            if corrections < super::least_conn::MAX_CORRECTIONS && self.learn_load(candidate.member) {
                corrections += 1;
                continue;
            }
            if self.take(candidate.member, now, true) {
                return Some(candidate.member);
            }
        }
    }

    /// The winner among the tournament's first and those that recover.
    fn candidate(&self) -> Option<Candidate> {
        let first = self.tournament.first();
        let mut best = first.map(|first| Candidate { member: first.index, load: first.load, key: first.key });
        for &member in &self.recovering {
            let it = &self.members[member];
            let other = Candidate { member, load: it.load(), key: it.current + it.effective };
            if best.is_none_or(|best| other.beats(&best)) {
                best = Some(other);
            }
        }
        best
    }

    /// Counts one use of a member's peer. With `pays`, the round robin goes on by one.
    fn take(&mut self, member: usize, now: Tick, pays: bool) -> bool {
        let trial = match self.members[member].peer.acquire(now, false) {
            Ok(trial) => trial,
            Err(unfit) => {
                self.leave(member, unfit);
                return false;
            }
        };
        if pays {
            self.turn(member);
        }
        self.learn_load(member);
        if trial {
            let until = now.0.saturating_add(self.members[member].peer.fail_timeout).saturating_add(1);
            self.leave(member, Unfit::Failed(until));
        } else if self.members[member].peer.is_full() {
            self.leave(member, Unfit::Full);
        }
        true
    }

    /// One step of the round robin among the members with the winner's load.
    fn turn(&mut self, winner: usize) {
        self.count_looks(self.recovering.len());
        let load = self.members[winner].load();
        let first = self.tournament.first().filter(|first| first.load == load);
        let mut total = first.map_or(0, |first| first.sum);
        let (mut tied, mut recovered) = (0_usize, false);
        for &member in &self.recovering {
            let it = &self.members[member];
            if it.load() == load {
                total += it.effective;
                tied += 1;
            }
        }
        let playing_alone = first.is_some_and(|first| first.sum == i64::from(first.load.weight));
        let alone = if first.is_some() { playing_alone && tied == 0 } else { tied == 1 };
        if self.by.is_some() && alone {
            // nginx takes the only one with the least load as it is.
            return;
        }
        if first.is_some() {
            self.tournament.advance();
        }
        let unit = i64::from(self.unit);
        for place in 0..self.recovering.len() {
            let it = &mut self.members[self.recovering[place]];
            if it.load() == load {
                it.current += it.effective;
                it.effective = (it.effective + unit).min(it.weight());
                recovered |= it.effective >= it.weight();
            }
        }
        match self.members[winner].place {
            Place::Playing => self.tournament.charge(winner, total),
            _ => self.members[winner].current -= total,
        }
        if recovered {
            self.promote();
        }
    }

    /// Moves those with their full weight back into the tournament.
    fn promote(&mut self) {
        let mut place = 0;
        while let Some(member) = self.recovering.get(place).copied() {
            let it = &self.members[member];
            if it.effective >= it.weight() {
                self.enter(member);
            } else {
                place += 1;
            }
        }
    }

    /// nginx lets sticky requests run up the price of one turn, and no more.
    fn pays_for_sticky(&mut self, member: usize) -> bool {
        if self.by.is_some() {
            return false;
        }
        let it = &self.members[member];
        let current = match it.place {
            Place::Playing => self.tournament.key(member) - it.weight(),
            _ => it.current,
        };
        current > it.weight() - self.total_weight
    }

    #[cfg(test)]
    pub(super) fn count_looks(&mut self, members: usize) {
        self.looks += members as u64;
    }

    #[cfg(not(test))]
    pub(super) fn count_looks(&mut self, _members: usize) {}
}

impl Member {
    fn new(index: usize, peer: Arc<Peer>, unit: u32) -> Member {
        let nominal = peer.weight.saturating_mul(unit);
        Member {
            index,
            place: Place::Off,
            position: 0,
            current: 0,
            effective: i64::from(nominal),
            nominal,
            burden: 0,
            retry_queued: false,
            growth_queued: false,
            peer,
        }
    }
}

impl Candidate {
    fn beats(&self, other: &Candidate) -> bool {
        let by_load = self.load.cmp(&other.load);
        let by_key = other.key.cmp(&self.key);
        by_load.then(by_key).then(self.member.cmp(&other.member)).is_lt()
    }
}
