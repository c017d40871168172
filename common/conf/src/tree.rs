//! The syntax tree: statements, words and blocks with their positions.

use crate::{Diagnostic, Snapshot, Sources, Span};
use std::path::Path;

/// One word of a statement, quotes and escapes already taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: Box<str>,
    pub span: Span,
    /// Written in quotes: never a block opener, keyword or parameter name by accident.
    pub quoted: bool,
}

/// `name arg …;` or `name arg … { … }`.
#[derive(Clone, Debug)]
pub struct Statement {
    pub name: Word,
    pub args: Vec<Word>,
    pub block: Option<Block>,
}

#[derive(Clone, Debug, Default)]
pub struct Block {
    pub statements: Vec<Statement>,
    /// From the opening to the closing brace.
    pub span: Span,
}

/// A whole configuration with every `include` taken in.
#[derive(Debug, Default)]
pub struct Tree {
    pub root: Block,
    pub sources: Sources,
    /// What was read, so that another process can parse the same.
    pub snapshot: Snapshot,
    /// Errors of syntax and of reading; the tree holds what could be parsed.
    pub diagnostics: Vec<Diagnostic>,
}

impl Tree {
    /// Reads `file` and what it includes. `globals` is the text of `-g`, parsed first in
    /// the main context. Relative `include`s are relative to the folder of `file`.
    pub fn read(_file: &Path, _globals: Option<&str>) -> Tree {
        Tree::default()
    }

    /// The same from a snapshot, without touching the disk.
    pub fn replay(_file: &Path, _globals: Option<&str>, _snapshot: Snapshot) -> Tree {
        Tree::default()
    }
}
