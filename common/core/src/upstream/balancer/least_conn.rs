//! `least_conn`: the fewest uses in progress for its weight, ties by the round
//! robin of those tied. It is a [`Rotation`] compared by load.
//!
//! Uses are counted by all workers together. A worker knows at once what it
//! has done itself; what the others do it learns of a winner before it is
//! taken, and of [`SWEEP`] peers more in each pick in turn, so that what it
//! knows is never older than `members / SWEEP` of its own picks.

use super::round_robin::{Place, Rotation, SWEEP};
use std::sync::atomic::Ordering;

/// Winners in one pick whose load turned out to be another: the next is taken as it is.
pub(super) const MAX_CORRECTIONS: usize = 8;

impl Rotation {
    /// Reads how many uses of a member are in progress; whether that was news.
    pub(super) fn learn_load(&mut self, member: usize) -> bool {
        self.count_looks(1);
        let it = &mut self.members[member];
        let conns = it.peer.state.active.load(Ordering::Relaxed);
        if conns == it.conns {
            return false;
        }
        it.conns = conns;
        if it.place == Place::Playing {
            self.tournament.set_conns(member, conns);
        }
        true
    }

    pub(super) fn sweep_loads(&mut self) {
        for _ in 0..SWEEP.min(self.members.len()) {
            self.load_hand = (self.load_hand + 1) % self.members.len();
            self.learn_load(self.load_hand);
        }
    }
}
