//! A compiled `match` block, and the judgement of an answer by it.
//!
//! No I/O: the probe hands in what has arrived.

use crate::health::block::{Expected, HeaderTest, MatchSettings, Operator, StatusTest};
use crate::health::pattern::{Pattern, TooComplex};
use fairlead_conf::{Cx, Diagnostic, Word};
use hyper::header::HeaderMap;
use std::sync::Arc;

/// A compiled `match` block: what an answer must be.
#[derive(Debug)]
pub struct Match {
    pub name: Box<str>,
    statuses: Vec<StatusTest>,
    headers: Vec<(Box<str>, Wanted)>,
    bodies: Vec<(Pattern, bool)>,
    send: Option<Vec<u8>>,
    expect: Option<Expectation>,
    requires: Vec<Word>,
}

/// What a header has to be.
#[derive(Debug)]
enum Wanted {
    Present,
    Absent,
    Equal(Box<str>),
    NotEqual(Box<str>),
    Matching(Pattern),
    NotMatching(Pattern),
}

#[derive(Debug)]
enum Expectation {
    Literal(Vec<u8>),
    Pattern(Pattern),
}

/// What part of an answer is wrong, in the words of nginx's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Status,
    Header,
    Body,
}

impl Match {
    /// Compiles a block. Problems go to `cx`.
    pub fn build(settings: &MatchSettings, cx: &Cx) -> Option<Arc<Match>> {
        Match::compile(settings).map(Arc::new).map_err(|problem| cx.report(problem)).ok()
    }

    fn compile(settings: &MatchSettings) -> Result<Match, Diagnostic> {
        let headers = settings.headers.iter().map(|test| {
            Ok(match test {
                HeaderTest::Present(name) => (name.clone(), Wanted::Present),
                HeaderTest::Absent(name) => (name.clone(), Wanted::Absent),
                HeaderTest::Compare(name, operator, value) => (name.clone(), Wanted::compile(*operator, value)?),
            })
        });
        let bodies = settings.bodies.iter().map(|(operator, pattern)| {
            let insensitive = matches!(
                operator,
                Operator::Matches { insensitive: true } | Operator::MatchesNot { insensitive: true }
            );
            let wanted = matches!(operator, Operator::Matches { .. });
            Ok((Pattern::compile(pattern, insensitive)?, wanted))
        });
        let expect = settings.expect.as_ref().map(|expected| match expected {
            Expected::Literal(word) => unescape(word).map(Expectation::Literal),
            Expected::Regex { pattern, insensitive } => {
                Pattern::compile(pattern, *insensitive).map(Expectation::Pattern)
            }
        });
        Ok(Match {
            name: settings.name.text.clone(),
            statuses: settings.statuses.clone(),
            headers: headers.collect::<Result<_, Diagnostic>>()?,
            bodies: bodies.collect::<Result<_, Diagnostic>>()?,
            send: settings.send.as_ref().map(unescape).transpose()?,
            expect: expect.transpose()?,
            requires: settings.requires.clone(),
        })
    }

    /// The variables of `require`, for the plane to compile.
    pub fn requires(&self) -> &[Word] {
        &self.requires
    }

    /// Judges what comes before the body of an HTTP answer.
    pub(super) fn head(&self, status: u16, headers: &HeaderMap) -> Result<(), Mismatch> {
        if !self.statuses.iter().all(|test| test.holds(status)) {
            return Err(Mismatch::Status);
        }
        match self.headers.iter().all(|(name, wanted)| wanted.holds(name, headers)) {
            true => Ok(()),
            false => Err(Mismatch::Header),
        }
    }

    pub(super) fn wants_body(&self) -> bool {
        !self.bodies.is_empty()
    }

    pub(super) fn body(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        match self.bodies.iter().all(|(pattern, wanted)| pattern.is_match(bytes) == Ok(*wanted)) {
            true => Ok(()),
            false => Err(Mismatch::Body),
        }
    }

    pub(super) fn send(&self) -> Option<&[u8]> {
        self.send.as_deref()
    }

    pub(super) fn expects(&self) -> bool {
        self.expect.is_some()
    }

    /// Whether the answer so far is what is expected; more of it may make it so.
    ///
    /// # Errors
    /// An expression that takes too long.
    pub(super) fn is_answer(&self, bytes: &[u8]) -> Result<bool, TooComplex> {
        match &self.expect {
            None => Ok(true),
            Some(Expectation::Literal(literal)) => Ok(memchr::memmem::find(bytes, literal).is_some()),
            Some(Expectation::Pattern(pattern)) => pattern.is_match(bytes),
        }
    }
}

impl StatusTest {
    fn holds(&self, status: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&status)) != self.negated
    }
}

impl Wanted {
    fn compile(operator: Operator, value: &Word) -> Result<Wanted, Diagnostic> {
        Ok(match operator {
            Operator::Equal => Wanted::Equal(value.text.clone()),
            Operator::NotEqual => Wanted::NotEqual(value.text.clone()),
            Operator::Matches { insensitive } => Wanted::Matching(Pattern::compile(value, insensitive)?),
            Operator::MatchesNot { insensitive } => Wanted::NotMatching(Pattern::compile(value, insensitive)?),
        })
    }

