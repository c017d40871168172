//! What nginx knows and fairlead has no row for, as data: its directives with
//! their contexts (`known.tsv`), those that only tune its internals and are
//! accepted with no effect (`no_effect.tsv`), and common traps (`traps.tsv`).

use crate::{Contexts, Diagnostic, Statement, Word, value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A directive of nginx, from its documentation.
pub(crate) struct Known {
    pub module: &'static str,
    pub name: &'static str,
    pub syntax: &'static str,
    pub contexts: Contexts,
}

/// A directive that is checked and then has no effect.
pub(crate) struct Accepted {
    pub name: &'static str,
    /// One entry per argument: its alternatives, separated by `|`; optional in brackets.
    args: Vec<&'static str>,
    pub once: bool,
    pub why: &'static str,
}

/// What people write by mistake.
pub(crate) struct Trap {
    /// Help for the name where it is no directive.
    pub unknown: Option<&'static str>,
    /// First argument and the warning it deserves.
    warning: Option<(&'static str, &'static str)>,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| rows(include_str!("known.tsv")).filter_map(known).collect());
static KNOWN_BY_NAME: LazyLock<HashMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut by_name: HashMap<&'static str, Vec<usize>> = HashMap::new();
    KNOWN.iter().enumerate().for_each(|(at, known)| by_name.entry(known.name).or_default().push(at));
    by_name
});
static ACCEPTED: LazyLock<HashMap<&'static str, Accepted>> =
    LazyLock::new(|| rows(include_str!("no_effect.tsv")).filter_map(accept).map(|row| (row.name, row)).collect());
static TRAPS: LazyLock<HashMap<&'static str, Trap>> =
    LazyLock::new(|| rows(include_str!("traps.tsv")).filter_map(trap_row).collect());

/// All that nginx knows, in its documentation's order.
pub(crate) fn all() -> &'static [Known] {
    &KNOWN
}

pub(crate) fn named(name: &str) -> impl Iterator<Item = &'static Known> {
    KNOWN_BY_NAME.get(name).into_iter().flatten().filter_map(|&at| KNOWN.get(at))
}

/// The row of a directive that has no effect, where it may stand in `context`.
pub(crate) fn accepted(name: &str, context: Contexts) -> Option<&'static Accepted> {
    let row = ACCEPTED.get(name)?;
    named(name).any(|known| known.contexts.contains(context)).then_some(row)
}

pub(crate) fn has_no_effect(name: &str) -> Option<&'static Accepted> {
    ACCEPTED.get(name)
}

/// Where a directive that has no effect may stand; nowhere for others.
pub(crate) fn accepted_contexts(name: &str) -> Contexts {
    let rows = named(name).filter(|known| ACCEPTED.contains_key(known.name));
    rows.fold(Contexts(0), |all, known| all.or(known.contexts))
}

pub(crate) fn accepted_names(context: Contexts) -> impl Iterator<Item = &'static str> {
    KNOWN
        .iter()
        .filter(move |known| known.contexts.contains(context))
        .map(|known| known.name)
        .filter(|name| ACCEPTED.contains_key(name))
}

pub(crate) fn trap(name: &str) -> Option<&'static Trap> {
    TRAPS.get(name)
}

impl Trap {
    pub(crate) fn warning(&self, statement: &Statement) -> Option<Diagnostic> {
        let (argument, warning) = self.warning?;
        let word = statement.args.first().filter(|word| &*word.text == argument)?;
        let written = format!("\"{} {argument}\" {warning}", statement.name.text);
        let (message, help) = written.split_once(": ").unwrap_or((&written, ""));
        let diagnostic = Diagnostic::warning(word.span, message);
        Some(if help.is_empty() { diagnostic } else { diagnostic.help(help) })
    }
}

impl Accepted {
    /// Arity, then the form of each argument.
    pub(crate) fn check(&self, statement: &Statement) -> Result<(), Diagnostic> {
        let name = &statement.name;
        let required = self.args.iter().filter(|spec| !spec.starts_with('[')).count();
        if !(required..=self.args.len()).contains(&statement.args.len()) {
            let message = format!("invalid number of arguments in \"{}\" directive", name.text);
            let syntax = named(self.name).next().map_or("", |known| known.syntax);
            return Err(Diagnostic::error(name.span, message).help(format!("write: {} {syntax};", self.name)));
        }
        for (word, spec) in statement.args.iter().zip(&self.args) {
            let spec = spec.trim_matches(['[', ']']);
            if !spec.split('|').any(|alternative| fits(alternative, &word.text)) {
                return Err(wrong_form(&name.text, word, spec));
            }
        }
        Ok(())
    }
}

