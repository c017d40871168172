//! The block by itself, out of a file of which the rest is for fairlead: what the appliance's first
//! process reads. It knows no row of the planes, so their blocks are passed over unread.

use crate::{DIRECTIVES, Settings};
use fairlead_conf::{Contexts, Cx, Diagnostic, Level, Severity, Sources, Tree};
use std::path::Path;
use std::sync::LazyLock;

/// What was found in a file.
pub struct Reading {
    /// `None` when something is wrong with the block, or with the language of the file.
    pub settings: Option<Settings>,
    pub diagnostics: Vec<Diagnostic>,
    /// What the places of the diagnostics are in.
    pub sources: Sources,
}

static LEVEL: LazyLock<Level<Settings>> =
    LazyLock::new(|| Level::new(Contexts::MAIN).with(DIRECTIVES, |settings: &mut Settings| settings));

impl Reading {
    /// Every problem as a reader sees it, with its line and what to write instead.
    pub fn complaints(&self) -> String {
        fairlead_conf::render_all(&self.diagnostics, &self.sources)
    }
}

/// The block of `file` and of what it includes. A file without one has the settings of an empty one.
pub fn read(file: &Path) -> Reading {
    of(Tree::read(file, None), file)
}

/// The block of a tree that was read from `file`.
pub fn of(tree: Tree, file: &Path) -> Reading {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let cx = Cx::new(folder, folder);
    tree.diagnostics.iter().for_each(|diagnostic| cx.report(diagnostic.clone()));
    let mut settings = Settings::default();
    let blocks = tree.root.statements.iter().filter(|statement| &*statement.name.text == "appliance");
    let ours = fairlead_conf::Block { statements: blocks.cloned().collect(), span: tree.root.span };
    LEVEL.eval(&ours, &mut settings, &cx);
    let diagnostics = cx.diagnostics.into_inner();
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Reading { settings: (!failed).then_some(settings), diagnostics, sources: tree.sources }
}
