//! What one session or request keeps of the variables that the configuration
//! makes: each is worked out when it is first asked for and then kept. One that
//! asks for none pays a null pointer.

use std::cell::Cell;
use std::ops::Range;

/// The values that have been worked out; nothing until the first is asked for.
#[derive(Default)]
pub struct Values(Cell<Option<Box<Known>>>);

#[derive(Default)]
struct Known {
    /// In the order of the numbers: few of all variables are asked for.
    states: Vec<(usize, State)>,
    /// How many are being worked out.
    depth: usize,
    /// The bytes of all values.
    text: Vec<u8>,
    /// What `$1` to `$9` are.
    groups: Vec<Option<Vec<u8>>>,
}

#[derive(Clone)]
enum State {
    /// Being worked out: who asks now would wait for ever.
    Asked,
    Missing,
    Value(Range<usize>),
}

/// Variables that may be worked out for one another, as in nginx.
const MOST_DEPTH: usize = 100;

impl Values {
    /// The same values, for a request that goes its own way.
    pub fn copy(&self) -> Values {
        Values(Cell::new(self.look(|known| {
            let worked_out = known.states.iter().filter(|(_, state)| !matches!(state, State::Asked));
            Some(Box::new(Known {
                states: worked_out.cloned().collect(),
                depth: 0,
                text: known.text.clone(),
                groups: known.groups.clone(),
            }))
        })))
    }

    /// Gives a variable a value, whatever it had before.
    pub fn put(&self, number: usize, value: &[u8]) {
        self.with(|known| known.put_value(number, value));
    }

    /// Appends what is known of a variable: `None` when it has to be worked out, false when it has
    /// no value.
    pub fn push(&self, number: usize, out: &mut Vec<u8>) -> Option<bool> {
        self.look(|known| match known.state(number)? {
            State::Asked => None,
            State::Missing => Some(false),
            State::Value(range) => {
                out.extend_from_slice(known.text.get(range.clone()).unwrap_or_default());
                Some(true)
            }
        })
    }

    /// Marks a variable as being worked out; false when that would not end.
    pub fn ask(&self, number: usize) -> bool {
        self.with(|known| known.ask(number))
    }

    /// The variable asked for has this value, or none, which is kept unless it is volatile.
    pub fn answer(&self, number: usize, value: Option<&[u8]>, volatile: bool) {
        self.with(|known| known.answer(number, value, volatile));
    }

    /// A regular expression matched: `$1` to `$9` are its groups from now on.
    pub fn set_groups(&self, groups: Vec<Option<Vec<u8>>>) {
        self.with(|known| known.groups = groups);
    }

    /// Appends `$1` to `$9`; false when the last match had no such group.
    pub fn push_group(&self, number: usize, out: &mut Vec<u8>) -> bool {
        let found = self.look(|known| {
            out.extend_from_slice(known.groups.get(number)?.as_deref()?);
            Some(())
        });
        found.is_some()
    }

    /// Forgets all values, but keeps the memory for the next ones.
    pub fn clear(&mut self) {
        if let Some(known) = self.0.get_mut() {
            known.states.clear();
            known.groups.clear();
            known.text.clear();
            known.depth = 0;
        }
    }

    /// Bytes held for values.
    pub fn held(&self) -> usize {
        self.look(|known| Some(known.text.capacity())).unwrap_or(0)
    }

    fn with<R>(&self, use_it: impl FnOnce(&mut Known) -> R) -> R {
        let mut known = self.0.take().unwrap_or_default();
        let result = use_it(&mut known);
        self.0.set(Some(known));
        result
    }

    /// The same for those who only look: nothing is made.
    fn look<R>(&self, use_it: impl FnOnce(&Known) -> Option<R>) -> Option<R> {
        let known = self.0.take()?;
        let result = use_it(&known);
        self.0.set(Some(known));
        result
    }
}

impl Known {
    fn place(&self, number: usize) -> Result<usize, usize> {
        self.states.binary_search_by_key(&number, |(known, _)| *known)
    }

    fn state(&self, number: usize) -> Option<&State> {
        self.states.get(self.place(number).ok()?).map(|(_, state)| state)
    }

    fn put(&mut self, number: usize, state: State) {
        match self.place(number) {
            Ok(place) => {
                if let Some((_, old)) = self.states.get_mut(place) {
                    *old = state;
                }
            }
            Err(place) => self.states.insert(place, (number, state)),
        }
    }

    fn put_value(&mut self, number: usize, value: &[u8]) {
        // A value of the same length or less takes the place of the old one: what a request sets
        // again and again does not pile up.
        if let Some(State::Value(range)) = self.state(number)
            && range.len() >= value.len()
        {
            let range = range.start..range.start + value.len();
            if let Some(place) = self.text.get_mut(range.clone()) {
                place.copy_from_slice(value);
                return self.put(number, State::Value(range));
            }
        }
        let start = self.text.len();
        self.text.extend_from_slice(value);
        self.put(number, State::Value(start..self.text.len()));
    }

    fn ask(&mut self, number: usize) -> bool {
        let ends = self.depth < MOST_DEPTH && !matches!(self.state(number), Some(State::Asked));
        if ends {
            self.depth += 1;
            self.put(number, State::Asked);
        }
        ends
    }

    fn answer(&mut self, number: usize, value: Option<&[u8]>, volatile: bool) {
        self.depth = self.depth.saturating_sub(1);
        match (value, self.place(number)) {
            (_, Ok(place)) if volatile => {
                self.states.remove(place);
            }
            (Some(value), _) => self.put_value(number, value),
            (None, _) => self.put(number, State::Missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_waits_for_itself_is_not_asked_for_again() {
        let mut known = Known::default();
        assert!(known.ask(7) && !known.ask(7));
        known.answer(7, Some(b"x"), false);
        assert!(matches!(known.state(7), Some(State::Value(_))));
        assert!(known.ask(7));
        known.answer(7, Some(b"y"), true);
        assert!(known.state(7).is_none() && known.depth == 0, "a volatile value is not kept");
    }

    #[test]
    fn depth_is_bounded() {
        let mut known = Known::default();
        assert!((0..MOST_DEPTH).all(|number| known.ask(number)));
        assert!(!known.ask(MOST_DEPTH));
        known.answer(3, None, false);
        assert!(known.ask(MOST_DEPTH) && matches!(known.state(3), Some(State::Missing)));
    }

    #[test]
    fn who_asks_for_nothing_has_nothing() {
        assert_eq!(size_of::<Values>(), size_of::<usize>());
        let values = Values::default();
        assert!(values.push(1, &mut Vec::new()).is_none() && !values.push_group(1, &mut Vec::new()));
        assert!(values.0.take().is_none(), "looking makes nothing");
    }

    #[test]
    fn values_are_replaced_in_place_and_forgotten() {
        let mut values = Values::default();
        let value = |values: &Values, number| {
            let mut out = Vec::new();
            values.push(number, &mut out).map(|_| String::from_utf8(out).unwrap())
        };
        values.put(1, b"long value");
        values.put(2, b"other");
        (0..100).for_each(|_| values.put(1, b"short"));
        assert_eq!((value(&values, 1).as_deref(), value(&values, 2).as_deref()), (Some("short"), Some("other")));
        assert!(values.0.get_mut().as_ref().unwrap().text.len() < 20);
        values.put(1, b"a longer value than before");
        values.set_groups(vec![None, Some(b"one".to_vec())]);
        assert_eq!(value(&values, 1).as_deref(), Some("a longer value than before"));
        values.clear();
        assert!(value(&values, 1).is_none() && !values.push_group(1, &mut Vec::new()));
    }
}
