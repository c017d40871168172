//! `location`: which block of a server a path belongs to, in nginx's order.
//!
//! At each level: the exact location; else the longest prefix and what is
//! nested in it; then, unless that prefix says `^~`, the regexes of the level
//! in file order. Prefixes are found by binary search: O(log n) comparisons. Many regexes are
//! searched as one.

use crate::plan::{Captures, Location};
use crate::route::Pattern;
use ahash::AHashMap;
use fairlead_core::names::{Patterns, TooComplex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a location is matched.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `= /path`
    Exact,
    /// `/path`
    Prefix,
    /// `^~ /path`: regexes of the same level are not asked.
    FinalPrefix,
    /// `~ pattern`, `~* pattern`
    Regex(Pattern),
    /// `@name`: no path leads there.
    Named,
}

/// One compiled location and the locations inside it.
pub(crate) struct Node {
    pub location: Arc<Location>,
    pub nested: Option<Level>,
}

/// The locations of one block, being collected.
#[derive(Default)]
pub(crate) struct LevelBuilder {
    exact: AHashMap<Box<[u8]>, Node>,
    prefixes: BTreeMap<Box<[u8]>, (bool, Node)>,
    patterns: Patterns<Node>,
    slashless: AHashMap<Box<[u8]>, Arc<Location>>,
}

/// The locations of one block.
pub(crate) struct Level {
    exact: AHashMap<Box<[u8]>, Node>,
    /// Sorted by name.
    prefixes: Vec<Prefix>,
    patterns: Patterns<Node>,
    /// Paths that lack only a slash to reach a proxied location: `/app` for `location /app/`.
    slashless: AHashMap<Box<[u8]>, Arc<Location>>,
}

struct Prefix {
    name: Box<[u8]>,
    /// The longest other prefix that this name begins with.
    parent: Option<usize>,
    is_final: bool,
    node: Node,
}

/// Where a search ended.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    Location(&'a Arc<Location>),
    AddSlash(&'a Arc<Location>),
    /// A regex was given up: nobody knows whose the path is.
    TooComplex,
}

impl LevelBuilder {
    /// False when the level holds the same location already. `redirects`: the path without
    /// the name's final slash is answered by a redirect to the name.
    pub fn add(&mut self, name: &str, kind: Kind, redirects: bool, node: Node) -> bool {
        let exact = matches!(kind, Kind::Exact);
        if let Some(short) = name.strip_suffix('/').filter(|_| redirects && !matches!(kind, Kind::Regex(_))) {
            let short: Box<[u8]> = short.as_bytes().into();
            if exact || !self.slashless.contains_key(&short) {
                self.slashless.insert(short, node.location.clone());
            }
        }
        let key: Box<[u8]> = name.as_bytes().into();
        match kind {
            Kind::Exact => self.exact.insert(key, node).is_none(),
            Kind::Prefix | Kind::FinalPrefix => {
                self.prefixes.insert(key, (matches!(kind, Kind::FinalPrefix), node)).is_none()
            }
            Kind::Named => true,
            Kind::Regex(pattern) => {
                self.patterns.push(pattern, node);
                true
            }
        }
    }

    pub fn finish(mut self) -> Level {
        self.patterns.join();
        let mut prefixes: Vec<Prefix> = Vec::with_capacity(self.prefixes.len());
        for (name, (is_final, node)) in self.prefixes {
            let mut parent = prefixes.len().checked_sub(1);
            while let Some(above) = parent.and_then(|index| prefixes.get(index)) {
                if name.starts_with(&above.name) {
                    break;
                }
                parent = above.parent;
            }
            prefixes.push(Prefix { name, parent, is_final, node });
        }
        Level { exact: self.exact, prefixes, patterns: self.patterns, slashless: self.slashless }
    }
}

impl Level {
    /// The location of a normalised path; `None` leaves the request to the enclosing block.
    pub fn find(&self, path: &[u8], captures: &mut Captures) -> Option<Found<'_>> {
        let mut best = None;
        self.search(path, captures, &mut best).or(best.map(Found::Location))
    }

    /// A location that ends the search, or nothing: then `best` is the longest prefix, and the
    /// regexes of the enclosing levels may still take the path from it.
    fn search<'a>(
        &'a self,
        path: &[u8],
        captures: &mut Captures,
        best: &mut Option<&'a Arc<Location>>,
    ) -> Option<Found<'a>> {
        if let Some(node) = self.exact.get(path) {
            return Some(Found::Location(&node.location));
        }
        let prefix = self.longest_prefix(path);
        if prefix.is_none_or(|prefix| prefix.name.len() != path.len())
            && let Some(location) = self.slashless.get(path)
        {
            return Some(Found::AddSlash(location));
        }
        if let Some(prefix) = prefix {
            *best = Some(&prefix.node.location);
            let inside = prefix.node.nested.as_ref().and_then(|level| level.search(path, captures, best));
            if inside.is_some() || prefix.is_final {
                return inside;
            }
        }
        self.search_patterns(path, captures)
    }

    fn search_patterns(&self, path: &[u8], captures: &mut Captures) -> Option<Found<'_>> {
        let mut found = None;
        for (pattern, node) in self.patterns.candidates(path) {
            match pattern.try_matches(path, captures) {
                Ok(true) => {
                    found = Some(node);
                    break;
                }
                Ok(false) => {}
                Err(TooComplex) => return Some(Found::TooComplex),
            }
        }
        let node = found?;
        let inside = node.nested.as_ref().and_then(|level| level.find(path, captures));
        // nginx does not redirect from inside a regex location.
        Some(match inside {
            Some(Found::Location(location) | Found::AddSlash(location)) => Found::Location(location),
            Some(Found::TooComplex) => Found::TooComplex,
            None => Found::Location(&node.location),
        })
    }

    /// The greatest name that is not above the path begins with the longest prefix, or is it.
    fn longest_prefix(&self, path: &[u8]) -> Option<&Prefix> {
        let above = self.prefixes.partition_point(|prefix| prefix.name.as_ref() <= path);
        let mut at = above.checked_sub(1);
        while let Some(prefix) = at.and_then(|index| self.prefixes.get(index)) {
            if path.starts_with(&prefix.name) {
                return Some(prefix);
            }
            at = prefix.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests;
