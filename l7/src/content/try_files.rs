//! `try_files`: the first of several paths that is there serves the request; if none is, the request
//! goes to another path or a named location, or is answered with a status.
//!
//! It runs behind access and before the content, of which it may be any kind: a peer too gets a
//! request whose path is that of a file. `exchange` calls it.

use super::path::{folder, leads_out, usable};
use crate::directives::{LOCATION, SERVER};
use crate::disk::{self, Kind};
use crate::exchange::Exchange;
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Piece, Repeat, Template, Value, Word};
use fairlead_core::log::Level;

/// The paths of a location, which no block inherits.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    candidates: Box<[Candidate]>,
    last: Last,
}

#[derive(Clone, Debug)]
struct Candidate {
    name: Template<Variable>,
    /// A folder is meant, else a file.
    folder: bool,
}

#[derive(Clone, Debug)]
enum Last {
    Status(u16),
    /// A path with arguments, or a named location.
    Uri(Template<Variable>),
}

/// What came of it.
pub(crate) enum Tried {
    /// `uri` names what is there.
    Found,
    Status(u16),
    /// Nothing is there: the request goes here.
    Elsewhere(Vec<u8>),
}

pub(crate) const TRY_FILES: &[Directive<Option<Tries>>] = &[Directive {
    name: "try_files",
    contexts: SERVER.or(LOCATION),
    args: Args::at_least(2, &[Value::Text], "file ... uri | file ... =code"),
    repeat: Repeat::Once,
    default: None,
    doc: "The first of these files below `root` or `alias` that is there serves the request; a name with a slash at its \
          end means a folder. When none is, the request goes to the last argument: a path (`/index.php?$args`), a named \
          location (`@peers`), or the status behind a `=`. No block inherits it: in a server it is for requests that \
          match no location. Example: `try_files $uri $uri/ /index.html;`.",
    set: |tries, given| {
        *tries = Some(parse(given)?);
        Ok(())
    },
}];

fn parse(given: &Given<'_>) -> Result<Tries, Diagnostic> {
    let Some((last, names)) = given.words().split_last() else {
        return Err(given.error(0, "nothing to try"));
    };
    let candidates: Result<Box<[Candidate]>, Diagnostic> = names.iter().map(|word| candidate(word, given)).collect();
    let last = match last.text.strip_prefix('=') {
        None => Last::Uri(variables::compile(last, given.cx)?),
        Some(code) => {
            let digits = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
            let status = code.parse().ok().filter(|status| digits && *status <= 999);
            let wrong = || given.error(given.len().saturating_sub(1), format!("invalid code \"{}\"", last.text));
            Last::Status(status.ok_or_else(wrong)?)
        }
    };
    Ok(Tries { candidates: candidates?, last })
}

fn candidate(word: &Word, given: &Given<'_>) -> Result<Candidate, Diagnostic> {
    let mut name = variables::compile(word, given.cx)?;
    let mut folder = false;
    if let Some(Piece::Text(text)) = name.pieces.last_mut()
        && let Some(short) = text.strip_suffix('/')
    {
        *text = short.into();
        folder = true;
    }
    Ok(Candidate { name, folder })
}

/// Looks for the files in turn.
pub(crate) fn try_files(exchange: &mut Exchange, tries: &Tries) -> Tried {
    if !usable(exchange) {
        return Tried::Status(500);
    }
    let mut path = folder(exchange);
    let root = path.len();
    for candidate in &tries.candidates {
        path.truncate(root);
        path.extend_from_slice(&named(exchange, &candidate.name));
        if is_there(exchange, &path, root, candidate.folder) {
            let name = path.split_off(root);
            take(exchange, &name, candidate.folder);
            return Tried::Found;
        }
    }
    match &tries.last {
        Last::Status(status) => Tried::Status(*status),
        Last::Uri(to) => Tried::Elsewhere(named(exchange, to)),
    }
}

/// The name as it is for this request. As nginx: below an `alias` one with variables stands for what
/// follows the location's prefix if it begins with that.
fn named(exchange: &Exchange, template: &Template<Variable>) -> Vec<u8> {
    let mut name = Vec::new();
    exchange.render(template, &mut name);
    let root = &exchange.location.root;
    if root.alias && root.replaced != usize::MAX && template.literal().is_none() {
        let prefix = exchange.uri.get(..root.replaced).unwrap_or_default();
        if name.starts_with(prefix) {
            name.drain(..prefix.len());
        }
    }
    name
}

fn is_there(exchange: &Exchange, path: &[u8], root: usize, folder: bool) -> bool {
    if leads_out(path.get(root..).unwrap_or_default()) {
        return false;
    }
    match disk::look(exchange, path) {
        Ok(about) => (about.kind == Kind::Folder) == folder,
        Err(failure) => {
            if !failure.is_absence() {
                let shown = String::from_utf8_lossy(path);
                exchange.log(Level::Crit, format_args!("{} \"{shown}\" failed {failure}", failure.call));
            }
            false
        }
    }
}

/// Makes what was found the path of the request.
fn take(exchange: &mut Exchange, name: &[u8], folder: bool) {
    let root = &exchange.location.root;
    match (root.alias, root.replaced) {
        (false, _) => {
            exchange.uri.clear();
        }
        // The folder is what the alias itself names.
        (true, usize::MAX) if folder => return,
        (true, usize::MAX) => {
            exchange.uri.clear();
            exchange.below_alias = true;
        }
        (true, replaced) => exchange.uri.truncate(replaced),
    }
    exchange.uri.extend_from_slice(name);
}
