//! Text of one file → statements' words and braces, by nginx's rules.
//!
//! Knows no directive and opens no file. After an error it goes on where the
//! author most likely meant it to, so that one run tells every error of a file.

use crate::{Diagnostic, FileId, Span, Word};

pub(crate) struct Lexer<'t> {
    text: &'t str,
    file: FileId,
    at: usize,
    /// A `}` that ended an unfinished statement and is still to be told.
    close: Option<Span>,
    /// The file held bytes that are not UTF-8; they stand in the text as U+FFFD.
    mangled: bool,
    /// The next word begins right after a closing quote.
    stuck: bool,
    /// The text is that of `-g`, whose end has other words.
    parameter: bool,
    pub diagnostics: Vec<Diagnostic>,
}

pub(crate) enum Item {
    Statement(Vec<Word>, Terminator),
    /// `}`.
    Close(Span),
    /// The end of the file.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminator {
    Semicolon,
    Open(Span),
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(file: FileId, text: &'t str) -> Lexer<'t> {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mangled = text.contains('\u{fffd}');
        Lexer { text, file, at, close: None, mangled, stuck: false, parameter: false, diagnostics: Vec::new() }
    }

    /// The text of `-g`.
    pub(crate) fn parameter(file: FileId, text: &'t str) -> Lexer<'t> {
        Lexer { parameter: true, ..Lexer::new(file, text) }
    }

    /// The next statement or closing brace. An opening brace with nothing before it is
    /// reported and given as a statement without words.
    pub(crate) fn next(&mut self) -> Item {
        if let Some(span) = self.close.take() {
            return Item::Close(span);
        }
        let mut words = Vec::new();
        loop {
            self.skip_blank();
            let here = self.span(self.at, self.at + 1);
            match self.peek() {
                None => return self.end_of_file(words),
                Some(b';') => {
                    self.at += 1;
                    if !words.is_empty() {
                        return Item::Statement(words, Terminator::Semicolon);
                    }
                    self.diagnostics.push(Diagnostic::error(here, "unexpected \";\"").help("remove it"));
                }
                Some(b'{') => {
                    self.at += 1;
                    if words.is_empty() {
                        let unexpected = Diagnostic::error(here, "unexpected \"{\"");
                        self.diagnostics.push(unexpected.help("a block needs a directive before its \"{\""));
                    }
                    return Item::Statement(words, Terminator::Open(here));
                }
                Some(b'}') => {
                    self.at += 1;
                    return self.close_after(words, here);
                }
                Some(quote @ (b'"' | b'\'')) => match self.quoted(quote) {
                    Some(word) => words.push(word),
                    None => return self.unclosed_quote(words),
                },
                Some(_) => {
                    let word = self.bare();
                    // What stuck to a quote was told already and is no argument.
                    if !std::mem::take(&mut self.stuck) {
                        words.push(word);
                    }
                }
            }
        }
    }

    fn close_after(&mut self, words: Vec<Word>, brace: Span) -> Item {
        let Some(last) = words.last() else { return Item::Close(brace) };
        let help = format!("write \";\" after \"{}\"", last.text);
        self.diagnostics.push(Diagnostic::error(brace, "unexpected \"}\"").help(help));
        self.close = Some(brace);
        Item::Statement(words, Terminator::Semicolon)
    }

    fn end_of_file(&mut self, words: Vec<Word>) -> Item {
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return Item::End };
        let span = Span { start: first.span.start, ..last.span };
        let error = Diagnostic::error(span, self.unexpected_end());
        self.diagnostics.push(error.help(format!("write \";\" after \"{}\"", last.text)));
        Item::Statement(words, Terminator::Semicolon)
    }

    /// The rest of the file lies in quotes that never close. Takes the line for what was
    /// meant and goes on after it.
    fn unclosed_quote(&mut self, mut words: Vec<Word>) -> Item {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("");
        self.at = start + line.len();
        let error = Diagnostic::error(self.span(start, start + line.trim_end().len()), self.unexpected_end());
        self.diagnostics.push(error.help("the quote that opens here is never closed"));
        let line = line.trim_end();
        let (kept, terminator) = match line.strip_suffix('{') {
            Some(kept) => (kept, Terminator::Open(self.span(start + kept.len(), start + line.len()))),
            None => (line.strip_suffix(';').unwrap_or(line), Terminator::Semicolon),
        };
        let text = kept.get(1..).unwrap_or("").trim_end();
        words.push(Word { text: text.into(), span: self.span(start, start + kept.len()), quoted: true });
        Item::Statement(words, terminator)
    }

    fn unexpected_end(&self) -> &'static str {
        match self.parameter {
            true => "unexpected end of parameter, expecting \";\"",
            false => "unexpected end of file, expecting \";\" or \"}\"",
        }
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'#' => {
                    let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// A word in quotes, or `None` when they never close.
    fn quoted(&mut self, quote: u8) -> Option<Word> {
        let bytes = self.text.as_bytes();
        let (start, mut at, mut escapes) = (self.at, self.at + 1, false);
        loop {
            match *bytes.get(at)? {
                b'\\' => {
                    escapes = true;
                    at += 2;
                }
                byte if byte == quote => break,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        let word = self.word((start, at + 1), (start + 1, at), escapes);
        self.check_after_quote();
        Some(Word { quoted: true, ..word })
    }

    /// Only blanks, `;`, `{` and (for `if ($a = "b")`) `)` may follow a closing quote. A `}`
    /// is told by the caller.
    fn check_after_quote(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or("");
        let Some(next) = rest.chars().next() else { return };
        if !matches!(next, ' ' | '\t' | '\r' | '\n' | ';' | '{' | '}' | ')') {
            let span = self.span(self.at, self.at + next.len_utf8());
            let error = Diagnostic::error(span, format!("unexpected \"{next}\""));
            self.diagnostics.push(error.help("write a space or \";\" after the closing quote"));
            self.stuck = !matches!(next, '"' | '\'' | '#');
        }
    }

    /// A word without quotes: up to a blank, `;` or a `{` that does not follow `$`.
    fn bare(&mut self) -> Word {
        let bytes = self.text.as_bytes();
        let (start, mut at, mut escapes, mut variable) = (self.at, self.at, false, false);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                // `${` opens a name; nginx stays in this state over further braces.
                b'{' if variable => at += 1,
                b'{' => break,
                b'\\' => {
                    variable = false;
                    escapes = true;
                    at += 2;
                }
                _ => {
                    variable = byte == b'$';
                    at += 1;
                }
            }
        }
        // An escape at the end of the file, or before a character of several bytes.
        at = at.min(bytes.len());
        while !self.text.is_char_boundary(at) {
            at += 1;
        }
        self.at = at;
        self.word((start, at), (start, at), escapes)
    }

    fn word(&mut self, whole: (usize, usize), inner: (usize, usize), escapes: bool) -> Word {
        let span = self.span(whole.0, whole.1);
        let raw = self.text.get(inner.0..inner.1).unwrap_or("");
        if self.mangled && raw.contains('\u{fffd}') {
            let error = Diagnostic::error(span, "invalid UTF-8 in a word");
            self.diagnostics.push(error.help("save the file as UTF-8; only comments may hold other bytes"));
        }
        let text = if escapes { unescape(raw) } else { raw.into() };
        Word { text, span, quoted: false }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let bound = |at: usize| u32::try_from(at.min(self.text.len())).unwrap_or(u32::MAX);
        Span { file: self.file, start: bound(start), end: bound(end) }
    }
}

/// Takes off the escapes nginx knows; any other backslash stays.
fn unescape(raw: &str) -> Box<str> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or("");
        let plain = match after.bytes().next() {
            Some(b'"') => Some('"'),
            Some(b'\'') => Some('\''),
            Some(b'\\') => Some('\\'),
            Some(b't') => Some('\t'),
            Some(b'r') => Some('\r'),
            Some(b'n') => Some('\n'),
            _ => None,
        };
        out.push(plain.unwrap_or('\\'));
        rest = if plain.is_some() { after.get(1..).unwrap_or("") } else { after };
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests;
