//! Regular expressions that capture: those of `server_name`, `location` and their like.
//!
//! The linear engine works on bytes and takes almost every pattern. What it
//! lacks (look-around, back-references, atomic groups) goes to the backtracking
//! one with a bound on its steps; that one sees text, so bytes that are not
//! UTF-8 look to it like U+FFFD.

use crate::names::pcre::translate;
use ahash::AHashMap;
use regex::bytes;
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

/// The pattern needs more work on this text than it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooComplex;

/// Steps after which a backtracking match is given up as no match.
const BACKTRACK_LIMIT: usize = 100_000;

/// Groups of the regex that matched last, and named groups of all that matched.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// `$0`, `$1`, …; `None` is a group that took no part.
    pub numbered: Vec<Option<Vec<u8>>>,
    pub named: Vec<(Box<str>, Vec<u8>)>,
}

impl Captures {
    /// Sets a named group in place of an earlier one of the same name.
    pub fn set_named(&mut self, name: &str, value: &[u8]) {
        match self.named.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.named.push((name.into(), value.to_vec())),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Pattern {
    engine: Engine,
    ignore_case: bool,
    names: Arc<[Option<Box<str>>]>,
}

/// What one reading of a configuration has compiled: ten thousand servers that each say
/// `location ~ \.php$` share one automaton.
#[derive(Default)]
struct Known {
    patterns: AHashMap<(Box<str>, bool), Pattern>,
    /// By their texts: servers that include one file have the same ones.
    sets: AHashMap<Vec<String>, Option<Arc<bytes::RegexSet>>>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

#[derive(Clone, Debug)]
enum Engine {
    Linear(bytes::Regex),
    Backtracking(Arc<fancy_regex::Regex>),
}

impl Pattern {
    /// Compiles PCRE's syntax as far as the two engines know it.
    ///
    /// # Errors
    /// What is wrong with the pattern, in one line.
    pub fn new(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        let key = (text.into(), ignore_case);
        if let Some(known) = KNOWN.with_borrow(|known| known.patterns.get(&key).cloned()) {
            return Ok(known);
        }
        let pattern = Pattern::compile(text, ignore_case)?;
        KNOWN.with_borrow_mut(|known| known.patterns.insert(key, pattern.clone()));
        Ok(pattern)
    }

    /// At the end of a reading: the plan alone holds its patterns from now on.
    pub fn forget_known() {
        KNOWN.take();
    }

    fn compile(text: &str, ignore_case: bool) -> Result<Pattern, String> {
        let text = &*translate(text);
        // Bytes, not characters: nginx compiles without PCRE's UTF mode.
        let linear = bytes::RegexBuilder::new(text).unicode(false).case_insensitive(ignore_case).build();
        let engine = match linear {
            Ok(regex) => Engine::Linear(regex),
            Err(bytes_error) => Engine::Backtracking(Arc::new(backtracking(text, ignore_case, &bytes_error)?)),
        };
        let names = match &engine {
            Engine::Linear(regex) => regex.capture_names().map(|name| name.map(Box::from)).collect(),
            Engine::Backtracking(regex) => regex.capture_names().map(|name| name.map(Box::from)).collect(),
        };
        Ok(Pattern { engine, ignore_case, names })
    }

    /// What the linear engine reads, if that runs it.
    pub(super) fn linear_text(&self) -> Option<String> {
        let Engine::Linear(regex) = &self.engine else { return None };
        // Before all of it: a flag inside holds to the end of its group.
        Some(format!("{}{}", if self.ignore_case { "(?i)" } else { "" }, regex.as_str()))
    }

    /// Whether it matches anywhere in `subject`; if so its groups replace the numbered
    /// ones and set the named ones.
    pub fn matches(&self, subject: &[u8], captures: &mut Captures) -> bool {
        // Past the limit the answer is unknown, and taken for no.
        self.try_matches(subject, captures).unwrap_or(false)
    }

    /// The same for those who want to know of a match that was given up.
    ///
    /// # Errors
    /// [`TooComplex`] when it takes too long to tell.
    pub fn try_matches(&self, subject: &[u8], captures: &mut Captures) -> Result<bool, TooComplex> {
        match &self.engine {
            Engine::Linear(regex) => Ok(self.match_linear(regex, subject, captures)),
            Engine::Backtracking(regex) => self.match_backtracking(regex, subject, captures),
        }
    }

    fn match_linear(&self, regex: &bytes::Regex, subject: &[u8], captures: &mut Captures) -> bool {
        if self.names.len() == 1 {
            // No groups: a search without them is several times cheaper.
            let Some(found) = regex.find(subject) else { return false };
            self.store(std::iter::once(Some(found.as_bytes())), captures);
            return true;
        }
        // What does not match is most of it, and room for groups is an allocation.
        if !regex.is_match(subject) {
            return false;
        }
        let Some(found) = regex.captures(subject) else { return false };
        self.store(found.iter().map(|group| group.map(|group| group.as_bytes())), captures);
        true
    }

    fn match_backtracking(
        &self,
        regex: &fancy_regex::Regex,
        subject: &[u8],
        captures: &mut Captures,
    ) -> Result<bool, TooComplex> {
        let text: Cow<'_, str> = String::from_utf8_lossy(subject);
        let Some(found) = regex.captures(&text).map_err(|_| TooComplex)? else { return Ok(false) };
        self.store(found.iter().map(|group| group.map(|group| group.as_str().as_bytes())), captures);
        Ok(true)
    }

    fn store<'t>(&self, groups: impl Iterator<Item = Option<&'t [u8]>>, captures: &mut Captures) {
        captures.numbered.clear();
        for (name, group) in self.names.iter().zip(groups) {
            if let Some(name) = name {
                captures.set_named(name, group.unwrap_or_default());
            }
            captures.numbered.push(group.map(<[u8]>::to_vec));
        }
    }
}

/// One automaton of several texts; none where that would be too large, each of them being sound.
pub(super) fn joint_set(texts: Vec<String>) -> Option<Arc<bytes::RegexSet>> {
    if let Some(known) = KNOWN.with_borrow(|known| known.sets.get(&texts).cloned()) {
        return known;
    }
    let set = bytes::RegexSetBuilder::new(&texts).unicode(false).build().ok().map(Arc::new);
    KNOWN.with_borrow_mut(|known| known.sets.insert(texts, set.clone()));
    set
}

/// Names of the groups of a pattern that is not compiled: what stands between `(?<` or `(?P<`
/// and `>`, or between `(?'` and `'`.
pub fn group_names(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split("(?").skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('P').unwrap_or(rest);
        let (name, _) = match rest.strip_prefix('\'') {
            Some(rest) => rest.split_once('\'')?,
            None => rest.strip_prefix('<')?.split_once('>')?,
        };
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (plain && !name.is_empty()).then_some(name)
    })
}

