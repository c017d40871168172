//! Builds the tree: opens files, takes `include`s in, nests blocks.
//!
//! `include` belongs to the language, so it is a name known here, and so is what
//! names a file of statements without taking them in (`state`). Every file is
//! read once, however often it is included; a snapshot takes the place of the
//! disk when a worker process reads what its master has read.

use crate::lexer::{Item, Lexer, Terminator};
use crate::source::COMMAND_LINE;
use crate::{Block, Diagnostic, FileId, Snapshot, SourceFile, Span, Statement, Tree, Word};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Blocks and files within each other: far beyond any real configuration, and
/// little enough for the stack.
const MAX_DEPTH: usize = 100;

/// Block and directive that names a file of statements. What is in the file is the directive's
/// business, and a file that does not exist is an empty one.
const ATTACHING: [(&str, &str); 1] = [("upstream", "state")];

/// Block, directive and word behind which the name of a file stands whose text the directive wants.
/// It is nobody else's: no dump shows it.
const SECRET: [(&str, &str, &str); 1] = [("upstream", "sticky", "signed")];

/// How nginx words end that say so.
const NO_SUCH_FILE: &str = "failed (2: No such file or directory)";

/// Where text comes from.
pub(crate) trait Input {
    /// The text of a file, or nginx's words for why there is none.
    fn text(&mut self, path: &Path) -> Result<Arc<str>, String>;
    /// The paths a mask matches, sorted.
    fn expand(&mut self, mask: &Path) -> Vec<PathBuf>;
}

pub(crate) struct Disk;

pub(crate) struct Replay {
    files: HashMap<PathBuf, Arc<str>>,
    globs: HashMap<String, Vec<PathBuf>>,
    failures: HashMap<PathBuf, String>,
}

pub(crate) struct Reader<I> {
    input: I,
    conf_dir: PathBuf,
    tree: Tree,
    opened: HashMap<PathBuf, FileId>,
    expanded: HashMap<PathBuf, Vec<PathBuf>>,
    /// Files being parsed, the outermost first.
    within: Vec<FileId>,
    /// Names of the blocks that are open, the outermost first.
    blocks: Vec<Box<str>>,
    depth: usize,
}

/// What the statements being parsed are inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    CommandLine,
    File,
    Block,
}

impl<I: Input> Reader<I> {
    pub(crate) fn new(file: &Path, input: I) -> Reader<I> {
        Reader {
            input,
            conf_dir: file.parent().unwrap_or(Path::new("")).to_owned(),
            tree: Tree::default(),
            opened: HashMap::new(),
            expanded: HashMap::new(),
            within: Vec::new(),
            blocks: Vec::new(),
            depth: 0,
        }
    }

    /// Gives the text of a file beforehand.
    pub(crate) fn provide(&mut self, path: &Path, text: &str) {
        self.add(path, text.into());
    }

    pub(crate) fn tree(mut self, file: &Path, globals: Option<&str>) -> Tree {
        let mut statements = Vec::new();
        if let Some(globals) = globals {
            let id = self.add_source(Path::new(COMMAND_LINE), globals.into());
            self.parse(id, Within::CommandLine, &mut statements);
        }
        match self.open(file) {
            Ok(id) => {
                self.parse(id, Within::File, &mut statements);
                let end = self.text(id).len();
                self.tree.root.span = Span { file: id, start: 0, end: u32::try_from(end).unwrap_or(u32::MAX) };
            }
            Err(why) => self.tree.diagnostics.push(Diagnostic::general(why)),
        }
        self.tree.root.statements = statements;
        self.tree
    }

    fn add(&mut self, path: &Path, text: Arc<str>) -> FileId {
        self.tree.snapshot.files.push((path.to_owned(), Arc::clone(&text)));
        let id = self.add_source(path, text);
        self.opened.insert(path.to_owned(), id);
        id
    }

    fn add_source(&mut self, path: &Path, text: Arc<str>) -> FileId {
        let id = FileId(u32::try_from(self.tree.sources.files.len()).unwrap_or(u32::MAX));
        self.tree.sources.files.push(SourceFile::new(path.to_owned(), text));
        id
    }

    fn open(&mut self, path: &Path) -> Result<FileId, String> {
        if let Some(&id) = self.opened.get(path) {
            return Ok(id);
        }
        match self.input.text(path) {
            Ok(text) => Ok(self.add(path, text)),
            Err(why) => {
                self.tree.snapshot.failures.push((path.to_owned(), why.clone()));
                Err(why)
            }
        }
    }

    fn text(&self, id: FileId) -> Arc<str> {
        self.tree.sources.files.get(id.0 as usize).map_or_else(|| "".into(), |file| Arc::clone(&file.text))
    }

    fn parse(&mut self, id: FileId, within: Within, out: &mut Vec<Statement>) {
        let text = self.text(id);
        let mut lexer = match within {
            Within::CommandLine => Lexer::parameter(id, &text),
            _ => Lexer::new(id, &text),
        };
        self.within.push(id);
        self.depth += 1;
        self.statements(&mut lexer, within, out);
        self.depth -= 1;
        self.within.pop();
        self.tree.diagnostics.append(&mut lexer.diagnostics);
    }

