//! A table whose keys go stale: a place that is used again has another key, so that what was meant
//! for its last user does not reach the next. Pure; used for sockets.

pub(super) struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    /// How often the place was emptied; wraps.
    generation: u32,
    value: Option<T>,
}

/// Where something is, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            // As many as there are descriptors, of which a process has fewer than 2^31.
            (self.places.len() - 1) as u32
        });
        let Some(place) = self.places.get_mut(index as usize) else { return Key { index, generation: 0 } };
        place.value = Some(value);
        Key { index, generation: place.generation }
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        place.value.as_ref().filter(|_| place.generation == key.generation)
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use std::collections::HashMap;

    #[test]
    fn a_key_finds_what_it_was_given_for_or_nothing() {
        for seed in 0..256u64 {
            let mut dice = Dice::new(seed);
            let mut slots = Slots::default();
            let (mut live, mut stale) = (HashMap::new(), Vec::new());
            for value in 0..400u64 {
                if dice.roll(5) < 3 {
                    live.insert(slots.insert(value).to_bits(), value);
                } else if let Some(bits) = live.keys().min().copied() {
                    assert_eq!(slots.remove(Key::from_bits(bits)), live.remove(&bits), "seed {seed}");
                    stale.push(bits);
                }
                assert!(stale.iter().all(|bits| slots.get(Key::from_bits(*bits)).is_none()), "seed {seed}");
                assert!(stale.iter().all(|bits| slots.remove(Key::from_bits(*bits)).is_none()), "seed {seed}");
                assert!(
                    live.iter().all(|(bits, value)| slots.get(Key::from_bits(*bits)) == Some(value)),
                    "seed {seed}"
                );
            }
            assert_eq!(slots.used(), live.len(), "seed {seed}");
        }
    }
}
