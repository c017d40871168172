//! The syntax tree: statements, words and blocks with their positions.

use crate::read::{Disk, Reader, Replay};
use crate::{Diagnostic, Snapshot, Sources, Span};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// One word of a statement, quotes and escapes already taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: Box<str>,
    /// The whole word as written, its quotes included.
    pub span: Span,
    /// Written in quotes: never a block opener, keyword or parameter name by accident.
    pub quoted: bool,
}

impl Word {
    /// Where `range` of the text stands in the file; the whole word where escapes
    /// make that unclear.
    pub fn part(&self, range: Range<usize>) -> Span {
        let quotes = if self.quoted { 1 } else { 0 };
        let written = (self.span.end.saturating_sub(self.span.start)) as usize;
        let inside = range.start <= range.end && range.end <= self.text.len();
        if written != self.text.len() + 2 * quotes || !inside {
            return self.span;
        }
        let at = |offset: usize| self.span.start.saturating_add(u32::try_from(offset + quotes).unwrap_or(u32::MAX));
        Span { start: at(range.start), end: at(range.end), ..self.span }
    }

    /// The word up to byte `to` of its text, as a word of its own.
    pub fn head(&self, to: usize) -> Word {
        let text = self.text.get(..to).unwrap_or(&self.text);
        Word { text: text.into(), span: self.part(0..text.len()), quoted: self.quoted }
    }

    /// The rest of the word from byte `from` of its text on, as a word of its own.
    pub fn tail(&self, from: usize) -> Word {
        let text = self.text.get(from..).unwrap_or("");
        Word { text: text.into(), span: self.part(from..self.text.len()), quoted: self.quoted }
    }
}

/// `name arg …;` or `name arg … { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub name: Word,
    pub args: Vec<Word>,
    pub block: Option<Block>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    pub statements: Vec<Statement>,
    /// From the opening to the closing brace.
    pub span: Span,
}

/// Statements of files that belong to a statement; a file that does not exist holds none.
pub type Attached = HashMap<Span, Block>;

/// Texts of files that statements name and no dump shows, or nginx's words for why there is none.
pub type Secrets = HashMap<Span, Result<Arc<str>, String>>;

/// A whole configuration with every `include` taken in.
#[derive(Debug, Default)]
pub struct Tree {
    pub root: Block,
    pub sources: Sources,
    /// What was read, so that another process can parse the same.
    pub snapshot: Snapshot,
    /// What the files hold that statements name without taking them in, by the place of the name.
    pub attached: Attached,
    /// What is in the files of secrets that statements name, by the place of the name.
    pub secrets: Secrets,
    /// Errors of syntax and of reading; the tree holds what could be parsed.
    pub diagnostics: Vec<Diagnostic>,
}

impl Tree {
    /// Reads `file` and what it includes. `globals` is the text of `-g`, parsed first in
    /// the main context. Relative `include`s are relative to the folder of `file`.
    pub fn read(file: &Path, globals: Option<&str>) -> Tree {
        Reader::new(file, Disk).tree(file, globals)
    }

    /// The same from a snapshot, without touching the disk.
    pub fn replay(file: &Path, globals: Option<&str>, snapshot: Snapshot) -> Tree {
        Reader::new(file, Replay::new(snapshot)).tree(file, globals)
    }

    /// Parses `text` as if it were the file `name`; what it includes is read from disk.
    pub fn parse(name: &Path, text: &str) -> Tree {
        let mut reader = Reader::new(name, Disk);
        reader.provide(name, text);
        reader.tree(name, None)
    }
}