    /// Of several lines of a header one has to be as wanted, and none as unwanted.
    fn holds(&self, name: &str, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(name).iter().map(|value| value.as_bytes()).peekable();
        if lines.peek().is_none() {
            return matches!(self, Wanted::Absent);
        }
        match self {
            Wanted::Present => true,
            Wanted::Absent => false,
            Wanted::Equal(value) => lines.any(|line| line == value.as_bytes()),
            Wanted::NotEqual(value) => lines.all(|line| line != value.as_bytes()),
            Wanted::Matching(pattern) => lines.any(|line| pattern.is_match(line) == Ok(true)),
            Wanted::NotMatching(pattern) => lines.all(|line| pattern.is_match(line) == Ok(false)),
        }
    }
}

/// The word's bytes, with each `\xHH` as one byte.
fn unescape(word: &Word) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = Vec::with_capacity(word.text.len());
    let mut rest = word.text.as_bytes();
    while let Some(at) = memchr::memmem::find(rest, b"\\x") {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before);
        let byte = escape.get(2..4).and_then(hex);
        bytes.push(byte.ok_or_else(|| {
            let message = format!("invalid hexadecimal escape in \"{}\"", word.text);
            Diagnostic::error(word.span, message).help("write two hexadecimal digits after \\x")
        })?);
        rest = escape.get(4..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match digits {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::block::tests::{cx, settings};

    fn built(lines: &[&[&str]], http: bool) -> Arc<Match> {
        let (settings, problems) = settings(lines, http);
        assert_eq!(problems, [""; 0]);
        Match::build(&settings, &cx()).unwrap()
    }

    #[test]
    fn statuses_are_judged_as_nginx_documents_them() {
        for (line, passing, failing) in [
            (&["status", "200"][..], &[200][..], &[201, 500][..]),
            (&["status", "!", "500"], &[200, 503], &[500]),
            (&["status", "200", "204"], &[200, 204], &[202]),
            (&["status", "!", "301", "302"], &[200, 303], &[301, 302]),
            (&["status", "200-399"], &[200, 301, 399], &[199, 400]),
            (&["status", "!", "400-599"], &[200, 600], &[400, 599]),
            (&["status", "301-303", "307"], &[301, 302, 303, 307], &[300, 304, 308]),
        ] {
            let block = built(&[line], true);
            let verdict = |status: &u16| block.head(*status, &HeaderMap::new());
            assert!(passing.iter().all(|status| verdict(status).is_ok()), "{line:?}");
            assert!(failing.iter().all(|status| verdict(status) == Err(Mismatch::Status)), "{line:?}");
        }
    }

    #[test]
    fn headers_are_judged_as_nginx_documents_them() {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "text/html".parse().unwrap());
        headers.append("Via", "one".parse().unwrap());
        headers.append("Via", "two".parse().unwrap());
        for (line, passes) in [
            (&["header", "content-type", "=", "text/html"][..], true),
            (&["header", "Content-Type", "=", "text"], false),
            (&["header", "Content-Type", "!=", "text/plain"], true),
            (&["header", "Content-Type", "!=", "text/html"], false),
            (&["header", "Content-Type", "~", "^text/"], true),
            (&["header", "Content-Type", "~*", "HTML"], true),
            (&["header", "Content-Type", "!~", "json"], true),
            (&["header", "Content-Type", "!~", "html"], false),
            (&["header", "Content-Type"], true),
            (&["header", "!", "Content-Type"], false),
            (&["header", "Host"], false),
            (&["header", "!", "Host"], true),
            // Only what is there can differ.
            (&["header", "Host", "!=", "x"], false),
            (&["header", "Host", "!~", "x"], false),
            (&["header", "Via", "=", "two"], true),
            (&["header", "Via", "!=", "two"], false),
        ] {
            let verdict = built(&[line], true).head(200, &headers);
            assert_eq!(verdict, if passes { Ok(()) } else { Err(Mismatch::Header) }, "{line:?}");
        }
    }

    #[test]
    fn all_tests_of_a_block_have_to_pass() {
        let block = built(&[&["status", "200-299"], &["body", "~", "Welcome"], &["body", "!~", "maintenance"]], true);
        assert!(block.wants_body());
        assert_eq!(block.body(b"Welcome to nginx!"), Ok(()));
        assert_eq!(block.body(b"Welcome, maintenance \xff"), Err(Mismatch::Body));
        assert_eq!(block.body(b"\x80"), Err(Mismatch::Body));
    }

    #[test]
    fn stream_answers_may_be_any_bytes() {
        let block = built(&[&["send", r"\x80a\x0D"], &["expect", r"PO\x4eG\xFF"]], false);
        assert_eq!(block.send(), Some(&[0x80, b'a', 13][..]));
        assert_eq!(block.is_answer(b"+PON"), Ok(false));
        assert_eq!(block.is_answer(b"+PONG\xff\r\n"), Ok(true));
        let block = built(&[&["expect", "~*", r"^\x80.*ok$"]], false);
        assert_eq!(block.is_answer(b"\x80 all OK"), Ok(true));
        assert!(block.send().is_none() && block.expects());
    }

    #[test]
    fn what_does_not_compile_is_reported() {
        for (line, http) in [
            (&["send", r"\x8"][..], false),
            (&["expect", r"\xgg"], false),
            (&["expect", "~", "("], false),
            (&["body", "~", "["], true),
            (&["header", "A", "~", "*"], true),
        ] {
            let cx = cx();
            assert!(Match::build(&settings(&[line], http).0, &cx).is_none(), "{line:?}");
            assert!(cx.has_errors());
        }
    }
}
