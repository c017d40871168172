//! A value for every number: disjoint intervals in order, found by binary
//! search. Networks that lie within each other are laid out beforehand, so that
//! asking costs the same whether there are ten or a million.

/// Numbers from each start on have the value beside it; those before the first start have none.
#[derive(Debug)]
pub(super) struct Intervals<N> {
    starts: Box<[N]>,
    values: Box<[Option<u32>]>,
}

/// Numbers from `first` to `last`, both of them in it, have `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range<N> {
    pub first: N,
    pub last: N,
    pub value: u32,
}

/// The number that follows, if there is one.
pub(super) trait Next: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Next for u32 {
    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
}

impl Next for u128 {
    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
}

impl<N: Next> Intervals<N> {
    /// Where ranges lie within each other the innermost holds. They never overlap otherwise.
    pub fn new(mut ranges: Vec<Range<N>>) -> Intervals<N> {
        ranges.sort_unstable_by(|one, two| one.first.cmp(&two.first).then(two.last.cmp(&one.last)));
        let mut layout = Layout { starts: Vec::new(), values: Vec::new() };
        let mut open: Vec<Range<N>> = Vec::new();
        for range in ranges {
            layout.close(&mut open, Some(range.first));
            layout.push(range.first, Some(range.value));
            open.push(range);
        }
        layout.close(&mut open, None);
        Intervals { starts: layout.starts.into(), values: layout.values.into() }
    }

    pub fn find(&self, number: N) -> Option<u32> {
        let after = self.starts.partition_point(|start| *start <= number);
        self.values.get(after.checked_sub(1)?).copied().flatten()
    }
}

struct Layout<N> {
    starts: Vec<N>,
    values: Vec<Option<u32>>,
}

impl<N: Next> Layout<N> {
    /// Ends the ranges that end before `first`: what is around them goes on.
    fn close(&mut self, open: &mut Vec<Range<N>>, first: Option<N>) {
        while let Some(inner) = open.pop_if(|inner| first.is_none_or(|first| inner.last < first)) {
            if let Some(after) = inner.last.next() {
                self.push(after, open.last().map(|outer| outer.value));
            }
        }
    }

    fn push(&mut self, start: N, value: Option<u32>) {
        if self.starts.last() == Some(&start) {
            // What began here was empty: something within it begins here too.
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last().copied().flatten() != value || self.values.is_empty() {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn the_innermost_range_holds() {
        let range = |first, last, value| Range { first, last, value };
        let found =
            Intervals::new(vec![range(0u32, u32::MAX, 0), range(16, 31, 1), range(16, 19, 2), range(31, 31, 3)]);
        let ask = |number| found.find(number);
        assert_eq!([ask(0), ask(15), ask(16), ask(19), ask(20), ask(30)].map(Option::unwrap), [0, 0, 2, 2, 1, 1]);
        assert_eq!([ask(31), ask(32), ask(u32::MAX)].map(Option::unwrap), [3, 0, 0]);
        let bare = Intervals::new(vec![range(5u32, 6, 0), range(8, 8, 1)]);
        assert_eq!([4, 5, 6, 7, 8, 9].map(|number| bare.find(number)), [None, Some(0), Some(0), None, Some(1), None]);
    }

    #[test]
    fn agrees_with_a_search_through_all_ranges() {
        for seed in 0..256u64 {
            let mut dice = Dice::new(seed);
            // Networks of an 8-bit address, each once.
            let mut ranges: Vec<Range<u32>> = Vec::new();
            for value in 0..dice.roll(24) as u32 {
                let bits = dice.roll(9);
                let first = (dice.roll(256) as u32) >> bits << bits;
                let range = Range { first, last: first + (1 << bits) - 1, value };
                if !ranges.iter().any(|other| (other.first, other.last) == (range.first, range.last)) {
                    ranges.push(range);
                }
            }
            let laid = Intervals::new(ranges.clone());
            for number in 0..300 {
                let within = ranges.iter().filter(|range| (range.first..=range.last).contains(&number));
                let expected = within.min_by_key(|range| range.last - range.first).map(|range| range.value);
                assert_eq!(laid.find(number), expected, "seed {seed}, number {number}");
            }
        }
    }
}