    /// Reads statements up to the closing brace, whose place is given back, or the end.
    fn statements(&mut self, lexer: &mut Lexer<'_>, within: Within, out: &mut Vec<Statement>) -> Option<Span> {
        loop {
            let (words, terminator) = match lexer.next() {
                Item::End => return None,
                Item::Close(span) if within == Within::Block => return Some(span),
                Item::Close(span) => {
                    let error = Diagnostic::error(span, "unexpected \"}\"").help("no block is open here");
                    lexer.diagnostics.push(error);
                    continue;
                }
                Item::Statement(words, terminator) => (words, terminator),
            };
            let mut words = words.into_iter();
            let name = words.next();
            let args: Vec<Word> = words.collect();
            match (name, terminator) {
                (Some(name), Terminator::Semicolon) if &*name.text == "include" => self.include(&name, &args, out),
                (Some(name), Terminator::Semicolon) => {
                    self.attach(&name, &args);
                    self.take_secrets(&name, &args);
                    out.push(Statement { name, args, block: None });
                }
                (name, Terminator::Open(open)) => {
                    if within == Within::CommandLine {
                        let error = Diagnostic::error(open, "block directives are not supported in -g option");
                        lexer.diagnostics.push(error.help("write the block in the configuration file"));
                    }
                    let block = self.block(lexer, open, name.as_ref());
                    out.extend(name.map(|name| Statement { name, args, block: Some(block) }));
                }
                (None, Terminator::Semicolon) => {}
            }
        }
    }

    fn block(&mut self, lexer: &mut Lexer<'_>, open: Span, name: Option<&Word>) -> Block {
        let mut statements = Vec::new();
        if self.depth >= MAX_DEPTH {
            let error = format!("blocks are nested more than {MAX_DEPTH} deep");
            let error = Diagnostic::error(open, error).help("close the blocks that are meant to be side by side");
            lexer.diagnostics.push(error);
            skip_block(lexer);
            return Block { statements, span: open };
        }
        self.depth += 1;
        self.blocks.push(name.map_or("".into(), |name| name.text.clone()));
        let close = self.statements(lexer, Within::Block, &mut statements);
        self.blocks.pop();
        self.depth -= 1;
        let end = close.map_or(open.end, |close| close.end);
        let block = Block { statements, span: Span { end, ..open } };
        if close.is_none() {
            let start = name.map_or(open.start, |name| name.span.start);
            let error = Diagnostic::error(Span { start, ..open }, "unexpected end of file, expecting \"}\"");
            lexer.diagnostics.push(error.help(self.missing_brace(&block)));
        }
        block
    }

    /// Names the block whose closing brace is most likely the missing one: the first that
    /// ends on a brace of another indentation.
    fn missing_brace(&self, unclosed: &Block) -> String {
        let plain = || "the block that opens here is never closed".to_owned();
        let Some(file) = self.tree.sources.files.get(unclosed.span.file.0 as usize) else { return plain() };
        let indent = |at: u32| {
            let (number, start) = file.line_of(at);
            let line = file.line_at(start);
            (number, line.len() - line.trim_start().len(), line.trim_start().starts_with('}'))
        };
        let astray = |statement: &Statement| {
            let block = statement.block.as_ref().filter(|block| block.span.file == unclosed.span.file)?;
            let (opened, open_indent, _) = indent(statement.name.span.start);
            let (closed, close_indent, alone) = indent(block.span.end.saturating_sub(1));
            (alone && closed != opened && open_indent != close_indent).then(|| {
                format!("is a \"}}\" missing in \"{}\" of line {opened}? line {closed} closes it", statement.name.text)
            })
        };
        first_in(unclosed, &astray).unwrap_or_else(plain)
    }

    fn include(&mut self, name: &Word, args: &[Word], out: &mut Vec<Statement>) {
        let [file] = args else {
            let error = Diagnostic::error(name.span, "invalid number of arguments in \"include\" directive");
            self.tree.diagnostics.push(error.help("it takes one file or mask: include conf.d/*.conf;"));
            return;
        };
        let path = self.conf_dir.join(&*file.text);
        if !crate::glob::is_mask(&path) {
            self.include_file(&path, file, out);
            return;
        }
        for path in self.expand(path) {
            self.include_file(&path, file, out);
        }
    }

    /// Reads the file that a statement names, if it is one that does.
    fn attach(&mut self, name: &Word, args: &[Word]) {
        let block = self.blocks.last().map_or("", |block| block);
        let ([file], true) = (args, ATTACHING.contains(&(block, &*name.text))) else { return };
        let mut statements = Vec::new();
        match self.open(&self.conf_dir.join(&*file.text)) {
            Err(why) if why.ends_with(NO_SUCH_FILE) => {}
            Err(why) => self.tree.diagnostics.push(Diagnostic::error(file.span, why)),
            Ok(id) if self.within.contains(&id) => {
                let message = format!("\"{}\" names itself", file.text);
                self.tree.diagnostics.push(Diagnostic::error(file.span, message));
            }
            Ok(id) => self.parse(id, Within::File, &mut statements),
        }
        self.tree.attached.insert(file.span, Block { statements, span: file.span });
    }

