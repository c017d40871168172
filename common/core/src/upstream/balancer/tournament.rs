//! Who is first by load and then by smooth weighted round robin, in O(log n).
//!
//! Every member has a load (`burden / weight`) and a key (its current weight as
//! it would be in the next pick). The first is the one with the lowest load,
//! among equals the one with the highest key, among equals the one that comes
//! first. What nginx does by a walk over all peers is here one operation on
//! the root of a tree of matches: [`Tournament::advance`] gives every member
//! of the lowest load its weight, as a note at the root that is handed down
//! only where somebody looks. Heavier members grow faster and overtake: each
//! match knows how many advances its result survives, and only those that
//! have run out are played again. Each pick charges one member and so causes
//! few overtakings, which keeps the cost of all advances together at
//! O(log² n) a pick, and with equal weights none ever happens.

/// One match: the first of its two sides. `weight` 0 means that nobody plays.
#[derive(Clone, Copy, Debug, Default)]
struct Match {
    burden: u32,
    weight: u32,
    winner: u32,
    key: i64,
    /// Weights of all below with the winner's load.
    sum: i64,
    /// Advances not yet handed down to the two sides.
    pending: u64,
    /// Advances that the results below survive.
    life: u64,
}

#[derive(Debug)]
pub(super) struct Tournament {
    /// A binary heap's layout: the sides of match `m` are `2m` and `2m + 1`, the root is 1.
    matches: Box<[Match]>,
    size: usize,
    height: u32,
    /// Matches looked at: what the cost of a pick is measured in.
    #[cfg(test)]
    pub steps: u64,
}

/// The first of all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub index: usize,
    pub load: Load,
    pub key: i64,
    /// Weights of all members with this load.
    pub sum: i64,
}

/// `burden / weight`, compared without dividing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub burden: u32,
    pub weight: u32,
}

impl PartialEq for Load {
    fn eq(&self, other: &Load) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Load {}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Load) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Load {
    fn cmp(&self, other: &Load) -> std::cmp::Ordering {
        let left = u64::from(self.burden) * u64::from(other.weight);
        left.cmp(&(u64::from(other.burden) * u64::from(self.weight)))
    }
}

impl Match {
    fn load(&self) -> Load {
        Load { burden: self.burden, weight: self.weight }
    }

    fn is_empty(&self) -> bool {
        self.weight == 0
    }

    fn plays_with(&self, other: &Match) -> bool {
        !self.is_empty() && !other.is_empty() && self.load() == other.load()
    }

    fn grow(&mut self, advances: u64) {
        self.key += i64::from(self.weight) * advances as i64;
        self.pending += advances;
        self.life = self.life.saturating_sub(advances);
    }
}

impl Tournament {
    /// Places for `members` of them, all empty.
    pub fn new(members: usize) -> Tournament {
        let size = members.next_power_of_two().max(1);
        Tournament {
            matches: vec![Match::default(); size * 2].into_boxed_slice(),
            size,
            height: size.trailing_zeros(),
            #[cfg(test)]
            steps: 0,
        }
    }

    pub fn first(&self) -> Option<First> {
        let root = &self.matches[1];
        let first = First { index: root.winner as usize, load: root.load(), key: root.key, sum: root.sum };
        (!root.is_empty()).then_some(first)
    }

    /// Gives every member of the lowest load its weight once.
    pub fn advance(&mut self) {
        self.advance_below(1);
    }

    pub fn insert(&mut self, index: usize, load: Load, key: i64) {
        let leaf = Match {
            burden: load.burden,
            weight: load.weight,
            winner: index as u32,
            key,
            sum: i64::from(load.weight),
            pending: 0,
            life: u64::MAX,
        };
        self.change(index, |old| *old = leaf);
    }

    /// Takes a member out; its key.
    pub fn remove(&mut self, index: usize) -> i64 {
        let mut key = 0;
        self.change(index, |leaf| {
            key = leaf.key;
            *leaf = Match::default();
        });
        key
    }

    pub fn set_burden(&mut self, index: usize, burden: u32) {
        self.change(index, |leaf| leaf.burden = burden);
    }

    /// Takes `amount` off a member's key.
    pub fn charge(&mut self, index: usize, amount: i64) {
        self.change(index, |leaf| leaf.key -= amount);
    }

    pub fn key(&mut self, index: usize) -> i64 {
        let leaf = self.size + index;
        for level in (1..=self.height).rev() {
            self.hand_down(leaf >> level);
        }
        self.matches[leaf].key
    }

    /// Brings a member's leaf up to date, changes it and plays the matches above it again.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Match)) {
        let leaf = self.size + index;
        for level in (1..=self.height).rev() {
            self.hand_down(leaf >> level);
        }
        self.matches[leaf].pending = 0;
        change(&mut self.matches[leaf]);
        for level in 1..=self.height {
            self.play(leaf >> level);
        }
    }

    fn advance_below(&mut self, place: usize) {
        self.count_step();
        if self.matches[place].life > 0 || place >= self.size {
            self.matches[place].grow(1);
            return;
        }
        self.hand_down(place);
        let above = self.matches[place];
        for side in [place * 2, place * 2 + 1] {
            if self.matches[side].plays_with(&above) {
                self.advance_below(side);
            }
        }
        self.play(place);
    }

    /// Hands the advances noted at a match to the sides they were meant for.
    fn hand_down(&mut self, place: usize) {
        self.count_step();
        let above = self.matches[place];
        if above.pending == 0 {
            return;
        }
        self.matches[place].pending = 0;
        for side in [place * 2, place * 2 + 1] {
            if self.matches[side].plays_with(&above) {
                self.matches[side].grow(above.pending);
            }
        }
    }

    /// Plays a match whose advances are all handed down.
    fn play(&mut self, place: usize) {
        self.count_step();
        let (left, right) = (self.matches[place * 2], self.matches[place * 2 + 1]);
        self.matches[place] = if left.plays_with(&right) {
            between_equals(&left, &right)
        } else if right.is_empty() || (!left.is_empty() && left.load() < right.load()) {
            Match { pending: 0, ..left }
        } else {
            Match { pending: 0, ..right }
        };
    }

    #[cfg(test)]
    fn count_step(&mut self) {
        self.steps += 1;
    }

    #[cfg(not(test))]
    fn count_step(&mut self) {}
}

/// The match of two sides with the same load: the higher key wins, the left side a tie.
fn between_equals(left: &Match, right: &Match) -> Match {
    let right_wins = right.key > left.key;
    let (winner, loser) = if right_wins { (right, left) } else { (left, right) };
    let mut life = left.life.min(right.life);
    if loser.weight > winner.weight {
        let gain = i64::from(loser.weight - winner.weight);
        let lead = winner.key - loser.key;
        // The loser overtakes by a tie when it is the left one, else it must be ahead.
        let survives = if right_wins { (lead - 1) / gain } else { lead / gain };
        life = life.min(survives.unsigned_abs());
    }
    Match { sum: left.sum + right.sum, pending: 0, life, ..*winner }
}
