//! `server_name`: which server of an address a host name belongs to.
//!
//! In nginx's order: the exact name, the longest `*.suffix`, the longest
//! `prefix.*`, the first regex of the file. A lookup hashes at most twice per label.

mod pattern;
mod patterns;
mod pcre;

pub use pattern::{Captures, Pattern, TooComplex, group_names};
pub use patterns::Patterns;

use ahash::AHashMap;

/// One name of a `server_name`, lower case.
#[derive(Clone, Debug)]
pub enum Name {
    Exact(Box<str>),
    /// `*.example.com`, held without its `*.`.
    Leading(Box<str>),
    /// `.example.com`, held without its dot: the name itself and all below it.
    Domain(Box<str>),
    /// `mail.*`, held without its `.*`.
    Trailing(Box<str>),
    Regex(Pattern),
}

impl Name {
    /// Reads one argument of `server_name`.
    ///
    /// # Errors
    /// nginx's words for a name that can match nothing, or what is wrong with the regex.
    pub fn parse(text: &str) -> Result<Name, String> {
        if let Some(pattern) = text.strip_prefix('~') {
            if pattern.is_empty() {
                return Err(format!("empty regex in server name \"{text}\""));
            }
            let ignore_case = pattern.bytes().any(|byte| byte.is_ascii_uppercase());
            return Pattern::new(pattern, ignore_case)
                .map(Name::Regex)
                .map_err(|why| format!("invalid regular expression \"{pattern}\": {why}"));
        }
        let lower = text.to_ascii_lowercase();
        let (kind, rest): (fn(Box<str>) -> Name, &str) = if let Some(rest) = lower.strip_prefix("*.") {
            (Name::Leading, rest)
        } else if let Some(rest) = lower.strip_prefix('.') {
            (Name::Domain, rest)
        } else if let Some(rest) = lower.strip_suffix(".*") {
            (Name::Trailing, rest)
        } else {
            (Name::Exact, &lower)
        };
        let bare = matches!(kind(Box::default()), Name::Exact(_));
        if rest.contains('*') || rest.contains("..") || (!bare && rest.is_empty()) {
            return Err(format!("invalid server name or wildcard \"{text}\""));
        }
        Ok(kind(rest.into()))
    }
}

impl Name {
    /// Whether a host (lower case, no port, no final dot) is of this name.
    pub fn is(&self, host: &[u8]) -> bool {
        let below = |name: &str| host.strip_suffix(name.as_bytes()).is_some_and(|rest| rest.ends_with(b"."));
        match self {
            Name::Exact(name) => name.as_bytes() == host,
            Name::Leading(name) => below(name),
            Name::Domain(name) => name.as_bytes() == host || below(name),
            Name::Trailing(name) => host.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b".")),
            Name::Regex(pattern) => pattern.matches(host, &mut Captures::default()),
        }
    }
}

/// All names of one address. `T` stands for a server.
#[derive(Debug)]
pub struct Names<T> {
    exact: AHashMap<Box<[u8]>, T>,
    leading: AHashMap<Box<[u8]>, T>,
    trailing: AHashMap<Box<[u8]>, T>,
    patterns: Patterns<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names {
            exact: AHashMap::default(),
            leading: AHashMap::default(),
            trailing: AHashMap::default(),
            patterns: Patterns::default(),
        }
    }
}