fn backtracking(text: &str, ignore_case: bool, linear_error: &regex::Error) -> Result<fancy_regex::Regex, String> {
    let text = if ignore_case { Cow::Owned(format!("(?i){text}")) } else { Cow::Borrowed(text) };
    fancy_regex::RegexBuilder::new(&text).backtrack_limit(BACKTRACK_LIMIT).build().map_err(|error| match error {
        // Both engines share a parser for what both know: its own words say where the fault is.
        fancy_regex::Error::CompileError(fancy_regex::CompileError::InnerError(_)) => {
            last_line(&linear_error.to_string())
        }
        other => other.to_string(),
    })
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, ignore_case: bool, subject: &[u8]) -> Option<Captures> {
        let mut captures = Captures::default();
        Pattern::new(pattern, ignore_case).unwrap().matches(subject, &mut captures).then_some(captures)
    }

    #[test]
    fn groups_are_numbered_and_named() {
        let captures = matched(r"^/(?<user>\w+)/(x)?(\d+)$", false, b"/bob/42").unwrap();
        let numbered: Vec<_> = captures.numbered.iter().map(|group| group.as_deref()).collect();
        assert_eq!(numbered, [Some(&b"/bob/42"[..]), Some(b"bob"), None, Some(b"42")]);
        assert_eq!(captures.named, [("user".into(), b"bob".to_vec())]);
    }

    #[test]
    fn bytes_that_are_not_utf8_match_and_come_back_whole() {
        let captures = matched(r"^/(.+)\.bin$", false, b"/\xff\xfe.bin").unwrap();
        assert_eq!(captures.numbered[1].as_deref(), Some(&b"\xff\xfe"[..]));
    }

    #[test]
    fn look_around_and_back_references_work() {
        assert!(matched(r"^(?!/api/).*$", false, b"/web").is_some());
        assert!(matched(r"^(?!/api/).*$", false, b"/api/x").is_none());
        assert!(matched(r"/(\w)\1$", false, b"/aa").is_some());
        assert!(matched(r"/(\w)\1$", false, b"/ab").is_none());
        assert!(matched(r"(?<!x)/API$", true, b"/api").is_some());
    }

    #[test]
    fn catastrophic_patterns_end() {
        let subject = [b"/".as_slice(), &[b'a'; 64], b"!"].concat();
        assert!(matched(r"^/(?:(a+)+)\1$", false, &subject).is_none());
        let pattern = Pattern::new(r"^/(?:(a+)+)\1$", false).unwrap();
        assert_eq!(pattern.try_matches(&subject, &mut Captures::default()), Err(TooComplex));
    }

    #[test]
    fn case_matters_unless_told_otherwise() {
        assert!(matched(r"\.PHP$", false, b"/x.php").is_none());
        assert!(matched(r"\.PHP$", true, b"/x.php").is_some());
    }

    #[test]
    fn a_broken_pattern_says_why_in_one_line() {
        let error = Pattern::new("(", false).unwrap_err();
        assert!(!error.contains('\n') && !error.is_empty(), "{error}");
    }

    #[test]
    fn a_failed_match_leaves_earlier_groups() {
        let mut captures = matched("/(a)", false, b"/a").unwrap();
        assert!(!Pattern::new("/(b)", false).unwrap().matches(b"/a", &mut captures));
        assert_eq!(captures.numbered[1].as_deref(), Some(&b"a"[..]));
    }
}