fn fits(alternative: &str, text: &str) -> bool {
    match alternative {
        "<flag>" => value::parse_flag(text).is_some(),
        "<int>" => value::parse_int(text).is_some_and(|number| number >= 0),
        "<count>" => value::parse_int(text).is_some_and(|number| number > 0),
        "<size>" => value::parse_size(text).is_some(),
        "<time>" => value::parse_time(text).is_some(),
        "<word>" => !text.is_empty(),
        literal => match literal.split_once('=') {
            Some((name, alternative)) => {
                text.split_once('=').is_some_and(|(given, value)| given == name && fits(alternative, value))
            }
            None => text == literal,
        },
    }
}

fn wrong_form(directive: &str, word: &Word, spec: &str) -> Diagnostic {
    let text = &word.text;
    if spec == "<flag>" {
        let message = format!("invalid value \"{text}\" in \"{directive}\" directive, it must be \"on\" or \"off\"");
        return Diagnostic::error(word.span, message).help("write \"on\" or \"off\"");
    }
    let what = match spec {
        "<int>" | "<count>" => "invalid number",
        _ => "invalid value",
    };
    let expected = spec.replace("<count>", "a number from 1 on").replace("<int>", "a number");
    let expected = expected.replace(['<', '>'], "").replace('|', " or ");
    Diagnostic::error(word.span, format!("\"{directive}\" directive {what}")).help(format!("write {expected}"))
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().skip(1).filter(|line| !line.is_empty()).map(|line| line.split('\t').collect())
}

fn known(row: Vec<&'static str>) -> Option<Known> {
    let [module, name, syntax, _default, contexts, ..] = row.as_slice() else { return None };
    let contexts = contexts.split(", ").map(|context| context_of(module, context)).fold(Contexts(0), Contexts::or);
    Some(Known { module, name, syntax, contexts })
}

fn context_of(module: &str, context: &str) -> Contexts {
    let (http, stream) = match context {
        "main" => return Contexts::MAIN,
        "events" => return Contexts::EVENTS,
        "http" => return Contexts::HTTP,
        "stream" => return Contexts::STREAM,
        "location" => return Contexts::LOCATION,
        "limit_except" => return Contexts::LIMIT_EXCEPT,
        "if in location" => return Contexts::IF_LOCATION,
        "if" => return Contexts::IF_SERVER.or(Contexts::IF_LOCATION),
        "server" => (Contexts::SERVER, Contexts::STREAM_SERVER),
        "upstream" => (Contexts::UPSTREAM, Contexts::STREAM_UPSTREAM),
        _ => return Contexts(0),
    };
    match module {
        "core" => http.or(stream),
        module if module.starts_with("stream") => stream,
        _ => http,
    }
}

fn accept(row: Vec<&'static str>) -> Option<Accepted> {
    let [name, args, repeat, why] = row.as_slice() else { return None };
    Some(Accepted { name, args: args.split(' ').collect(), once: *repeat == "once", why })
}

fn trap_row(row: Vec<&'static str>) -> Option<(&'static str, Trap)> {
    let [name, argument, text] = *row.as_slice() else { return None };
    let trap = match argument {
        "-" => Trap { unknown: Some(text), warning: None },
        argument => Trap { unknown: None, warning: Some((argument, text)) },
    };
    Some((name, trap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_a_row() {
        let lines = |table: &str| table.lines().skip(1).filter(|line| !line.is_empty()).count();
        assert_eq!(KNOWN.len(), lines(include_str!("known.tsv")));
        assert_eq!(ACCEPTED.len(), lines(include_str!("no_effect.tsv")));
        assert_eq!(TRAPS.len(), lines(include_str!("traps.tsv")));
    }

    #[test]
    fn what_has_no_effect_is_known_to_nginx() {
        for name in ACCEPTED.keys() {
            assert!(named(name).any(|known| known.contexts != Contexts(0)), "{name}");
        }
    }

    #[test]
    fn argument_types_are_spelled_right() {
        const TYPES: &[&str] = &["<flag>", "<int>", "<count>", "<size>", "<time>", "<word>"];
        for (name, row) in ACCEPTED.iter() {
            for part in row.args.iter().flat_map(|spec| spec.trim_matches(['[', ']']).split('|')) {
                let kind = part.split_once('=').map_or(part, |(_, kind)| kind);
                assert!(!kind.contains('<') || TYPES.contains(&kind), "{name}: {part}");
            }
        }
    }

    #[test]
    fn known_contexts_are_all_understood() {
        for line in rows(include_str!("known.tsv")) {
            for context in line[4].split(", ").filter(|context| !matches!(*context, "" | "mail")) {
                assert_ne!(context_of(line[0], context), Contexts(0), "{} {context}", line[1]);
            }
        }
    }
}
