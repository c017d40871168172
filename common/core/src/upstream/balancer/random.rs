//! `random` and `random two least_conn`: by chance and weight.
//!
//! Randomness is the balancer's own small generator, seeded from outside.

use super::MAX_TRIES;
use super::round_robin::Rotation;
use crate::clock::Tick;
use crate::upstream::Tried;
use crate::upstream::group::Weights;
use std::sync::atomic::Ordering;

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread load, and nothing to keep secrets with.
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Below `limit`, or 0.
    pub fn roll(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(limit)) >> 64) as u64
    }
}

/// One by chance; `None` leaves the pick to round robin.
pub(super) fn pick(
    rotation: &mut Rotation,
    weights: &Weights,
    dice: &mut Dice,
    now: Tick,
    tried: &mut Tried,
) -> Option<usize> {
    while tried.rehash.tries <= MAX_TRIES {
        let member = weights.find(dice.roll(weights.total()));
        if !tried.holds(member) && rotation.take_found(member, now) {
            return Some(member);
        }
        tried.rehash.tries += 1;
    }
    None
}

/// The one of two by chance that has fewer uses in progress for its weight.
pub(super) fn pick_two(
    rotation: &mut Rotation,
    weights: &Weights,
    dice: &mut Dice,
    now: Tick,
    tried: &mut Tried,
) -> Option<usize> {
    let mut one = None;
    while tried.rehash.tries <= MAX_TRIES {
        let member = weights.find(dice.roll(weights.total()));
        let fits = one != Some(member) && !tried.holds(member) && rotation.members[member].peer.fitness(now).is_ok();
        match one {
            _ if !fits => tried.rehash.tries += 1,
            None => one = Some(member),
            Some(other) => {
                let member = if is_busier(rotation, member, other) { other } else { member };
                if rotation.take_found(member, now) {
                    return Some(member);
                }
                // Another worker was quicker.
                one = None;
                tried.rehash.tries += 1;
            }
        }
    }
    None
}

fn is_busier(rotation: &Rotation, one: usize, other: usize) -> bool {
    let load = |member: usize| {
        let peer = &rotation.members[member].peer;
        (u64::from(peer.state.active.load(Ordering::Relaxed)), u64::from(peer.weight))
    };
    let ((uses, weight), (other_uses, other_weight)) = (load(one), load(other));
    uses * other_weight > other_uses * weight
}
