//! One pick by hash or by chance: throws that each lead to some peer, until one
//! may be used or, after as many as nginx makes, round robin takes over.

use super::MAX_TRIES;
use super::round_robin::Rotation;
use crate::clock::Tick;
use crate::upstream::Tried;
use crate::upstream::group::Weights;

pub(super) struct Search<'a> {
    pub rotation: &'a mut Rotation,
    pub weights: &'a Weights,
    pub now: Tick,
    pub tried: &'a mut Tried,
}

impl Search<'_> {
    /// Whether this request may throw again, over all its picks.
    pub fn goes_on(&self) -> bool {
        self.tried.rehash.tries <= MAX_TRIES
    }

    /// Counts a throw that led to nobody.
    pub fn miss(&mut self) {
        self.tried.rehash.tries += 1;
    }

    /// The peer under `offset` of all weights laid end to end.
    pub fn under(&self, offset: u64) -> usize {
        self.weights.find(offset % self.weights.total().max(1))
    }

    /// Takes a member, or counts a miss.
    pub fn take(&mut self, member: usize) -> Option<usize> {
        if !self.tried.holds(member) && self.rotation.take_found(member, self.now) {
            return Some(member);
        }
        self.miss();
        None
    }
}
