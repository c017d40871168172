//! Blocks from text, with names for variables: what the tests here share.

use fairlead_conf::{Contexts, Cx, Diagnostic, Given, Template, Tree, Word};
use std::path::Path;

/// Reads the one statement of `text`; what it reported follows.
pub(super) fn read<T>(text: &str, read: impl FnOnce(&Given<'_>) -> T) -> (T, Vec<String>) {
    let tree = Tree::parse(Path::new("test.conf"), text);
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    let cx = Cx::new(Path::new("/"), Path::new("/"));
    let result = read(&Given { statement: &tree.root.statements[0], cx: &cx, context: Contexts::STREAM });
    let problems = cx.diagnostics.borrow().iter().map(|problem| problem.message.clone()).collect();
    (result, problems)
}

/// A variable is its name.
pub(super) fn compile(word: &Word) -> Result<Template<String>, Diagnostic> {
    Template::compile(word, &|name| (name != "unknown").then(|| name.to_owned()))
}
