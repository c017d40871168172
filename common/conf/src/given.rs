//! The arguments of one statement as a row's `set` sees them.
//!
//! Arity and types are checked before `set` runs; what a value means is checked
//! by `set`, which points at the argument with [`Given::error`].

use crate::{Block, Contexts, Cx, Diagnostic, Statement, Template, Word, value};
use std::path::PathBuf;
use std::time::Duration;

/// The arguments of one statement, already checked against its row.
pub struct Given<'a> {
    pub statement: &'a Statement,
    pub cx: &'a Cx,
    /// The context the statement stands in.
    pub context: Contexts,
}

impl<'a> Given<'a> {
    /// Place of the statement in its block, counted over simple statements and blocks
    /// alike: what to sort by where the order of both together has a meaning.
    pub fn order(&self) -> usize {
        self.cx.order.get()
    }

    /// Number of the block the statement stands in, from 1 on: rows that share one list tell by it
    /// whether what the list holds was inherited.
    pub fn block_number(&self) -> usize {
        self.cx.block.get()
    }

    /// False while a row's default speaks.
    pub fn is_written(&self) -> bool {
        self.statement.name.span.file != crate::FileId(u32::MAX)
    }

    /// Warns, as nginx does of flags, of arguments that the directive has had in this block already, in
    /// any case.
    pub fn warn_of_repeats(&self) {
        for word in self.words().iter().filter(|_| self.is_written()) {
            let key = (self.block_number(), self.statement.name.text.clone(), word.text.to_ascii_lowercase());
            if !self.cx.said.borrow_mut().insert(key) {
                self.cx.report(Diagnostic::warning(word.span, format!("duplicate value \"{}\"", word.text)));
            }
        }
    }

    pub fn len(&self) -> usize {
        self.statement.args.len()
    }

    pub fn is_empty(&self) -> bool {
        self.statement.args.is_empty()
    }

    /// Argument `index`; the row's arity says it is there, the directive's name stands in if not.
    pub fn word(&self, index: usize) -> &'a Word {
        self.statement.args.get(index).unwrap_or(&self.statement.name)
    }

    pub fn words(&self) -> &'a [Word] {
        &self.statement.args
    }

    pub fn text(&self, index: usize) -> &'a str {
        &self.word(index).text
    }

    /// `on` or `off`.
    pub fn flag(&self, index: usize) -> Result<bool, Diagnostic> {
        let text = self.text(index);
        value::parse_flag(text).ok_or_else(|| {
            let name = &self.statement.name.text;
            let message = format!("invalid value \"{text}\" in \"{name}\" directive, it must be \"on\" or \"off\"");
            self.error(index, message)
        })
    }

    pub fn int(&self, index: usize) -> Result<i64, Diagnostic> {
        self.parsed(index, value::parse_int, "invalid number")
    }

    /// Bytes.
    pub fn size(&self, index: usize) -> Result<u64, Diagnostic> {
        self.parsed(index, value::parse_size, "invalid value")
    }

    pub fn time(&self, index: usize) -> Result<Duration, Diagnostic> {
        self.parsed(index, value::parse_time, "invalid value")
    }

    /// A path made absolute with the prefix.
    pub fn path(&self, index: usize) -> PathBuf {
        self.cx.prefix.join(self.text(index))
    }

    /// A path made absolute with the folder of the main configuration file, as nginx
    /// does for certificates, keys and password files.
    pub fn conf_path(&self, index: usize) -> PathBuf {
        self.cx.conf_dir.join(self.text(index))
    }

    /// `name=value` among the arguments from `from` on, with the value's own word
    /// (its span covers the value only). `name` alone gives an empty value. The last
    /// one counts, as in nginx.
    pub fn param(&self, from: usize, name: &str) -> Option<Word> {
        let mut words = self.words().iter().skip(from).rev();
        words.find_map(|word| match word.text.strip_prefix(name) {
            Some("") => Some(word.tail(word.text.len())),
            Some(rest) if rest.starts_with('=') => Some(word.tail(name.len() + 1)),
            _ => None,
        })
    }

    /// Every `name` or `name=value` from argument `from` on, in order.
    pub fn params(&self, from: usize) -> impl Iterator<Item = (&'a str, Option<Word>)> + use<'a> {
        self.statement.args.iter().skip(from).map(|word| match word.text.split_once('=') {
            Some((name, _)) => (name, Some(word.tail(name.len() + 1))),
            None => (&*word.text, None),
        })
    }

    /// Argument `index` compiled; `resolve` names the plane's variables.
    pub fn template<V>(&self, index: usize, resolve: &dyn Fn(&str) -> Option<V>) -> Result<Template<V>, Diagnostic> {
        Template::compile(self.word(index), resolve)
    }

    /// The statement's block; an empty one where the row has none.
    pub fn block(&self) -> &'a Block {
        static NONE: Block =
            Block { statements: Vec::new(), span: crate::Span { file: crate::FileId(0), start: 0, end: 0 } };
        self.statement.block.as_ref().unwrap_or(&NONE)
    }

    /// The statements of a block that holds no directives (`map`, `geo`): the first word of each is
    /// its name. A block among them is reported.
    pub fn entries(&self) -> impl Iterator<Item = &'a Statement> {
        let cx = self.cx;
        self.block().statements.iter().filter(move |entry| {
            if let Some(block) = &entry.block {
                let span = crate::Span { end: block.span.start + 1, ..block.span };
                cx.report(Diagnostic::error(span, "unexpected \"{\"").help("no block may stand here"));
            }
            entry.block.is_none()
        })
    }

    /// What the file holds that argument `index` names, of a directive whose file the reader takes in.
    pub fn attached(&self, index: usize) -> Option<&'a Block> {
        self.cx.attached.get(&self.word(index).span)
    }

    /// The text of the file of secrets that argument `index` names.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn secret(&self, index: usize) -> Result<&'a str, Diagnostic> {
        match self.cx.secrets.get(&self.word(index).span) {
            Some(Ok(text)) => Ok(text),
            Some(Err(why)) => Err(self.error(index, why.clone())),
            None => Err(self.error(index, format!("\"{}\" was not read", self.text(index)))),
        }
    }

    /// An error that points at argument `index`.
    pub fn error(&self, index: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.word(index).span, message)
    }

    fn parsed<V>(&self, index: usize, parse: fn(&str) -> Option<V>, wrong: &str) -> Result<V, Diagnostic> {
        let name = &self.statement.name.text;
        parse(self.text(index)).ok_or_else(|| self.error(index, format!("\"{name}\" directive {wrong}")))
    }
}
