//! Variables that the configuration makes: those of `set` and the groups of regular expressions.
//!
//! Each has a number in its plan. A request keeps the values it was given, in the order of their
//! numbers, and owns nothing before it is given the first.

use super::{Variable, builtin, prefixed};
use crate::exchange::Exchange;
use fairlead_conf::{Block, Cx, Defined, Word};
use fairlead_core::names::group_names;
use std::cell::Cell;
use std::ops::Range;

/// Where the value of a variable comes from.
pub(crate) enum Source {
    /// `set` or a group gives it.
    Given {
        /// What it is before that: `$http_x` is the client's field until somebody sets it.
        otherwise: Option<Variable>,
    },
}

/// Every variable of a plan that the configuration makes, by number.
#[derive(Default)]
pub(crate) struct Customs {
    sources: Vec<Source>,
    names: Defined,
}

impl Customs {
    /// `names` are those that [`define`] found.
    pub fn new(names: Defined) -> Customs {
        let mut named: Vec<(&str, usize)> = names.iter().collect();
        named.sort_by_key(|(_, number)| *number);
        let sources = named.into_iter().map(|(name, _)| Source::Given { otherwise: prefixed(name) }).collect();
        Customs { sources, names }
    }

    /// In lower case.
    pub fn name(&self, number: usize) -> &str {
        self.names.iter().find(|(_, known)| *known == number).map_or("", |(name, _)| name)
    }
}

/// Takes in the names that `http { … }` defines, so that they may be used before their definition.
pub(crate) fn define(block: &Block, cx: &Cx) {
    for statement in &block.statements {
        match &*statement.name.text {
            "server_name" | "location" => statement.args.iter().for_each(|word| groups(word, cx)),
            _ => {}
        }
        if let Some(inner) = &statement.block {
            define(inner, cx);
        }
    }
}

/// The named groups of a regular expression; nginx's own names win.
fn groups(word: &Word, cx: &Cx) {
    group_names(&word.text).filter(|name| builtin(name).is_none()).for_each(|name| {
        cx.defined.borrow_mut().define(name);
    });
}

/// The values of one request.
#[derive(Default)]
pub(crate) struct Values(Cell<Option<Box<Known>>>);

#[derive(Default)]
struct Known {
    /// In the order of the numbers: a request is given few of all variables.
    places: Vec<(usize, Range<usize>)>,
    /// The bytes of all values.
    text: Vec<u8>,
}

impl Values {
    pub fn put(&self, number: usize, value: &[u8]) {
        let mut known = self.0.take().unwrap_or_default();
        let start = known.text.len();
        known.text.extend_from_slice(value);
        let range = start..known.text.len();
        match known.places.binary_search_by_key(&number, |(other, _)| *other) {
            Ok(at) => {
                if let Some((_, old)) = known.places.get_mut(at) {
                    *old = range;
                }
            }
            Err(at) => known.places.insert(at, (number, range)),
        }
        self.0.set(Some(known));
    }

    /// Appends the value; false when none was given.
    pub fn push(&self, number: usize, out: &mut Vec<u8>) -> bool {
        let Some(known) = self.0.take() else { return false };
        let place = known.places.binary_search_by_key(&number, |(other, _)| *other).ok();
        let value = place.and_then(|at| known.places.get(at)).and_then(|(_, range)| known.text.get(range.clone()));
        let found = value.map(|value| out.extend_from_slice(value)).is_some();
        self.0.set(Some(known));
        found
    }

    /// For the next request, which takes over the memory.
    pub fn clear(&mut self) {
        if let Some(known) = self.0.get_mut() {
            known.places.clear();
            known.text.clear();
        }
    }

    /// Bytes held for values.
    pub fn held(&self) -> usize {
        let known = self.0.take();
        let held = known.as_ref().map_or(0, |known| known.text.capacity());
        self.0.set(known);
        held
    }
}

impl Exchange {
    /// Appends the value of a variable of the configuration's own; false when it has none.
    pub(super) fn push_custom(&self, number: usize, out: &mut Vec<u8>) -> bool {
        if self.values.push(number, out) {
            return true;
        }
        match self.worker.plan.customs.sources.get(number) {
            Some(Source::Given { otherwise: Some(otherwise) }) => self.push_value(otherwise, out),
            Some(Source::Given { otherwise: None }) | None => false,
        }
    }

    /// The named groups of what matched are variables of the request from now on.
    pub(crate) fn keep_groups(&self) {
        let mut captures = self.captures.borrow_mut();
        if captures.named.is_empty() {
            return;
        }
        let names = &self.worker.plan.customs.names;
        for (name, value) in captures.named.drain(..) {
            if let Some(number) = names.number(&name) {
                self.values.put(number, &value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(values: &Values, number: usize) -> Option<String> {
        let mut out = Vec::new();
        values.push(number, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_kept_by_number_and_replaced() {
        let mut values = Values::default();
        assert_eq!(value(&values, 0), None);
        for (number, text) in [(7, "seven"), (2, "two"), (7, ""), (900, "far"), (2, "zwei")] {
            values.put(number, text.as_bytes());
        }
        let all = [0, 2, 7, 900].map(|number| value(&values, number));
        assert_eq!(all, [None, Some("zwei".into()), Some(String::new()), Some("far".into())]);
        values.clear();
        assert_eq!([2, 7, 900].map(|number| value(&values, number)), [None, None, None]);
    }
}
