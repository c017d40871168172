//! Which members of a rotation are in play, and where the others wait.
//!
//! Follows what time, the health checks and other workers change; each move
//! costs O(log n), and all members are looked at only when the availability of
//! some peer has changed, once a tick at most.

use super::{Place, Rotation, SWEEP};
use crate::clock::Tick;
use crate::upstream::Tried;
use crate::upstream::peer::Unfit;
use std::cmp::Reverse;

impl Rotation {
    /// What time and other workers have changed since the last pick.
    pub fn catch_up(&mut self, now: Tick) {
        self.count_looks(1);
        self.now = now;
        if now != self.synced {
            self.resync(now);
        }
        self.grow(now);
        while let Some(Reverse((due, member))) = self.retries.peek().copied() {
            if due > now.0 {
                break;
            }
            self.retries.pop();
            self.members[member].retry_queued = false;
            self.look(member, now);
        }
        for _ in 0..SWEEP.min(self.full.len()) {
            self.full_hand = (self.full_hand + 1) % self.full.len().max(1);
            if let Some(member) = self.full.get(self.full_hand).copied() {
                self.look(member, now);
            }
        }
        self.sweep_loads();
    }

    /// Looks at every member if some worker or the health checks have changed any peer of the
    /// group. Whether they have.
    pub fn resync(&mut self, now: Tick) -> bool {
        let version = self.version.load();
        if version == self.seen {
            return false;
        }
        self.seen = version;
        self.synced = now;
        for member in 0..self.members.len() {
            self.look(member, now);
        }
        true
    }

    /// This worker has itself made the change of version `changed`, and needs no looking for it.
    pub fn note_own_change(&mut self, changed: u64) {
        if self.seen == changed {
            self.seen = changed.wrapping_add(1);
        }
    }

    /// Puts a member where its peer's state says it belongs.
    pub fn look(&mut self, member: usize, now: Tick) {
        self.count_looks(1);
        self.recover(member, now);
        match self.members[member].peer.fitness(now) {
            Ok(()) if self.members[member].is_up() => {}
            Ok(()) => self.enter(member),
            Err(unfit) => self.leave(member, unfit),
        }
    }

    /// Members that this request has tried sit out the pick.
    pub(super) fn set_aside(&mut self, tried: &Tried) {
        if tried.is_empty() {
            return;
        }
        let Some(base) = self.members.first().map(|first| first.index) else { return };
        for index in tried.iter() {
            // A rotation over the addresses of one server holds any positions, in order.
            let member = match self.members.get(index.wrapping_sub(base)) {
                Some(member) if member.index == index => Some(index - base),
                _ => self.members.binary_search_by_key(&index, |member| member.index).ok(),
            };
            if let Some(member) = member.filter(|member| self.members[*member].is_up()) {
                self.put(member, Place::Aside);
                self.aside.push(member);
            }
        }
    }

    pub(super) fn put_back(&mut self) {
        while let Some(member) = self.aside.pop() {
            self.enter(member);
        }
    }

    /// Nobody is left: whether looking at all full members, once a tick, finds one that has room again.
    pub(super) fn search_full(&mut self, now: Tick) -> bool {
        if self.searched == now {
            return false;
        }
        self.searched = now;
        let before = self.full.len();
        for place in (0..before).rev() {
            if let Some(member) = self.full.get(place).copied() {
                self.look(member, now);
            }
        }
        self.full.len() < before
    }

    /// Whoever finds nobody looks at all full members, even if that was done within this tick.
    pub fn look_again(&mut self) {
        self.searched = Tick(u64::MAX);
    }

    pub(super) fn enter(&mut self, member: usize) {
        let it = &self.members[member];
        let place = if it.effective >= it.weight() { Place::Playing } else { Place::Recovering };
        self.put(member, place);
    }

    pub(super) fn leave(&mut self, member: usize, unfit: Unfit) {
        let place = match unfit {
            Unfit::Off => Place::Off,
            Unfit::Full => Place::Full,
            Unfit::Failed(until) => {
                self.queue_retry(member, until);
                Place::Failed
            }
        };
        self.put(member, place);
    }

    fn queue_retry(&mut self, member: usize, until: u64) {
        let it = &mut self.members[member];
        // One entry each: an earlier one is looked at in its time and queued anew.
        if !it.retry_queued {
            it.retry_queued = true;
            self.retries.push(Reverse((until, member)));
        }
    }

    /// The one place where members move, with their current weight.
    pub(super) fn put(&mut self, member: usize, place: Place) {
        let old = self.members[member].place;
        if old == place {
            return;
        }
        let position = self.members[member].position;
        match old {
            Place::Playing => {
                let key = self.tournament.remove(member);
                let it = &mut self.members[member];
                it.current = key - it.weight();
            }
            Place::Recovering => {
                self.recovering.swap_remove(position);
                self.renumber(Place::Recovering, position);
            }
            Place::Full => {
                self.full.swap_remove(position);
                self.renumber(Place::Full, position);
            }
            Place::Failed | Place::Off | Place::Aside => {}
        }
        let it = &mut self.members[member];
        it.place = place;
        match place {
            Place::Playing => self.tournament.insert(member, it.load(), it.current + it.weight()),
            Place::Recovering => {
                it.position = self.recovering.len();
                self.recovering.push(member);
            }
            Place::Full => {
                it.position = self.full.len();
                self.full.push(member);
            }
            Place::Failed | Place::Off | Place::Aside => {}
        }
    }

    fn renumber(&mut self, list: Place, position: usize) {
        let list = if list == Place::Full { &self.full } else { &self.recovering };
        if let Some(moved) = list.get(position) {
            self.members[*moved].position = position;
        }
    }
}
