//! `least_conn` and `least_time`: the least burden for its weight, ties by the
//! round robin of those tied. It is a [`Rotation`] compared by load.
//!
//! The burden is the uses in progress, or their number plus one times what
//! the peer takes ([`crate::upstream::Times`]). All workers together make it, and
//! time changes it. A worker knows at once what it has done itself; the rest
//! it learns of a winner before it is taken, and of [`SWEEP`] peers more in each
//! pick in turn, so that what it knows is never older than `members / SWEEP`
//! of its own picks.

use super::round_robin::{Place, Rotation, SWEEP};

/// Winners in one pick whose load turned out to be another: the next is taken as it is.
pub(super) const MAX_CORRECTIONS: usize = 8;

impl Rotation {
    /// Looks up a member's burden; whether it was news.
    pub(super) fn learn_load(&mut self, member: usize) -> bool {
        let Some(by) = self.by else { return false };
        self.count_looks(1);
        let now = self.now;
        let it = &mut self.members[member];
        let burden = it.peer.burden(by, now);
        if burden == it.burden {
            return false;
        }
        it.burden = burden;
        if it.place == Place::Playing {
            self.tournament.set_burden(member, burden);
        }
        true
    }

    pub(super) fn sweep_loads(&mut self) {
        if self.by.is_none() {
            return;
        }
        for _ in 0..SWEEP.min(self.members.len()) {
            self.load_hand = (self.load_hand + 1) % self.members.len();
            self.learn_load(self.load_hand);
        }
    }
}
