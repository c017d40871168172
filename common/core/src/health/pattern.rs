//! Regular expressions over bytes, as nginx's PCRE matches them: a byte is a
//! character, so that an answer needs no encoding and `\x80` is one byte.
//!
//! The engine works on text: bytes become the first 256 characters of Unicode,
//! in the pattern and in what it is matched with.

use fairlead_conf::{Diagnostic, Word};
use fancy_regex::{Regex, RegexBuilder};

/// Steps back before a match is given up: a few milliseconds at most.
const BACKTRACKS: usize = 100_000;

#[derive(Debug)]
pub(super) struct Pattern(Regex);

/// The pattern needs more work on this text than it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooComplex;

impl Pattern {
    /// # Errors
    /// A pattern that does not parse, in nginx's words.
    pub(super) fn compile(word: &Word, insensitive: bool) -> Result<Pattern, Diagnostic> {
        let pattern = characters(word.text.as_bytes());
        let mut builder = RegexBuilder::new(&pattern);
        let built = builder.case_insensitive(insensitive).backtrack_limit(BACKTRACKS).build();
        built.map(Pattern).map_err(|error| {
            let problem = error.to_string();
            let problem = problem.lines().last().unwrap_or_default().trim();
            Diagnostic::error(word.span, format!("regular expression \"{}\" failed: {problem}", word.text))
        })
    }

    /// Whether it matches somewhere in `bytes`.
    ///
    /// # Errors
    /// [`TooComplex`] when that takes too long to tell.
    pub(super) fn is_match(&self, bytes: &[u8]) -> Result<bool, TooComplex> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => self.0.is_match(text),
            _ => self.0.is_match(&characters(bytes)),
        }
        .map_err(|_| TooComplex)
    }
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str, insensitive: bool) -> Pattern {
        let word = Word { text: text.into(), span: fairlead_conf::Span::default(), quoted: false };
        Pattern::compile(&word, insensitive).unwrap()
    }

    #[test]
    fn a_byte_is_a_character() {
        assert_eq!(pattern(r"^\x80.\xff$", false).is_match(&[0x80, 0, 0xff]), Ok(true));
        assert_eq!(pattern("^..$", false).is_match("é".as_bytes()), Ok(true));
        assert_eq!(pattern("caf\u{e9}", false).is_match("un café".as_bytes()), Ok(true));
        assert_eq!(pattern("welcome", true).is_match(b"WELCOME"), Ok(true));
        assert_eq!(pattern("welcome", false).is_match(b"WELCOME"), Ok(false));
    }

    #[test]
    fn backtracking_is_bounded() {
        let text = [&b"ab".repeat(40)[..], b"x"].concat();
        assert_eq!(pattern("(a|b|ab)*(?=c)", false).is_match(&text), Err(TooComplex));
        assert_eq!(pattern("^(a|b|ab)*x", false).is_match(&text), Ok(true));
    }

    #[test]
    fn a_broken_pattern_is_an_error_that_shows_it() {
        let word = Word { text: "a(".into(), span: fairlead_conf::Span::default(), quoted: false };
        let message = Pattern::compile(&word, false).unwrap_err().message;
        assert!(message.starts_with("regular expression \"a(\" failed: "), "{message}");
    }
}
