//! `slow_start`: the weight of a member that comes back grows from next to
//! nothing to what its `server` line says.
//!
//! It grows in steps, each a change of the tournament, and a pick makes
//! [`GROWTHS`] of them at most: however many peers come back at once, no pick
//! walks over them. A step that had to wait makes up for those it missed. So
//! that a weight of 1 has something to grow by, all weights of a rotation are
//! multiplied where any of its servers starts slowly, which changes nobody's turn.

use super::Rotation;
use crate::clock::Tick;
use crate::upstream::Peer;
use crate::upstream::peer::RECOVERY_STEPS;
use std::cmp::Reverse;
use std::sync::Arc;

/// Weights that grow in one pick.
const GROWTHS: usize = 8;

/// What one unit of weight is multiplied by.
pub(super) fn unit(members: &[(usize, Arc<Peer>)]) -> u32 {
    if members.iter().all(|(_, peer)| peer.slow_start == 0) {
        return 1;
    }
    let heaviest = members.iter().map(|(_, peer)| peer.weight).max().unwrap_or(1).max(1);
    (RECOVERY_STEPS as u32).min(u32::MAX / heaviest)
}

impl Rotation {
    /// Gives those that start slowly the weight they have by now.
    pub(super) fn grow(&mut self, now: Tick) {
        for _ in 0..GROWTHS {
            let Some(Reverse((due, member))) = self.growth.peek().copied() else { return };
            if due > now.0 {
                return;
            }
            self.growth.pop();
            self.count_looks(1);
            self.members[member].growth_queued = false;
            self.recover(member, now);
        }
    }

    /// Gives a member its weight at `now`, and sees to the next step.
    pub(super) fn recover(&mut self, member: usize, now: Tick) {
        let it = &mut self.members[member];
        if it.peer.slow_start == 0 {
            return;
        }
        let whole = it.peer.weight.saturating_mul(self.unit);
        let recovery = it.peer.recovery(now);
        if let Some((_, next)) = recovery
            && !it.growth_queued
        {
            it.growth_queued = true;
            self.growth.push(Reverse((next, member)));
        }
        let weight = recovery.map_or(whole, |(parts, _)| {
            let part = u64::from(whole) * parts / RECOVERY_STEPS;
            u32::try_from(part).unwrap_or(whole).max(1)
        });
        self.set_weight(member, weight);
    }

    fn set_weight(&mut self, member: usize, weight: u32) {
        if self.members[member].nominal == weight {
            return;
        }
        let playing = self.members[member].is_up();
        if playing {
            self.put(member, super::Place::Off);
        }
        let it = &mut self.members[member];
        let had_all = it.effective >= it.weight();
        it.nominal = weight;
        it.effective = if had_all { it.weight() } else { it.effective.min(it.weight()) };
        if playing {
            self.enter(member);
        }
    }
}
