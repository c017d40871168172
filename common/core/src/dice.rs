//! Chance that a seed gives again: enough to spread load and to play simulations, and nothing to
//! keep secrets with.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Below `limit`, or 0.
    pub fn roll(&mut self, limit: u64) -> u64 {
        let mixed = mix(self.0);
        self.0 = self.0.wrapping_add(STEP);
        ((u128::from(mixed) * u128::from(limit)) >> 64) as u64
    }
}

/// A number of which every bit depends on every bit of `number`, the same on every machine.
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_numbers() {
        assert_eq!([0, STEP].map(mix), [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn every_side_comes_up_about_as_often() {
        let mut dice = Dice::new(7);
        let mut sides = [0; 6];
        (0..60_000).for_each(|_| sides[dice.roll(6) as usize] += 1);
        assert!(sides.iter().all(|count| (9_500..10_500).contains(count)), "{sides:?}");
        assert_eq!(dice.roll(0), 0);
    }
}
