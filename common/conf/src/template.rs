//! Text with `$variables`, compiled once. The plane says what its variables are.

use crate::spelling::slips;
use crate::{Diagnostic, Span, Word};
use std::ops::Range;

/// Text and variables in order. `V` is the plane's own variable type.
#[derive(Clone, Debug, PartialEq)]
pub struct Template<V> {
    pub pieces: Vec<Piece<V>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Piece<V> {
    Text(Box<str>),
    Variable(V),
}

impl<V> Template<V> {
    /// Compiles `$name`, `${name}`, `$1`. `resolve` names the plane's variable or gives `None`,
    /// which is the error `unknown "name" variable`.
    pub fn compile(word: &Word, resolve: &dyn Fn(&str) -> Option<V>) -> Result<Template<V>, Diagnostic> {
        let text = &*word.text;
        let mut pieces = Vec::new();
        let mut done = 0;
        while let Some(dollar) = text.get(done..).and_then(|rest| rest.find('$')).map(|at| done + at) {
            push_text(&mut pieces, text.get(done..dollar));
            let (name, end) = variable(word, dollar)?;
            let unknown = || unknown(word.part(dollar..end), name, resolve);
            pieces.push(Piece::Variable(resolve(name).ok_or_else(unknown)?));
            done = end;
        }
        push_text(&mut pieces, text.get(done..));
        Ok(Template { pieces })
    }

    /// The text when no variable is in it.
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text, asking `value` to append each variable.
    pub fn render(&self, out: &mut Vec<u8>, mut value: impl FnMut(&V, &mut Vec<u8>)) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => value(variable, out),
            }
        }
    }

    /// Every variable in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable(variable) => Some(variable),
        })
    }
}

fn unknown<V>(span: Span, name: &str, resolve: &dyn Fn(&str) -> Option<V>) -> Diagnostic {
    let error = Diagnostic::error(span, format!("unknown \"{name}\" variable"));
    // Names are only known by asking, so ask for everything one slip away.
    match slips(name).into_iter().find(|other| resolve(other).is_some()) {
        Some(meant) => error.help(format!("did you mean \"${meant}\"?")),
        None => error.help("no variable of this name exists here"),
    }
}

fn push_text<V>(pieces: &mut Vec<Piece<V>>, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        pieces.push(Piece::Text(text.into()));
    }
}

/// The name after the `$` at `dollar`, and where the text goes on.
fn variable(word: &Word, dollar: usize) -> Result<(&str, usize), Diagnostic> {
    let text = &*word.text;
    let error = |range: Range<usize>, message: String| Err(Diagnostic::error(word.part(range), message));
    let after = text.get(dollar + 1..).unwrap_or("");
    // A capture has one digit, as in nginx: `$10` is `$1` and a zero.
    if after.starts_with(|c: char| matches!(c, '1'..='9')) {
        return Ok((after.get(..1).unwrap_or(""), dollar + 2));
    }
    let braced = after.starts_with('{');
    let start = dollar + 1 + usize::from(braced);
    let rest = text.get(start..).unwrap_or("");
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let end = start + length;
    let name = text.get(start..end).unwrap_or("");
    let closed = text.get(end..).is_some_and(|rest| rest.starts_with('}'));
    if braced && !closed && !rest.is_empty() {
        let missing = error(dollar..end, format!("the closing bracket in \"{name}\" variable is missing"));
        return missing.map_err(|missing| missing.help(format!("write ${{{name}}}")));
    }
    if name.is_empty() {
        let wrong = error(dollar..start, "invalid variable name".into());
        return wrong.map_err(|wrong| wrong.help("a name of letters, digits and \"_\" follows \"$\""));
    }
    Ok((name, end + usize::from(braced)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileId, Span};

    fn word(text: &str) -> Word {
        let end = 10 + text.len() as u32;
        Word { text: text.into(), span: Span { file: FileId(0), start: 10, end }, quoted: false }
    }

    fn compile(text: &str) -> Result<String, Diagnostic> {
        let known = |name: &str| (name != "nope").then(|| name.to_owned());
        let template = Template::compile(&word(text), &known)?;
        let mut out = Vec::new();
        template.render(&mut out, |name, out| out.extend_from_slice(format!("<{name}>").as_bytes()));
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn takes_names_braces_and_captures() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("$host", "<host>"),
            ("a$host/b", "a<host>/b"),
            ("${host}name", "<host>name"),
            ("$a$b", "<a><b>"),
            ("$1-$2", "<1>-<2>"),
            ("$10", "<1>0"),
            ("$0x", "<0x>"),
            ("${1}", "<1>"),
            ("é$host-é", "é<host>-é"),
        ] {
            assert_eq!(compile(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn points_at_the_wrong_variable() {
        for (text, message, start, end) in [
            ("a$", "invalid variable name", 11, 12),
            ("a$-b", "invalid variable name", 11, 12),
            ("${}", "invalid variable name", 10, 12),
            ("${", "invalid variable name", 10, 12),
            ("a${host", "the closing bracket in \"host\" variable is missing", 11, 17),
            ("a${ho-st}", "the closing bracket in \"ho\" variable is missing", 11, 15),
            ("ab$nope-", "unknown \"nope\" variable", 12, 17),
        ] {
            let wrong = compile(text).unwrap_err();
            let span = wrong.span.unwrap();
            assert_eq!((wrong.message.as_str(), span.start, span.end), (message, start, end), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_guessed_from_what_is_known() {
        let known = |name: &str| (name == "remote_addr").then_some(());
        let help = |text| Template::compile(&word(text), &known).unwrap_err().help.unwrap();
        for text in ["$remote_adr", "$remote_addrr", "$remtoe_addr", "$remote_addx"] {
            assert_eq!(help(text), "did you mean \"$remote_addr\"?", "{text}");
        }
        assert_eq!(help("$nothing"), "no variable of this name exists here");
    }

    #[test]
    fn knows_plain_text() {
        let template = |text| Template::compile(&word(text), &|name| Some(name.to_owned())).unwrap();
        assert_eq!(template("abc").literal(), Some("abc"));
        assert_eq!(template("").literal(), Some(""));
        assert_eq!(template("a$b").literal(), None);
        assert_eq!(template("a$b$c").variables().collect::<Vec<_>>(), ["b", "c"]);
    }
}
