//! Patterns in file order, of which the first that matches wins: those of `location` and `server_name`.
//!
//! Many of them are searched as one automaton, so that a hundred cost what a few do; it only says
//! which may match, and the order stays that of the file. Patterns that need backtracking cannot be
//! part of it and are asked one by one.

use crate::names::Pattern;
use crate::names::pattern::joint_set;
use regex::bytes::{RegexSet, SetMatches};
use std::sync::Arc;

#[derive(Debug)]
pub struct Patterns<T> {
    all: Vec<(Pattern, T)>,
    joint: Option<Joint>,
}

#[derive(Debug)]
struct Joint {
    set: Arc<RegexSet>,
    /// Place in the set of each pattern; none of those that are not in it.
    places: Vec<Option<usize>>,
    /// Some are not.
    has_outsiders: bool,
}

/// So few are as fast one by one.
const FEW: usize = 4;
/// What is longer than this is asked one by one: a joint search that runs out of states is slower
/// than all of them, and longest where clients choose the length.
const LONGEST: usize = 1024;

impl<T> Default for Patterns<T> {
    fn default() -> Patterns<T> {
        Patterns { all: Vec::new(), joint: None }
    }
}

impl<T> Patterns<T> {
    pub fn push(&mut self, pattern: Pattern, value: T) {
        self.all.push((pattern, value));
        self.joint = None;
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Joins them, once all are there. Without it they are asked one by one.
    pub fn join(&mut self) {
        let mut texts = Vec::new();
        let places: Vec<Option<usize>> = self
            .all
            .iter()
            .map(|(pattern, _)| {
                texts.push(pattern.linear_text()?);
                texts.len().checked_sub(1)
            })
            .collect();
        if texts.len() < FEW {
            return;
        }
        let has_outsiders = texts.len() < self.all.len();
        self.joint = joint_set(texts).map(|set| Joint { set, places, has_outsiders });
    }

    /// Those that may match, in file order.
    pub fn candidates(&self, subject: &[u8]) -> impl Iterator<Item = &(Pattern, T)> {
        let joint = self.joint.as_ref().filter(|_| subject.len() <= LONGEST);
        let found = joint.map(|joint| (joint, joint.set.matches(subject)));
        let none = found.as_ref().is_some_and(|(joint, found)| !joint.has_outsiders && !found.matched_any());
        let all = if none { &[] } else { self.all.as_slice() };
        all.iter().enumerate().filter(move |(index, _)| may_match(found.as_ref(), *index)).map(|(_, pair)| pair)
    }
}

fn may_match(found: Option<&(&Joint, SetMatches)>, index: usize) -> bool {
    let Some((joint, found)) = found else { return true };
    joint.places.get(index).copied().flatten().is_none_or(|place| found.matched(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::names::Captures;

    fn first(patterns: &Patterns<usize>, subject: &[u8]) -> (Option<usize>, usize) {
        let mut asked = 0;
        let found = patterns.candidates(subject).find(|(pattern, _)| {
            asked += 1;
            pattern.matches(subject, &mut Captures::default())
        });
        (found.map(|(_, number)| *number), asked)
    }

    const PIECES: [&str; 12] = ["^", "/a", "b+", "(c|d)", "/", r"\.e$", "[a-c]", "x?", "(?!/z)", "B", ".*", r"(a)\1"];
    const TEXTS: [&str; 10] = ["/a", "b", "c", "d", "/", ".e", "x", "B", "\u{e9}", "aa"];

    fn some(dice: &mut Dice, from: &[&str], most: u64) -> String {
        (0..=dice.roll(most)).map(|_| from[dice.roll(from.len() as u64) as usize]).collect()
    }

    #[test]
    fn joined_patterns_find_what_each_of_them_finds() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let (mut one_by_one, mut joined) = (Patterns::default(), Patterns::default());
            for number in 0..dice.roll(30) as usize {
                let ignore_case = dice.roll(4) == 0;
                let Ok(pattern) = Pattern::new(&some(&mut dice, &PIECES, 4), ignore_case) else { continue };
                one_by_one.push(pattern.clone(), number);
                joined.push(pattern, number);
            }
            joined.join();
            for _ in 0..50 {
                let subject = some(&mut dice, &TEXTS, 8);
                let (expected, _) = first(&one_by_one, subject.as_bytes());
                let (found, _) = first(&joined, subject.as_bytes());
                assert_eq!(found, expected, "seed {seed}, {subject:?}");
            }
        }
    }

    #[test]
    fn a_hundred_patterns_are_asked_no_more_often_than_they_match() {
        let mut patterns = Patterns::default();
        for number in 0..100 {
            patterns.push(Pattern::new(&format!(r"^/shop{number}/.*\.php$"), number % 2 == 0).unwrap(), number);
        }
        patterns.join();
        assert_eq!(first(&patterns, b"/static/app.js"), (None, 0));
        assert_eq!(first(&patterns, b"/shop99/index.php"), (Some(99), 1));
        assert_eq!(first(&patterns, b"/SHOP98/index.php"), (Some(98), 1));
        let long = [b"/shop7/".as_slice(), &[b'x'; LONGEST], b".php"].concat();
        assert_eq!(first(&patterns, &long), (Some(7), 8), "long ones are asked one by one");
    }

    #[test]
    fn patterns_that_backtrack_keep_their_place() {
        let mut patterns = Patterns::default();
        for (number, text) in ["^/a$", "^/b$", "^/(?!x)", "^/c$", "^/d$", "^/e$"].into_iter().enumerate() {
            patterns.push(Pattern::new(text, false).unwrap(), number);
        }
        patterns.join();
        assert_eq!(first(&patterns, b"/b"), (Some(1), 1));
        assert_eq!(first(&patterns, b"/c"), (Some(2), 1), "it stands before");
        assert_eq!(first(&patterns, b"/x"), (None, 1));
    }
}
