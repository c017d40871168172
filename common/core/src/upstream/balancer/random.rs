//! `random` and `random two`: by chance and weight.
//!
//! The dice are the balancer's own, seeded from outside.

use super::search::Search;
use crate::dice::Dice;
use crate::upstream::Measure;

/// One by chance; `None` leaves the pick to round robin.
pub(super) fn pick(mut search: Search<'_>, dice: &mut Dice) -> Option<usize> {
    while search.goes_on() {
        let member = search.under(dice.roll(search.weights.total()));
        if let Some(member) = search.take(member) {
            return Some(member);
        }
    }
    None
}

/// The one of two by chance that is better by `by` for its weight.
pub(super) fn pick_two(mut search: Search<'_>, dice: &mut Dice, by: Measure) -> Option<usize> {
    let mut one = None;
    while search.goes_on() {
        let member = search.under(dice.roll(search.weights.total()));
        let peer = &search.rotation.members[member].peer;
        let fits = one != Some(member) && !search.tried.holds(member) && peer.fitness(search.now).is_ok();
        match one {
            _ if !fits => search.miss(),
            None => one = Some(member),
            Some(other) => {
                let member = if is_worse(&search, member, other, by) { other } else { member };
                if let Some(member) = search.take(member) {
                    return Some(member);
                }
                // Another worker was quicker.
                one = None;
            }
        }
    }
    None
}

fn is_worse(search: &Search<'_>, one: usize, other: usize, by: Measure) -> bool {
    let load = |member: usize| {
        let peer = &search.rotation.members[member].peer;
        (u64::from(peer.burden(by, search.now)), u64::from(peer.weight))
    };
    let ((burden, weight), (other_burden, other_weight)) = (load(one), load(other));
    burden * other_weight > other_burden * weight
}
