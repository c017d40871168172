//! Writes a word so that the lexer reads back the same word.

use std::borrow::Cow;

/// The word as it must be written in a configuration: bare where it can be, else in quotes.
pub fn quote(word: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{' | '}' | '"' | '\'' | '\\' | '#' | '$');
    if !word.is_empty() && !word.contains(special) {
        return Cow::Borrowed(word);
    }
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => out.push(c),
        }
    }
    out.push('"');
    Cow::Owned(out)
}
