//! What one request or session remembers from pick to pick.

use super::balancer::Rehash;

/// The peers this request or session has tried already, and where its hash has got to.
///
/// The first 64 peers of a group are bits of one word; of those further on four are held in
/// place, and only a request that has tried more of them makes this allocate.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    pub first: u64,
    /// Bits of the peers from 64 on.
    pub rest: Vec<u64>,
    few: [usize; 4],
    few_used: usize,
    /// The edition of the group that all this is about.
    edition: u64,
    /// All primary peers were out of question: only backup ones are picked from here on.
    pub(super) on_backup: bool,
    pub(super) rehash: Rehash,
}

impl Tried {
    pub fn holds(&self, index: usize) -> bool {
        match index.checked_sub(64) {
            None => self.first & (1 << index) != 0,
            Some(far) => {
                self.few().contains(&index) || self.rest.get(far / 64).is_some_and(|w| w & (1 << (far % 64)) != 0)
            }
        }
    }

    /// Whether the peer at `index` of this edition of the group was tried.
    pub(super) fn holds_of(&self, edition: u64, index: usize) -> bool {
        self.edition == edition && self.holds(index)
    }

    /// Forgets everything if it is about another edition of the group: its peers have other
    /// positions, and what had failed there does so no more often than `max_fails` allows.
    pub(super) fn turn_to(&mut self, edition: u64) {
        if self.edition != edition {
            *self = Tried { edition, ..Tried::default() };
        }
    }

    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.few_used == 0 && self.rest.iter().all(|word| *word == 0)
    }

    pub(super) fn insert(&mut self, index: usize) {
        let Some(far) = index.checked_sub(64) else {
            self.first |= 1 << index;
            return;
        };
        if let Some(place) = self.few.get_mut(self.few_used) {
            *place = index;
            self.few_used += 1;
            return;
        }
        if self.rest.len() <= far / 64 {
            self.rest.resize(far / 64 + 1, 0);
        }
        if let Some(word) = self.rest.get_mut(far / 64) {
            *word |= 1 << (far % 64);
        }
    }

    /// Lets peer `index` be picked again: nginx gives a request another try on the same peer when
    /// it was a kept-alive connection that turned out to be closed.
    pub fn forget(&mut self, index: usize) {
        let Some(far) = index.checked_sub(64) else {
            self.first &= !(1 << index);
            return;
        };
        if let Some(place) = self.few().iter().position(|few| *few == index) {
            self.few_used -= 1;
            self.few.swap(place, self.few_used);
        }
        if let Some(word) = self.rest.get_mut(far / 64) {
            *word &= !(1 << (far % 64));
        }
    }

    /// Every peer tried, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let far = self.rest.iter().enumerate().flat_map(|(place, word)| bits(*word, 64 + place * 64));
        bits(self.first, 0).chain(self.few().iter().copied()).chain(far)
    }

    fn few(&self) -> &[usize] {
        self.few.get(..self.few_used).unwrap_or_default()
    }
}

fn bits(mut word: u64, base: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let bit = word.trailing_zeros() as usize;
        word &= word - 1;
        Some(base + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_and_forgets_peers_near_and_far() {
        let mut tried = Tried::default();
        let peers = [0, 63, 64, 65, 1000, 9_999, 128, 5_000, 64 * 64];
        for peer in peers {
            assert!(!tried.holds(peer));
            tried.insert(peer);
            assert!(tried.holds(peer));
        }
        let mut all: Vec<usize> = tried.iter().collect();
        all.sort_unstable();
        let mut expected = peers.to_vec();
        expected.sort_unstable();
        assert_eq!(all, expected);
        for peer in peers {
            tried.forget(peer);
            assert!(!tried.holds(peer), "{peer}");
        }
        assert!(tried.is_empty() && tried.iter().next().is_none());
    }

    #[test]
    fn four_tries_far_out_allocate_nothing() {
        let mut tried = Tried::default();
        for peer in [100, 9_000, 200, 300] {
            tried.insert(peer);
        }
        assert_eq!(tried.rest.capacity(), 0);
    }
}
