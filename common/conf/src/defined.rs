//! The variables that a configuration defines itself, numbered. What their
//! values are is for the planes.

use std::collections::HashMap;

/// Names in the order they were first defined; case does not matter.
#[derive(Clone, Debug, Default)]
pub struct Defined(HashMap<Box<str>, usize>);

impl Defined {
    /// The number of `name`, which is new if nobody defined it before.
    pub fn define(&mut self, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(name.to_ascii_lowercase().into()).or_insert(next)
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.0.get(&*name.to_ascii_lowercase()).copied()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.number(name).is_some()
    }

    /// How many there are; numbers are below it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every name, in lower case, with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(name, number)| (&**name, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_in_any_case() {
        let mut names = Defined::default();
        assert_eq!([names.define("a"), names.define("B"), names.define("A"), names.define("c")], [0, 1, 0, 2]);
        assert_eq!([names.number("b"), names.number("C"), names.number("d")], [Some(1), Some(2), None]);
    }
}