    /// Reads the files of secrets that a statement names.
    fn take_secrets(&mut self, name: &Word, args: &[Word]) {
        let block = self.blocks.last().map_or("", |block| block);
        let rows = SECRET.iter().filter(|(within, directive, _)| (*within, *directive) == (block, &*name.text));
        for (_, _, before) in rows {
            let named =
                args.windows(2).filter_map(|pair| pair.first().filter(|word| &*word.text == *before).and(pair.get(1)));
            for file in named {
                let path = self.conf_dir.join(&*file.text);
                let text = self.input.text(&path);
                match &text {
                    Ok(text) => self.tree.snapshot.files.push((path, Arc::clone(text))),
                    Err(why) => self.tree.snapshot.failures.push((path, why.clone())),
                }
                self.tree.secrets.insert(file.span, text);
            }
        }
    }

    fn expand(&mut self, mask: PathBuf) -> Vec<PathBuf> {
        if let Some(paths) = self.expanded.get(&mask) {
            return paths.clone();
        }
        let paths = self.input.expand(&mask);
        self.tree.snapshot.globs.push((mask.to_string_lossy().into_owned(), paths.clone()));
        self.expanded.insert(mask, paths.clone());
        paths
    }

    fn include_file(&mut self, path: &Path, word: &Word, out: &mut Vec<Statement>) {
        let error = |message: String| Diagnostic::error(word.span, message);
        match self.open(path) {
            Err(why) => {
                let relative = Path::new(&*word.text).is_relative();
                let folder = self.conf_dir.display();
                self.tree.diagnostics.push(match relative {
                    true => error(why).help(format!("relative names are looked up in \"{folder}\"")),
                    false => error(why).help("a mask, as in conf.d/*.conf, may match nothing"),
                });
            }
            Ok(id) if self.within.contains(&id) => {
                let message = format!("\"{}\" includes itself", path.display());
                self.tree.diagnostics.push(error(message).help(self.chain(id)));
            }
            Ok(_) if self.depth >= MAX_DEPTH => {
                self.tree.diagnostics.push(error(format!("files are included more than {MAX_DEPTH} deep")));
            }
            Ok(id) => self.parse(id, Within::File, out),
        }
    }

    /// `a → b → a`: how a file came to include itself.
    fn chain(&self, id: FileId) -> String {
        let from = self.within.iter().skip_while(|&&open| open != id).chain([&id]);
        let names: Vec<String> = from.map(|&id| self.tree.sources.path(id).display().to_string()).collect();
        names.join(" includes ")
    }
}

/// Leaves a block out, nested ones with it, without recursion.
fn skip_block(lexer: &mut Lexer<'_>) {
    let mut open = 1_usize;
    while open > 0 {
        match lexer.next() {
            Item::End => return,
            Item::Close(_) => open -= 1,
            Item::Statement(_, Terminator::Open(_)) => open += 1,
            Item::Statement(..) => {}
        }
    }
}

/// The first answer for a statement of the tree, inner ones before outer ones.
fn first_in(block: &Block, ask: &dyn Fn(&Statement) -> Option<String>) -> Option<String> {
    block.statements.iter().find_map(|statement| {
        let inner = statement.block.as_ref().and_then(|block| first_in(block, ask));
        inner.or_else(|| ask(statement))
    })
}

impl Input for Disk {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, String> {
        let failed =
            |call: &str, error: &std::io::Error| format!("{call}() \"{}\" failed ({})", path.display(), errno(error));
        let mut file = std::fs::File::open(path).map_err(|error| failed("open", &error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| failed("pread", &error))?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(format!("\"{}\" is larger than 4 GiB", path.display()));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            // The lexer tells where this matters.
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into(),
        })
    }

    fn expand(&mut self, mask: &Path) -> Vec<PathBuf> {
        crate::glob::expand(mask)
    }
}

/// `2: No such file or directory`, as nginx prints an errno.
fn errno(error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => format!("{code}: {}", text.split(" (os error").next().unwrap_or_default()),
        None => text,
    }
}

impl Replay {
    pub(crate) fn new(snapshot: Snapshot) -> Replay {
        Replay {
            files: snapshot.files.into_iter().collect(),
            globs: snapshot.globs.into_iter().collect(),
            failures: snapshot.failures.into_iter().collect(),
        }
    }
}

impl Input for Replay {
    fn text(&mut self, path: &Path) -> Result<Arc<str>, String> {
        if let Some(text) = self.files.get(path) {
            return Ok(Arc::clone(text));
        }
        let absent = || format!("open() \"{}\" failed (2: No such file or directory)", path.display());
        Err(self.failures.get(path).cloned().unwrap_or_else(absent))
    }

    fn expand(&mut self, mask: &Path) -> Vec<PathBuf> {
        self.globs.get(&*mask.to_string_lossy()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
