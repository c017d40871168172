//! The rows of `match NAME { … }`, in http and in stream.
//!
//! They keep words; [`crate::health::Match::build`] compiles them.

use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value, Word};

/// One `match` block as written.
#[derive(Clone, Debug)]
pub struct MatchSettings {
    pub name: Word,
    pub(super) statuses: Vec<StatusTest>,
    pub(super) headers: Vec<HeaderTest>,
    pub(super) bodies: Vec<(Operator, Word)>,
    pub(super) send: Option<Word>,
    pub(super) expect: Option<Expected>,
    /// The variables of `require`.
    pub(super) requires: Vec<Word>,
}

impl MatchSettings {
    pub fn new(name: Word) -> MatchSettings {
        MatchSettings {
            name,
            statuses: Vec::new(),
            headers: Vec::new(),
            bodies: Vec::new(),
            send: None,
            expect: None,
            requires: Vec::new(),
        }
    }
}

/// `status [!] 200 301-303 …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatusTest {
    pub negated: bool,
    /// First and last of each range.
    pub ranges: Vec<(u16, u16)>,
}

/// `header …`.
#[derive(Clone, Debug)]
pub(super) enum HeaderTest {
    Present(Box<str>),
    Absent(Box<str>),
    Compare(Box<str>, Operator, Word),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Matches { insensitive: bool },
    MatchesNot { insensitive: bool },
}

/// `expect string` or `expect ~ regex`.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Literal(Word),
    Regex { pattern: Word, insensitive: bool },
}

impl Operator {
    fn parse(word: &Word) -> Option<Operator> {
        match &*word.text {
            _ if word.quoted => None,
            "=" => Some(Operator::Equal),
            "!=" => Some(Operator::NotEqual),
            "~" => Some(Operator::Matches { insensitive: false }),
            "~*" => Some(Operator::Matches { insensitive: true }),
            "!~" => Some(Operator::MatchesNot { insensitive: false }),
            "!~*" => Some(Operator::MatchesNot { insensitive: true }),
            _ => None,
        }
    }

    fn is_regex(self) -> bool {
        matches!(self, Operator::Matches { .. } | Operator::MatchesNot { .. })
    }
}

/// Rows of a `match` block in http.
pub const MATCH_HTTP_DIRECTIVES: &[Directive<MatchSettings>] = &[
    Directive {
        name: "status",
        contexts: Contexts::MATCH,
        args: Args::at_least(1, &[Value::Text], "[!] code | code-code …"),
        repeat: Repeat::Append,
        default: None,
        doc: "The status is, or with ! is not, among these codes and ranges of codes.",
        set: |settings, given| status(given).map(|test| settings.statuses.push(test)),
    },
    Directive {
        name: "header",
        contexts: Contexts::MATCH,
        args: Args::between(1, 3, &[Value::Text], "name | ! name | name = value | name != value | name [!]~[*] regex"),
        repeat: Repeat::Append,
        default: None,
        doc: "The header is there, is not there, or is there with a value that is or is not so.",
        set: |settings, given| header(given).map(|test| settings.headers.push(test)),
    },
    Directive {
        name: "body",
        contexts: Contexts::MATCH,
        args: Args::exactly(&[Value::Text, Value::Text], "[!]~[*] regex"),
        repeat: Repeat::Append,
        default: None,
        doc: "The first 256k of the body match, or with ! do not match, the expression.",
        set: |settings, given| {
            let operator = Operator::parse(given.word(0)).filter(|operator| operator.is_regex());
            let operator = operator.ok_or_else(|| invalid(given, 0).help("write ~, ~*, !~ or !~*"))?;
            settings.bodies.push((operator, given.word(1).clone()));
            Ok(())
        },
    },
    Directive {
        name: "require",
        contexts: Contexts::MATCH,
        args: Args::at_least(1, &[Value::Text], "$variable …"),
        repeat: Repeat::Append,
        default: None,
        doc: "None of these variables is empty or \"0\". They tell of the answer (`$upstream_status`, \
              `$upstream_http_name`, `$upstream_response_time`, …) and of what `map` makes of that; those of a \
              client's request have no value.",
        set: |settings, given| {
            if let Some(word) = given.words().iter().find(|word| !word.text.starts_with('$')) {
                return Err(Diagnostic::error(word.span, format!("invalid variable name \"{}\"", word.text)));
            }
            settings.requires.extend(given.words().iter().cloned());
            Ok(())
        },
    },
];

