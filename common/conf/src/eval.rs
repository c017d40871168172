//! Runs the rows of a level over a block: checks each statement against its
//! row, reports everything that is wrong, and calls `set` for what is right.
//!
//! A block's simple statements are set before its blocks, so that a child
//! block can start as a clone of its finished parent.

use crate::{Block, Contexts, Diagnostic, Directive, Severity, Statement, Word};
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one reading of a configuration knows and collects.
pub struct Cx {
    /// `-p`: what relative paths are relative to.
    pub prefix: PathBuf,
    /// Folder of the main configuration file.
    pub conf_dir: PathBuf,
    /// Names of variables that the configuration itself defines (named captures, `set`, `map`).
    pub defined: RefCell<HashSet<Box<str>>>,
    pub diagnostics: RefCell<Vec<Diagnostic>>,
}

impl Cx {
    pub fn new(prefix: &Path, conf_dir: &Path) -> Cx {
        Cx {
            prefix: prefix.to_owned(),
            conf_dir: conf_dir.to_owned(),
            defined: RefCell::default(),
            diagnostics: RefCell::default(),
        }
    }

    pub fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    pub fn has_errors(&self) -> bool {
        self.diagnostics.borrow().iter().any(|d| d.severity == Severity::Error)
    }
}

/// The rows that may stand in one kind of block, writing into a scope `S`.
///
/// Built once per process in a `LazyLock`; a scope is usually a struct of the
/// settings of several nginx levels, and each table names its part of it.
pub struct Level<S: 'static> {
    pub context: Contexts,
    _rows: std::marker::PhantomData<fn(&mut S)>,
}

impl<S: 'static> Level<S> {
    pub fn new(context: Contexts) -> Level<S> {
        Level { context, _rows: std::marker::PhantomData }
    }

    /// Adds the rows of `table` that may stand in this level's context.
    pub fn with<T>(self, _table: &'static [Directive<T>], _part: fn(&mut S) -> &mut T) -> Level<S> {
        self
    }

    /// Puts every row's default through its `set`. For the outermost scope only:
    /// inner ones start as clones.
    pub fn defaults(&self, _scope: &mut S, _cx: &Cx) {}

    /// Sets `block`'s simple statements in file order, then runs its block
    /// statements in file order. Everything wrong goes to `cx`.
    pub fn eval(&self, _block: &Block, _scope: &mut S, _cx: &Cx) {}
}

/// The arguments of one statement, already checked against its row.
pub struct Given<'a> {
    pub statement: &'a Statement,
    pub cx: &'a Cx,
    /// The context the statement stands in.
    pub context: Contexts,
}

impl<'a> Given<'a> {
    pub fn len(&self) -> usize {
        self.statement.args.len()
    }

    pub fn is_empty(&self) -> bool {
        self.statement.args.is_empty()
    }

    /// Argument `index`; the row's arity says it is there, an empty word stands in if not.
    pub fn word(&self, index: usize) -> &'a Word {
        self.statement.args.get(index).unwrap_or(&self.statement.name)
    }

    pub fn words(&self) -> &'a [Word] {
        &self.statement.args
    }

    pub fn text(&self, index: usize) -> &'a str {
        &self.word(index).text
    }

    pub fn flag(&self, index: usize) -> Result<bool, Diagnostic> {
        Ok(self.text(index) == "on")
    }

    pub fn int(&self, _index: usize) -> Result<i64, Diagnostic> {
        Ok(0)
    }

    /// Bytes.
    pub fn size(&self, _index: usize) -> Result<u64, Diagnostic> {
        Ok(0)
    }

    pub fn time(&self, _index: usize) -> Result<Duration, Diagnostic> {
        Ok(Duration::ZERO)
    }

    /// A path made absolute with the prefix.
    pub fn path(&self, index: usize) -> PathBuf {
        self.cx.prefix.join(self.text(index))
    }

    /// `name=value` among the arguments from `from` on, with the value's own word
    /// (its span covers the value only). `name` alone gives an empty value.
    pub fn param(&self, _from: usize, _name: &str) -> Option<Word> {
        None
    }

    /// The statement's block; an empty one where the row has none.
    pub fn block(&self) -> &'a Block {
        static NONE: Block =
            Block { statements: Vec::new(), span: crate::Span { file: crate::FileId(0), start: 0, end: 0 } };
        self.statement.block.as_ref().unwrap_or(&NONE)
    }

    /// An error that points at argument `index`.
    pub fn error(&self, index: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.word(index).span, message)
    }
}
