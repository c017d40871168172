//! PCRE's spelling of a pattern, brought to that of our engines where the two mean different things
//! by the same characters: a brace that counts nothing, an opening bracket inside a class, `\<`,
//! `\h`, `\Q…\E`, comments. What neither engine knows is left for them to refuse.

use std::borrow::Cow;

/// The same pattern for our engines.
pub(super) fn translate(pattern: &str) -> Cow<'_, str> {
    if !["{", "[", "\\<", "\\>", "\\h", "\\H", "\\e", "\\Q", "(?#", "(?'"].iter().any(|odd| pattern.contains(odd)) {
        return Cow::Borrowed(pattern);
    }
    let mut translator = Translator { rest: pattern, out: String::with_capacity(pattern.len() + 8) };
    while !translator.rest.is_empty() {
        translator.step();
    }
    Cow::Owned(translator.out)
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
}

impl<'p> Translator<'p> {
    fn take(&mut self, length: usize) -> &'p str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn take_char(&mut self) -> &'p str {
        let length = self.rest.chars().next().map_or(0, char::len_utf8);
        self.take(length)
    }

    fn copy(&mut self) {
        let taken = self.take_char();
        self.out.push_str(taken);
    }

    fn step(&mut self) {
        if self.rest.starts_with('\\') {
            self.escape(false);
        } else if self.rest.starts_with('[') {
            self.class();
        } else if self.rest.starts_with("(?#") {
            let end = self.rest.find(')').map_or(self.rest.len(), |at| at + 1);
            self.take(end);
        } else if self.rest.starts_with("(?'") {
            self.quoted_name();
        } else if self.rest.starts_with('{') && !is_count(self.rest) {
            self.take(1);
            self.out.push_str("\\{");
        } else {
            self.copy();
        }
    }

    /// `(?'name'…)` is `(?<name>…)`.
    fn quoted_name(&mut self) {
        self.take("(?'".len());
        let name = self.take(self.rest.find('\'').unwrap_or(self.rest.len()));
        self.take(1);
        self.out.push_str(&format!("(?<{name}>"));
    }

    fn escape(&mut self, in_class: bool) {
        self.take(1);
        match (self.rest.chars().next(), in_class) {
            (Some('<' | '>'), _) => self.copy(),
            (Some('h'), false) => self.instead("[ \\t]"),
            (Some('H'), false) => self.instead("[^ \\t]"),
            (Some('h'), true) => self.instead(" \\t"),
            (Some('b'), true) => self.instead("\\x08"),
            (Some('e'), _) => self.instead("\\x1b"),
            (Some('Q'), _) => self.literal(),
            (Some('E'), _) => self.instead(""),
            (Some('x' | 'p' | 'P' | 'g' | 'k'), _) => {
                self.out.push('\\');
                self.copy();
                self.braces();
            }
            _ => {
                self.out.push('\\');
                self.copy();
            }
        }
    }

    fn instead(&mut self, text: &str) {
        self.take_char();
        self.out.push_str(text);
    }

    /// `{…}` of `\x{41}`.
    fn braces(&mut self) {
        if self.rest.starts_with('{') {
            let braces = self.take(self.rest.find('}').map_or(1, |at| at + 1));
            self.out.push_str(braces);
        }
    }

    /// What stands between `\Q` and `\E` is itself.
    fn literal(&mut self) {
        self.take(1);
        let text = self.take(self.rest.find("\\E").unwrap_or(self.rest.len()));
        self.take("\\E".len());
        self.out.push_str(&regex::escape(text));
    }

    fn class(&mut self) {
        self.copy();
        if self.rest.starts_with('^') {
            self.copy();
        }
        // Right at the beginning it is a member.
        if self.rest.starts_with(']') {
            self.instead("\\]");
        }
        while !self.rest.is_empty() && !self.rest.starts_with(']') {
            match self.rest.as_bytes() {
                [b'\\', ..] => self.escape(true),
                [b'[', b':', ..] if self.rest.contains(":]") => {
                    let named = self.take(self.rest.find(":]").map_or(2, |at| at + 2));
                    self.out.push_str(named);
                }
                [b'[', ..] => self.instead("\\["),
                // Alone they are members to our engines too; twice they would combine classes.
                [b'&', ..] => self.instead("\\&"),
                [b'~', ..] => self.instead("\\~"),
                _ => self.copy(),
            }
        }
        self.copy();
    }
}

/// `{2}`, `{2,}`, `{2,3}`.
fn is_count(text: &str) -> bool {
    let Some((inside, _)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Captures, Pattern};

    #[test]
    fn odd_spellings_mean_what_pcre_means() {
        for (pattern, matching, other) in [
            (r"^/a{b}$", "/a{b}", "/ab"),
            (r"^/a{,2}$", "/a{,2}", "/aa"),
            (r"^/a{2}b{1,}c{1,2}$", "/aabcc", "/abc"),
            (r"^/[[a]$", "/[", "/]"),
            (r"^/[]a]$", "/]", "/["),
            (r"^/[^]a]$", "/[", "/]"),
            (r"^/[[:digit:]x]$", "/7", "/:"),
            (r"^/[a&&b]$", "/&", "/c"),
            (r"^/[~~]$", "/~", "/a"),
            (r"^/\<a\>$", "/<a>", "/a"),
            (r"^/[\<]$", "/<", "/a"),
            (r"^/\ha$", "/ a", "/ha"),
            (r"^/[\hx]a$", "/\ta", "/ha"),
            (r"^/\Qa.b\E$", "/a.b", "/axb"),
            (r"^/(?#what it is)a$", "/a", "/b"),
            (r"^/\x{61}\x62$", "/ab", "/x"),
            (r"^/\[x\]\{y$", "/[x]{y", "/x"),
        ] {
            let pattern = Pattern::new(pattern, false).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            let mut captures = Captures::default();
            assert!(pattern.matches(matching.as_bytes(), &mut captures), "{pattern:?} {matching}");
            assert!(!pattern.matches(other.as_bytes(), &mut captures), "{pattern:?} {other}");
        }
    }

    #[test]
    fn names_may_stand_in_quotes() {
        let mut captures = Captures::default();
        assert!(Pattern::new("^/(?'user'[a-z]+)$", false).unwrap().matches(b"/bob", &mut captures));
        assert_eq!(captures.named, [("user".into(), b"bob".to_vec())]);
    }

    #[test]
    fn usual_patterns_stay_as_they_are() {
        for pattern in [r"^/(?<user>\w+)/(\d+)$", r"\.(gif|jpe?g)$", "^é", r"^/[a-z]{2,3}/[^/]+$"] {
            assert_eq!(translate(pattern), pattern);
        }
    }

    #[test]
    fn broken_patterns_end() {
        for (pattern, translated) in
            [("(", "("), ("[", "["), ("[^", "[^"), ("a(?#b", "a"), ("\\Qa.", "a\\."), ("a{", "a\\{"), ("{\\", "\\{\\")]
        {
            assert_eq!(translate(pattern), translated, "{pattern}");
        }
    }
}