/// Rows of a `match` block in stream.
pub const MATCH_STREAM_DIRECTIVES: &[Directive<MatchSettings>] = &[
    Directive {
        name: "send",
        contexts: Contexts::STREAM_MATCH,
        args: Args::exactly(&[Value::Text], "string"),
        repeat: Repeat::Once,
        default: None,
        doc: "Bytes to send to the peer; \\xHH is the byte of these two hexadecimal digits.",
        set: |settings, given| {
            settings.send = Some(given.word(0).clone());
            Ok(())
        },
    },
    Directive {
        name: "expect",
        contexts: Contexts::STREAM_MATCH,
        args: Args::between(1, 2, &[Value::Text], "string | ~[*] regex"),
        repeat: Repeat::Once,
        default: None,
        doc: "What the peer's answer holds: bytes, with \\xHH as in send, or a match of the expression.",
        set: |settings, given| expect(given).map(|expected| settings.expect = Some(expected)),
    },
];

fn invalid(given: &Given<'_>, index: usize) -> Diagnostic {
    given.error(index, format!("invalid parameter \"{}\"", given.text(index)))
}

fn status(given: &Given<'_>) -> Result<StatusTest, Diagnostic> {
    let negated = given.text(0) == "!";
    let first = usize::from(negated);
    if given.len() == first {
        return Err(invalid(given, 0).help("write codes after the !: status ! 500 503"));
    }
    let ranges = (first..given.len()).map(|index| {
        let wrong = || given.error(index, format!("invalid status \"{}\"", given.text(index)));
        range(given.text(index)).ok_or_else(|| wrong().help("write a code or a range: 200, 200-399"))
    });
    Ok(StatusTest { negated, ranges: ranges.collect::<Result<_, _>>()? })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| text.len() == 3 && (100..=999).contains(code));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some((first, last))
}

fn header(given: &Given<'_>) -> Result<HeaderTest, Diagnostic> {
    let name = |index: usize| {
        let text = given.text(index);
        let known = hyper::header::HeaderName::from_bytes(text.as_bytes()).is_ok() && text != "!";
        let wrong = || given.error(index, format!("invalid header name \"{text}\""));
        known.then(|| Box::<str>::from(text)).ok_or_else(wrong)
    };
    match given.len() {
        1 => name(0).map(HeaderTest::Present),
        2 if given.text(0) == "!" => name(1).map(HeaderTest::Absent),
        2 => Err(invalid(given, 1).help("write header Name, header ! Name or header Name = value")),
        _ => {
            let operator = Operator::parse(given.word(1));
            let operator = operator.ok_or_else(|| invalid(given, 1).help("write =, !=, ~, ~*, !~ or !~*"))?;
            Ok(HeaderTest::Compare(name(0)?, operator, given.word(2).clone()))
        }
    }
}

fn expect(given: &Given<'_>) -> Result<Expected, Diagnostic> {
    if given.len() == 1 {
        return Ok(Expected::Literal(given.word(0).clone()));
    }
    match Operator::parse(given.word(0)) {
        Some(Operator::Matches { insensitive }) => Ok(Expected::Regex { pattern: given.word(1).clone(), insensitive }),
        _ => Err(invalid(given, 0).help("write ~ or ~* before an expression")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use fairlead_conf::{Block, Cx, Level, Span, Statement};
    use std::path::Path;

    pub(in crate::health) fn cx() -> Cx {
        Cx::new(Path::new("/"), Path::new("/"))
    }

    pub(in crate::health) fn word(text: &str) -> Word {
        Word { text: text.into(), span: Span::default(), quoted: false }
    }

    pub(in crate::health) fn statement(name: &str, words: &[&str]) -> Statement {
        Statement { name: word(name), args: words.iter().map(|text| word(text)).collect(), block: None }
    }

    /// The settings of a block of these lines, and what was wrong with it.
    pub(in crate::health) fn settings(lines: &[&[&str]], http: bool) -> (MatchSettings, Vec<String>) {
        let statements = lines.iter().map(|line| statement(line[0], &line[1..])).collect();
        let block = Block { statements, span: Span::default() };
        let (context, rows) = match http {
            true => (Contexts::MATCH, MATCH_HTTP_DIRECTIVES),
            false => (Contexts::STREAM_MATCH, MATCH_STREAM_DIRECTIVES),
        };
        let (mut settings, cx) = (MatchSettings::new(word("test")), cx());
        Level::new(context).with(rows, |settings| settings).eval(&block, &mut settings, &cx);
        let problems = cx.diagnostics.take().into_iter().map(|diagnostic| diagnostic.message).collect();
        (settings, problems)
    }

    #[test]
    fn wrong_tests_are_refused() {
        let refused: &[&[&str]] = &[
            &["status", "!"],
            &["status", "20"],
            &["status", "399-200"],
            &["status", "2xx"],
            &["header", "!"],
            &["header", "Na me"],
            &["header", "Name", "="],
            &["header", "Name", "==", "x"],
            &["body", "=", "x"],
            &["body", "x"],
            &["require", "ok"],
        ];
        for line in refused {
            assert_eq!(settings(&[line], true).1.len(), 1, "{line:?}");
        }
        for line in [&["expect", "!~", "x"][..], &["expect", "=", "x"], &["send"]] {
            assert_eq!(settings(&[line], false).1.len(), 1, "{line:?}");
        }
    }
}
