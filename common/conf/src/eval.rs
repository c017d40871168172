//! Runs the rows of a level over a block: checks each statement against its
//! row, reports everything that is wrong, and calls `set` for what is right.
//!
//! A block's simple statements are set before its blocks, so that a child
//! block can start as a clone of its finished parent.

use crate::known::{self, Trap};
use crate::spelling::closest;
use crate::{
    Args, Attached, Block, Catalog, Contexts, Diagnostic, Directive, Given, Repeat, Secrets, Severity, Span, Statement,
    Value,
};
use crate::{Defined, Word, check, unknown};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What one reading of a configuration knows and collects.
pub struct Cx {
    /// `-p`: what relative paths are relative to.
    pub prefix: PathBuf,
    /// Folder of the main configuration file.
    pub conf_dir: PathBuf,
    /// Names of variables that the configuration itself defines (named captures, `set`, `map`). Each
    /// plane begins with none and takes its own away.
    pub defined: RefCell<Defined>,
    /// Variables of which somebody made a template and which have to be made ready before they are
    /// rendered. Each plane begins with none and takes its own away.
    pub wanted: RefCell<Vec<&'static str>>,
    pub diagnostics: RefCell<Vec<Diagnostic>>,
    /// Every directive of the process: what a name means where it is not allowed.
    pub catalog: &'static Catalog,
    /// What the files hold that statements name, as the tree has it.
    pub attached: Attached,
    /// Texts of the files of secrets that statements name, as the tree has them.
    pub secrets: Secrets,
    /// Place in its block of the statement that is being set.
    pub(crate) order: Cell<usize>,
    /// Number of the block that statement stands in, and of the last block that was begun.
    pub(crate) block: Cell<usize>,
    blocks: Cell<usize>,
    /// Block, directive and argument in lower case of [`Given::warn_of_repeats`].
    pub(crate) said: RefCell<HashSet<(usize, Box<str>, String)>>,
}