impl<T: Clone> Names<T> {
    /// False when another server has the name already: the first one keeps it.
    pub fn add(&mut self, name: &Name, server: T) -> bool {
        match name {
            Name::Exact(text) => insert(&mut self.exact, text, server),
            Name::Leading(text) => insert(&mut self.leading, text, server),
            Name::Trailing(text) => insert(&mut self.trailing, text, server),
            Name::Domain(text) => {
                let key = text.as_bytes();
                if self.exact.contains_key(key) || self.leading.contains_key(key) {
                    return false;
                }
                insert(&mut self.exact, text, server.clone()) && insert(&mut self.leading, text, server)
            }
            Name::Regex(pattern) => {
                self.patterns.push(pattern.clone(), server);
                true
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.leading.is_empty() && self.trailing.is_empty() && self.patterns.is_empty()
    }

    pub fn have_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The server of `host` (lower case, no port, no final dot).
    pub fn find(&self, host: &[u8], captures: &mut Captures) -> Option<&T> {
        self.exact
            .get(host)
            .or_else(|| self.find_leading(host))
            .or_else(|| self.find_trailing(host))
            .or_else(|| self.find_pattern(host, captures))
    }

    /// Makes one automaton of the patterns, once all are there.
    pub fn join_patterns(&mut self) {
        self.patterns.join();
    }

    fn find_pattern(&self, host: &[u8], captures: &mut Captures) -> Option<&T> {
        let mut candidates = self.patterns.candidates(host);
        candidates.find(|(pattern, _)| pattern.matches(host, captures)).map(|(_, server)| server)
    }

    fn find_leading(&self, host: &[u8]) -> Option<&T> {
        if self.leading.is_empty() {
            return None;
        }
        memchr::memchr_iter(b'.', host).find_map(|dot| self.leading.get(host.get(dot + 1..)?))
    }

    fn find_trailing(&self, host: &[u8]) -> Option<&T> {
        if self.trailing.is_empty() {
            return None;
        }
        memchr::memrchr_iter(b'.', host).find_map(|dot| self.trailing.get(host.get(..dot)?))
    }
}

fn insert<T>(map: &mut AHashMap<Box<[u8]>, T>, text: &str, server: T) -> bool {
    let mut added = false;
    map.entry(text.as_bytes().into()).or_insert_with(|| {
        added = true;
        server
    });
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&'static str]) -> Names<&'static str> {
        let mut names = Names::default();
        for &text in list {
            assert!(names.add(&Name::parse(text).unwrap(), text), "{text} conflicts");
        }
        names
    }

    fn find(names: &Names<&'static str>, host: &str) -> Option<&'static str> {
        names.find(host.as_bytes(), &mut Captures::default()).copied()
    }

    #[test]
    fn the_order_is_exact_leading_trailing_regex() {
        let names = names(&[r"~^www\..*$", "www.*", "*.example.com", "www.example.com", "*.a.example.com"]);
        assert_eq!(find(&names, "www.example.com"), Some("www.example.com"));
        assert_eq!(find(&names, "x.example.com"), Some("*.example.com"));
        assert_eq!(find(&names, "x.a.example.com"), Some("*.a.example.com"));
        assert_eq!(find(&names, "www.x.a.example.com"), Some("*.a.example.com"));
        assert_eq!(find(&names, "www.other.org"), Some("www.*"));
        assert_eq!(find(&names, "example.com"), None);
        assert_eq!(find(&names, "mail.org"), None);
    }

    #[test]
    fn the_longest_trailing_wildcard_wins() {
        let names = names(&["mail.*", "mail.example.*"]);
        assert_eq!(find(&names, "mail.example.org"), Some("mail.example.*"));
        assert_eq!(find(&names, "mail.example.co.uk"), Some("mail.example.*"));
        assert_eq!(find(&names, "mail.org"), Some("mail.*"));
        assert_eq!(find(&names, "mail"), None);
    }

    #[test]
    fn a_domain_holds_itself_and_all_below() {
        let names = names(&[".example.com"]);
        for host in ["example.com", "www.example.com", "a.b.example.com"] {
            assert_eq!(find(&names, host), Some(".example.com"), "{host}");
        }
        assert_eq!(find(&names, "badexample.com"), None);
    }

    #[test]
    fn regexes_run_in_file_order_and_capture() {
        let names = names(&[r"~^(?<sub>\w+)\.example\.com$", "~example"]);
        let mut captures = Captures::default();
        let found = names.find(b"shop.example.com", &mut captures).copied();
        assert_eq!(found, Some(r"~^(?<sub>\w+)\.example\.com$"));
        assert_eq!(captures.named, [("sub".into(), b"shop".to_vec())]);
        assert_eq!(find(&names, "a.b.example.com"), Some("~example"));
    }

    #[test]
    fn a_name_alone_takes_what_a_table_of_it_takes() {
        let hosts =
            ["example.com", "a.example.com", "b.a.example.com", "badexample.com", "mail.org", "mail", "mail.", ""];
        for text in ["example.com", "*.example.com", ".example.com", "mail.*", "~^m", ""] {
            let name = Name::parse(text).unwrap();
            let mut table = Names::default();
            table.add(&name, ());
            for host in hosts {
                let found = table.find(host.as_bytes(), &mut Captures::default()).is_some();
                assert_eq!(name.is(host.as_bytes()), found, "{text} {host}");
            }
        }
    }

    #[test]
    fn the_first_server_keeps_a_name() {
        let mut names = names(&["a.com", "*.b.com"]);
        assert!(!names.add(&Name::parse("A.com").unwrap(), "second"));
        assert!(!names.add(&Name::parse(".b.com").unwrap(), "second"));
        assert_eq!(find(&names, "b.com"), None);
    }

    #[test]
    fn names_that_match_nothing_are_refused() {
        for text in ["a.*.com", "*", "*.", "www*", "a..com", "~", "~("] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
        assert!(Name::parse("").is_ok() && Name::parse("_").is_ok());
    }
}
