//! `proxy_redirect`: what a peer's `Location` and `Refresh` become.

use super::Settings;
use crate::directives::ALL;
use crate::proxy::Redirect;
use crate::route::Pattern;
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Diagnostic, Directive, FileId, Given, Repeat, Span, Template, Value};

/// One `proxy_redirect`.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// From the URL of `proxy_pass` to the location's path; where it is written, if it is.
    Default(Option<Span>),
    Replace(Redirect),
}

enum From {
    Prefix(Template<Variable>),
    Regex(Pattern),
}

pub(super) const REDIRECT: Directive<Settings> = Directive {
    name: "proxy_redirect",
    contexts: ALL,
    args: Args::between(1, 2, &[Value::Text], "default | off | redirect replacement"),
    repeat: Repeat::List(|proxy| proxy.redirects.clear()),
    default: Some("default"),
    doc: "Rewrites a peer's `Location` and `Refresh`: a value that begins with the first text gets the second in its \
          place (`proxy_redirect http://peer:8000/app/ /;`), or the first is a regex after `~` (`~*` in any case). \
          `default` replaces the URL of `proxy_pass` by the location's path.",
    set: |proxy, given| {
        match (given.text(0), given.len()) {
            ("off", 1) => proxy.redirects.clear(),
            ("default", 1) => {
                let at = given.statement.name.span;
                let written = (at.file != FileId(u32::MAX)).then_some(at);
                proxy.redirects.push(Rule::Default(written));
            }
            (other, 1) => {
                let message = format!("invalid parameter \"{other}\"");
                return Err(given.error(0, message).help("write \"off\", \"default\", or what to replace and by what"));
            }
            _ => proxy.redirects.push(Rule::Replace(replacement(given)?)),
        }
        Ok(())
    },
};

fn from(given: &Given<'_>) -> Result<From, Diagnostic> {
    let word = given.word(0);
    let Some(pattern) = word.text.strip_prefix('~') else {
        return variables::compile(word, given.cx).map(From::Prefix);
    };
    let (pattern, ignore_case) = match pattern.strip_prefix('*') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    regex(pattern, ignore_case, given).map(From::Regex)
}

pub(super) fn regex(pattern: &str, ignore_case: bool, given: &Given<'_>) -> Result<Pattern, Diagnostic> {
    Pattern::new(pattern, ignore_case).map_err(|why| {
        let problem = given.error(0, format!("invalid regular expression \"{pattern}\": {why}"));
        problem.help("it is read as PCRE reads it; put it in quotes if it holds {, } or ;")
    })
}

/// Arguments 0 and 1 as what is to be found and what takes its place.
pub(super) fn replacement(given: &Given<'_>) -> Result<Redirect, Diagnostic> {
    let to = variables::compile(given.word(1), given.cx)?;
    Ok(match from(given)? {
        From::Prefix(from) => Redirect { from, pattern: None, to },
        From::Regex(pattern) => Redirect { from: Template { pieces: Vec::new() }, pattern: Some(pattern), to },
    })
}