impl Cx {
    /// With the process's catalog, where one is installed.
    pub fn new(prefix: &Path, conf_dir: &Path) -> Cx {
        Cx {
            prefix: prefix.to_owned(),
            conf_dir: conf_dir.to_owned(),
            defined: RefCell::default(),
            wanted: RefCell::default(),
            diagnostics: RefCell::default(),
            catalog: Catalog::installed(),
            attached: Attached::default(),
            secrets: Secrets::default(),
            order: Cell::new(0),
            block: Cell::new(0),
            blocks: Cell::new(0),
            said: RefCell::default(),
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
    rows: Vec<Row<S>>,
    index: HashMap<&'static str, usize>,
}

type Set<S> = Box<dyn Fn(&mut S, &Given<'_>) -> Result<(), Diagnostic> + Send + Sync>;
type Clear<S> = Box<dyn Fn(&mut S) + Send + Sync>;

/// A directive whose `T` is reached from the level's scope.
struct Row<S> {
    name: &'static str,
    args: &'static Args,
    repeat: Again<S>,
    default: Option<&'static str>,
    trap: Option<&'static Trap>,
    set: Set<S>,
}

/// [`Repeat`], reaching from the scope.
enum Again<S> {
    Once,
    Append,
    List(Clear<S>),
}

impl<S: 'static> Level<S> {
    pub fn new(context: Contexts) -> Level<S> {
        Level { context, rows: Vec::new(), index: HashMap::new() }
    }

    /// Adds the rows of `table` that may stand in this level's context.
    pub fn with<T>(mut self, table: &'static [Directive<T>], part: fn(&mut S) -> &mut T) -> Level<S> {
        for directive in table.iter().filter(|directive| directive.contexts.contains(self.context)) {
            let repeat = match &directive.repeat {
                Repeat::Once => Again::Once,
                Repeat::Append => Again::Append,
                Repeat::List(clear) => Again::List(Box::new(move |scope| clear(part(scope)))),
            };
            let known = self.index.insert(directive.name, self.rows.len());
            debug_assert!(known.is_none(), "two rows for \"{}\" in one level", directive.name);
            self.rows.push(Row {
                name: directive.name,
                args: &directive.args,
                repeat,
                default: directive.default,
                trap: known::trap(directive.name),
                set: Box::new(move |scope, given| (directive.set)(part(scope), given)),
            });
        }
        self
    }

    /// Puts every row's default through its `set`. For the outermost scope only:
    /// inner ones start as clones.
    pub fn defaults(&self, scope: &mut S, cx: &Cx) {
        for row in &self.rows {
            let Some(default) = row.default else { continue };
            let statement = default_statement(row.name, default);
            let given = Given { statement: &statement, cx, context: self.context };
            if let Err(wrong) = (row.set)(scope, &given) {
                cx.report(Diagnostic::general(format!("default of \"{}\": {}", row.name, wrong.message)));
            }
        }
    }

    /// Sets `block`'s simple statements in file order, then runs its block
    /// statements in file order. Everything wrong goes to `cx`.
    pub fn eval(&self, block: &Block, scope: &mut S, cx: &Cx) {
        // A block's `set` runs its own statements and may ask for its order after that.
        let outer = (cx.order.get(), cx.block.get());
        let number = cx.blocks.get() + 1;
        cx.blocks.set(number);
        let mut seen = HashSet::new();
        for blocks in [false, true] {
            for (order, statement) in block.statements.iter().enumerate() {
                if statement.block.is_some() == blocks {
                    let given = Given { statement, cx, context: self.context };
                    cx.order.set(order);
                    cx.block.set(number);
                    self.statement(&given, scope, &mut seen).unwrap_or_else(|wrong| cx.report(wrong));
                }
            }
        }
        cx.order.set(outer.0);
        cx.block.set(outer.1);
    }

    /// Names that may stand here.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().map(|row| row.name)
    }

    fn statement(&self, given: &Given<'_>, scope: &mut S, seen: &mut Seen) -> Result<(), Diagnostic> {
        let statement = given.statement;
        let Some(row) = self.row(&statement.name.text) else {
            self.look_inside(given, scope);
            return self.no_row(given, seen);
        };
        check_shape(statement, row.args.block)?;
        if let Err(wrong) = self.check(given, row, scope, seen) {
            if row.args.block {
                // The block is run all the same, for what is wrong in it; what `set` has
                // to say of its arguments would be said twice.
                let _ = (row.set)(scope, given);
            }
            return Err(wrong);
        }
        if let Some(warning) = row.trap.and_then(|trap| trap.warning(statement)) {
            given.cx.report(warning);
        }
        (row.set)(scope, given)
    }

    fn row(&self, name: &str) -> Option<&Row<S>> {
        self.index.get(name).and_then(|&at| self.rows.get(at))
    }

    /// Arguments and repetition; empties an inherited list at its first use.
    fn check(&self, given: &Given<'_>, row: &Row<S>, scope: &mut S, seen: &mut Seen) -> Result<(), Diagnostic> {
        let statement = given.statement;
        let is_name = |name: &str| self.may_stand(name);
        check_arity(statement, row.args, &is_name)?;
        check_types(statement, row.args, &is_name)?;
        let first = seen.insert(row.name);
        match &row.repeat {
            Again::Once if !first => return Err(duplicate(&statement.name)),
            Again::List(clear) if first => clear(scope),
            _ => {}
        }
        Ok(())
    }

    /// Runs the block of a misspelt directive as what was meant, so that the errors in it
    /// are told in the same run.
    fn look_inside(&self, given: &Given<'_>, scope: &mut S) {
        let statement = given.statement;
        let blocks = self.rows.iter().filter(|row| row.args.block).map(|row| row.name);
        if statement.block.is_none() || known::named(&statement.name.text).next().is_some() {
            return;
        }
        if let Some(row) = closest(&statement.name.text, blocks).and_then(|name| self.row(name)) {
            let _ = (row.set)(scope, given);
        }
    }

    /// A name without a row: one that nginx only tunes itself with, or an error.
    fn no_row(&self, given: &Given<'_>, seen: &mut Seen) -> Result<(), Diagnostic> {
        let statement = given.statement;
        let Some(accepted) = known::accepted(&statement.name.text, self.context) else {
            return Err(unknown::explain(&statement.name, self.context, self.names(), given.cx.catalog));
        };
        check_shape(statement, false)?;
        accepted.check(statement)?;
        let first = seen.insert(accepted.name);
        if first || !accepted.once { Ok(()) } else { Err(duplicate(&statement.name)) }
    }

    fn may_stand(&self, name: &str) -> bool {
        self.index.contains_key(name) || known::named(name).any(|known| known.contexts.contains(self.context))
    }
}

/// Names used in the block so far.
type Seen = HashSet<&'static str>;

fn default_statement(name: &str, default: &str) -> Statement {
    let mut lexer = crate::lexer::Lexer::new(crate::FileId(u32::MAX), default);
    let args = match lexer.next() {
        crate::lexer::Item::Statement(words, _) => words,
        _ => Vec::new(),
    };
    let name =
        Word { text: name.into(), span: Span { file: crate::FileId(u32::MAX), start: 0, end: 0 }, quoted: false };
    Statement { name, args, block: None }
}

fn duplicate(name: &Word) -> Diagnostic {
    let message = format!("\"{}\" directive is duplicate", name.text);
    Diagnostic::error(name.span, message).help("it may be written once in a block: remove one of them")
}

fn check_shape(statement: &Statement, block: bool) -> Result<(), Diagnostic> {
    let name = &statement.name;
    match &statement.block {
        Some(_) if !block => {
            let message = format!("directive \"{}\" is not terminated by \";\"", name.text);
            Err(Diagnostic::error(name.span, message).help("it takes no block: write \";\" instead of \"{\""))
        }
        None if block => {
            let message = format!("directive \"{}\" has no opening \"{{\"", name.text);
            Err(Diagnostic::error(name.span, message).help("it takes a block: write \"{ … }\" instead of \";\""))
        }
        _ => Ok(()),
    }
}

fn check_arity(statement: &Statement, args: &Args, is_name: &dyn Fn(&str) -> bool) -> Result<(), Diagnostic> {
    let count = statement.args.len();
    if (args.min..=args.max).contains(&count) {
        return Ok(());
    }
    let name = &statement.name;
    let span = statement.args.get(args.max).map_or(name.span, |extra| extra.span);
    let error = Diagnostic::error(span, format!("invalid number of arguments in \"{}\" directive", name.text));
    let swallowed = statement.args.iter().find(|word| !word.quoted && is_name(&word.text));
    Err(match swallowed.filter(|_| count > args.max) {
        Some(word) => Diagnostic { span: Some(word.span), ..error }.help(missing_semicolon(word)),
        None => error.help(usage(&name.text, args)),
    })
}

fn check_types(statement: &Statement, args: &Args, is_name: &dyn Fn(&str) -> bool) -> Result<(), Diagnostic> {
    let kinds = args.values.iter().chain(std::iter::repeat(args.values.last().unwrap_or(&Value::Text)));
    for (word, kind) in statement.args.iter().zip(kinds) {
        check::argument(&statement.name.text, word, kind).map_err(|wrong| {
            let swallowed = !word.quoted && is_name(&word.text);
            if swallowed { wrong.help(missing_semicolon(word)) } else { wrong }
        })?;
    }
    Ok(())
}

fn missing_semicolon(word: &Word) -> String {
    format!("is a \";\" missing before \"{}\"?", word.text)
}

/// `write: limit_conn zone number;`
pub(crate) fn usage(name: &str, args: &Args) -> String {
    let space = if args.syntax.is_empty() { "" } else { " " };
    let end = if args.block { " { … }" } else { ";" };
    format!("write: {name}{space}{}{end}", args.syntax)
}

#[cfg(test)]
mod tests;
