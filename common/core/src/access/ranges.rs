//! An ordered list of ranges, of which the first that covers a key decides, compiled into disjoint
//! ones. Built once; a lookup is a binary search.

use std::collections::BTreeSet;

/// Keys that have a next one, up to the last.
pub trait Key: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
}

/// Values of keys.
#[derive(Clone, Debug)]
pub struct Ranges<K, V> {
    /// Where each range begins and what holds from there to the next, in order; neighbours differ.
    starts: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Ranges<K, V> {
    fn default() -> Ranges<K, V> {
        Ranges { starts: Vec::new() }
    }
}

impl<K: Key, V: Copy + PartialEq> Ranges<K, V> {
    /// From first and last keys (both belong to the range) and values, of which the earliest wins.
    pub fn first_match(list: &[(K, K, V)]) -> Ranges<K, V> {
        let begins = list.iter().enumerate().map(|(place, (first, _, _))| (*first, true, place));
        let ends = list.iter().enumerate().filter_map(|(place, (_, last, _))| Some((last.next()?, false, place)));
        let mut events: Vec<(K, bool, usize)> = begins.chain(ends).collect();
        events.sort_unstable();
        let mut open = BTreeSet::new();
        let mut starts: Vec<(K, Option<V>)> = Vec::new();
        for here in events.chunk_by(|one, other| one.0 == other.0) {
            for (_, begins, place) in here {
                if *begins {
                    open.insert(*place)
                } else {
                    open.remove(place)
                };
            }
            let value = open.first().and_then(|place| list.get(*place)).map(|(_, _, value)| *value);
            let before = starts.last().and_then(|(_, value)| *value);
            if let Some((key, _, _)) = here.first().filter(|_| value != before) {
                starts.push((*key, value));
            }
        }
        starts.shrink_to_fit();
        Ranges { starts }
    }

    /// The value of the first range of the list that covers `key`.
    pub fn find(&self, key: K) -> Option<V> {
        let place = self.starts.partition_point(|(start, _)| *start <= key).checked_sub(1)?;
        self.starts.get(place).and_then(|(_, value)| *value)
    }

    /// Disjoint ranges it came to.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}
