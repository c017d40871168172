//! What an `if` asks.

use super::file_test::Kind;
use crate::route::Pattern;
use crate::variables::{self, Variable, custom};
use fairlead_conf::{Cx, Diagnostic, Given, Piece, Template, Word};

#[derive(Clone)]
pub(crate) struct Condition {
    pub(super) test: Test,
    /// `!=`, `!~`, `!-f`.
    pub(super) negated: bool,
}

#[derive(Clone)]
pub(super) enum Test {
    /// Neither empty nor `0`.
    True(Variable),
    Equals(Variable, Template<Variable>),
    /// With the pattern as written.
    Matches(Variable, Pattern, Box<str>),
    File(Kind, Template<Variable>),
}

impl Condition {
    /// Reads the words between `if` and its brace.
    ///
    /// # Errors
    /// nginx's words for what is no condition.
    pub fn parse(given: &Given<'_>) -> Result<Condition, Diagnostic> {
        let words = unwrap(given.words())?;
        let first = words.first().map_or("", |word| &*word.text);
        let invalid = |word: Option<&Word>| invalid(word.unwrap_or(&given.statement.name));
        match (first.as_bytes(), words.as_slice()) {
            ([b'$', _, ..], [variable]) => Ok(Condition { test: Test::True(one(variable, given.cx)?), negated: false }),
            ([b'$', _, ..], [variable, operator, value]) => compare(variable, operator, value, given.cx),
            ([b'-', letter], [operator, path]) => file(operator, *letter, path, (false, given.cx)),
            ([b'!', b'-', letter], [operator, path]) => file(operator, *letter, path, (true, given.cx)),
            _ => Err(invalid(words.first().or(given.words().last()))),
        }
    }
}

fn invalid(word: &Word) -> Diagnostic {
    let error = Diagnostic::error(word.span, format!("invalid condition \"{}\"", word.text));
    error.help(
        "write ($variable), ($variable = text), ($variable ~ regex) or (-f path); =, ~, ~*, -f, -d, -e and -x \
                are negated by a ! before them",
    )
}

/// The words without the brackets around them.
fn unwrap(words: &[Word]) -> Result<Vec<Word>, Diagnostic> {
    let mut words = words.to_vec();
    match words.first_mut() {
        Some(first) if first.text.starts_with('(') => *first = first.tail(1),
        Some(first) => return Err(invalid(first)),
        None => {}
    }
    let alone = words.len() == 1;
    match words.last_mut() {
        Some(last) if alone && &*last.text == ")" => return Err(invalid(last)),
        Some(last) if last.text.ends_with(')') => *last = last.head(last.text.len() - 1),
        Some(last) => return Err(invalid(last)),
        None => {}
    }
    // A bracket may stand alone.
    if words.len() > 1 && words.last().is_some_and(|word| word.text.is_empty()) {
        words.pop();
    }
    if words.len() > 1 && words.first().is_some_and(|word| word.text.is_empty()) {
        words.remove(0);
    }
    Ok(words)
}

/// A word that is one variable, and no group: nginx looks these up by name.
fn one(word: &Word, cx: &Cx) -> Result<Variable, Diagnostic> {
    let template = variables::compile(word, cx)?;
    match <[_; 1]>::try_from(template.pieces) {
        Ok([Piece::Variable(variable)]) if !matches!(variable, Variable::Group(_)) => Ok(variable),
        _ => {
            let name = word.text.get(1..).unwrap_or_default();
            let unknown = Diagnostic::error(word.span, format!("unknown \"{name}\" variable"));
            Err(unknown.help("one variable stands here; `set` another one to what is to be compared"))
        }
    }
}

fn compare(variable: &Word, operator: &Word, value: &Word, cx: &Cx) -> Result<Condition, Diagnostic> {
    let variable = one(variable, cx)?;
    let (operation, negated) = match operator.text.strip_prefix('!') {
        Some(operation) => (operation, true),
        None => (&*operator.text, false),
    };
    let test = match operation {
        "=" => Test::Equals(variable, variables::compile(value, cx)?),
        "~" | "~*" => {
            custom::check_groups(value)?;
            let pattern = Pattern::new(&value.text, operation == "~*").map_err(|why| no_regex(value, &why))?;
            Test::Matches(variable, pattern, value.text.clone())
        }
        _ => {
            let message = format!("unexpected \"{}\" in condition", operator.text);
            return Err(Diagnostic::error(operator.span, message).help("write =, !=, ~, ~*, !~ or !~*"));
        }
    };
    Ok(Condition { test, negated })
}

pub(super) fn no_regex(word: &Word, why: &str) -> Diagnostic {
    let problem = Diagnostic::error(word.span, format!("invalid regular expression \"{}\": {why}", word.text));
    problem.help("it is read as PCRE reads it; put it in quotes if it holds {, } or ;")
}

fn file(operator: &Word, letter: u8, path: &Word, (negated, cx): (bool, &Cx)) -> Result<Condition, Diagnostic> {
    let kind = match letter {
        b'f' => Kind::File,
        b'd' => Kind::Folder,
        b'e' => Kind::Either,
        b'x' => Kind::Executable,
        _ => return Err(invalid(operator)),
    };
    Ok(Condition { test: Test::File(kind, variables::compile(path, cx)?), negated })
}
