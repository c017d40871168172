//! Documentation from rows: a directive's page and REFERENCE.md.

use crate::check::{describe, sample, spell};
use crate::known::{self, Known};
use crate::{Catalog, Page, Value, spelling};
use std::fmt::Write;

/// A directive's page for the terminal: `fairlead -h NAME`.
pub fn page_text(page: &Page) -> String {
    let mut out = format!("{}\n\n", page.name);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  Syntax:   {}", syntax_line(page));
    let _ = writeln!(out, "  Default:  {}", default_line(page));
    let _ = writeln!(out, "  Context:  {}", contexts_line(page));
    let _ = writeln!(out, "  Module:   {}", page.module);
    let _ = writeln!(out, "\n{}", wrap(page.doc));
    for (at, line) in argument_lines(page).iter().enumerate() {
        let _ = writeln!(out, "{}  {line}", if at == 0 { "\n" } else { "" });
    }
    let _ = writeln!(out, "\n  Example:  {}", example(page));
    out
}

impl Catalog {
    /// What there is to say about a name, be it built, accepted, known to nginx or
    /// a slip of the finger. `None` when nothing is near it.
    pub fn explain(&self, name: &str) -> Option<String> {
        let pages: Vec<String> = self.named(name).map(page_text).collect();
        if !pages.is_empty() {
            return Some(pages.join("\n"));
        }
        if let Some(known) = known::named(name).next() {
            let contexts = known.contexts.names().join(", ");
            let what = match known::has_no_effect(name) {
                Some(accepted) => format!("Accepted, no effect: {}.", accepted.why),
                None => "Known to nginx, but not built in fairlead yet.".into(),
            };
            return Some(format!("{name}\n\n  Syntax:   {name} {};\n  Context:  {contexts}\n\n{what}\n", known.syntax));
        }
        let names = self.pages().iter().map(|page| page.name);
        spelling::did_you_mean(name, names).map(|meant| format!("unknown directive \"{name}\": {meant}\n"))
    }
}

/// The whole of REFERENCE.md.
pub fn reference_markdown(pages: &[Page]) -> String {
    let mut out = String::from(
        "# Directives\n\nGenerated from the directive tables. \
         `fairlead -h NAME` prints the same page in a terminal.\n",
    );
    let mut modules: Vec<&str> = Vec::new();
    pages.iter().for_each(|page| {
        if !modules.contains(&page.module) {
            modules.push(page.module);
        }
    });
    for module in modules {
        let _ = writeln!(out, "\n## {module}");
        pages.iter().filter(|page| page.module == module).for_each(|page| push_page(&mut out, page));
    }
    push_accepted(&mut out, pages);
    push_missing(&mut out, pages);
    out
}

fn push_page(out: &mut String, page: &Page) {
    let _ = writeln!(out, "\n### {}\n\n{}\n", page.name, page.doc);
    let _ = writeln!(out, "- Syntax: `{}`", syntax_line(page));
    let _ = writeln!(out, "- Default: {}", page.default.map_or("none".into(), |_| format!("`{}`", default_line(page))));
    let _ = writeln!(out, "- Context: {}", contexts_line(page));
    for line in argument_lines(page) {
        let _ = writeln!(out, "- {}", escape_markdown(&line));
    }
}

fn push_accepted(out: &mut String, pages: &[Page]) {
    out.push_str(
        "\n## Accepted, no effect\n\nThey tune nginx's own internals. They are checked and then mean nothing.\n\n",
    );
    out.push_str("| directive | syntax | context | why |\n|---|---|---|---|\n");
    for known in known::all().iter().filter(|known| !is_built(known, pages)) {
        if let Some(accepted) = known::has_no_effect(known.name) {
            let contexts = known.contexts.names().join(", ");
            let _ = writeln!(out, "| {} | {} | {contexts} | {} |", known.name, cell(known.syntax), accepted.why);
        }
    }
}

fn push_missing(out: &mut String, pages: &[Page]) {
    out.push_str("\n## Known to nginx, not built in fairlead yet\n\nThey are refused by name.\n\n");
    out.push_str("| module | directives |\n|---|---|\n");
    let missing: Vec<&Known> = known::all()
        .iter()
        .filter(|known| !is_built(known, pages) && known::has_no_effect(known.name).is_none())
        .collect();
    for module in missing.chunk_by(|a, b| a.module == b.module) {
        let names: Vec<&str> = module.iter().map(|known| known.name).collect();
        let name = module.first().map_or("", |known| known.module);
        let _ = writeln!(out, "| {name} | {} |", names.join(", "));
    }
}

/// Built where nginx has it: the same name in another plane does not count.
fn is_built(known: &Known, pages: &[Page]) -> bool {
    // The language's own word, which stands in every context.
    let language = known.contexts.0 == 0;
    language || pages.iter().any(|page| page.name == known.name && page.contexts.contains(known.contexts))
}

fn syntax_line(page: &Page) -> String {
    let space = if page.syntax.is_empty() { "" } else { " " };
    let end = if page.block { " { ... }" } else { ";" };
    format!("{}{space}{}{end}", page.name, page.syntax)
}

fn default_line(page: &Page) -> String {
    page.default.map_or_else(|| "none".into(), |default| format!("{} {default};", page.name))
}

fn contexts_line(page: &Page) -> String {
    if page.contexts.0 == u32::MAX { "any".into() } else { page.contexts.names().join(", ") }
}

/// One line per argument, and one per parameter.
fn argument_lines(page: &Page) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, value) in page.values.iter().enumerate() {
        let last = at + 1 == page.values.len();
        let which = if last && page.max > page.values.len() {
            format!("argument {} on", at + 1)
        } else {
            format!("argument {}", at + 1)
        };
        match value {
            Value::Params(params) => lines.extend(params.iter().map(|param| {
                let kind = param.value.as_ref().map_or_else(String::new, |value| format!(" ({})", describe(value)));
                format!("{}: {}{kind}", spell(param), param.doc)
            })),
            value => lines.push(format!("{which}: {}", describe(value))),
        }
    }
    if page.repeats && page.module != "language" {
        lines.push("may be written more than once in a block".into());
    }
    lines
}

fn example(page: &Page) -> String {
    let given = match page.default {
        Some(default) => default.to_owned(),
        None => {
            let count = page.min.max(usize::from(page.max > 0)).min(page.values.len().max(page.min));
            let kinds = page.values.iter().chain(page.values.last().into_iter().cycle());
            kinds.take(count).map(sample).collect::<Vec<_>>().join(" ")
        }
    };
    let space = if given.is_empty() { "" } else { " " };
    let end = if page.block { " { ... }" } else { ";" };
    format!("{}{space}{given}{end}", page.name)
}

fn cell(text: &str) -> String {
    escape_markdown(&text.replace('|', "\\|"))
}

fn escape_markdown(text: &str) -> String {
    text.replace('<', "\\<").replace('*', "\\*")
}

/// Lines of at most 78 characters, two of them indentation.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 78 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
