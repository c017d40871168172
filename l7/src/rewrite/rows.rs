//! The directives of this module but `if`, whose block is `directives`' to read.

use super::Rules;
use super::condition::no_regex;
use super::program::{Rewrite, Rule, Set, SetTarget, Then};
use super::replacement::Replacement;
use crate::directives::{HTTP, IF, LOCATION, SERVER};
use crate::plan::Return;
use crate::route::Pattern;
use crate::variables::{self, custom};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value};

/// What a location inherits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub log: bool,
    /// Of variables that are used before they are set.
    pub warn: bool,
}

const ANYWHERE: Contexts = SERVER.or(LOCATION).or(IF);

pub(crate) const SETTINGS: &[Directive<Settings>] = &[
    Directive {
        name: "rewrite_log",
        contexts: HTTP.or(ANYWHERE),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Writes what `rewrite` and the regular expressions of `if` make of a request to the error log, at level \
              `notice`.",
        set: |settings, given| given.flag(0).map(|on| settings.log = on),
    },
    Directive {
        name: "uninitialized_variable_warn",
        contexts: HTTP.or(ANYWHERE),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Warns in the error log when a variable of `set` is used that the request has not set; it is empty then.",
        set: |settings, given| given.flag(0).map(|on| settings.warn = on),
    },
];

pub(crate) const RULES: &[Directive<Rules>] = &[
    Directive {
        name: "rewrite",
        contexts: ANYWHERE,
        args: Args::between(2, 3, &[Value::Text], "regex replacement [flag]"),
        repeat: Repeat::Append,
        default: None,
        doc: "Changes the path if the regular expression matches it: `rewrite ^/old/(.*)$ /new/$1 last;`. Arguments \
              behind a `?` come before those of the request; a `?` at the end drops these. `last` searches a location \
              for the new path, `break` stays in this one, no flag goes on with the rules below; `redirect` (302) and \
              `permanent` (301) send the client there, and so does what begins with `http://`, `https://` or \
              `$scheme`. More than ten changes are a cycle: 500.",
        set: |rules, given| {
            let rewrite = rewrite(given)?;
            rules.plain.push((given.order(), Rule::Rewrite(rewrite)));
            Ok(())
        },
    },
    Directive {
        name: "return",
        contexts: ANYWHERE,
        args: Args::between(1, 2, &[Value::Text, Value::Template], "code [text] | code URL | URL"),
        repeat: Repeat::Append,
        default: None,
        doc: "Answers at once: with a status and its page, with a text (`return 200 \"up\\n\";`), or with a redirect \
              (`return 301 https://$host$request_uri;`; a URL alone is 302). `return 444` closes the connection \
              without an answer. Rules below it do not run; those of a server run before a location is searched.",
        set: |rules, given| {
            let answer = answer(given)?;
            rules.plain.push((given.order(), Rule::Return(answer)));
            Ok(())
        },
    },
    Directive {
        name: "break",
        contexts: ANYWHERE,
        args: Args::none(),
        repeat: Repeat::Append,
        default: None,
        doc: "Ends the rules; the request stays in this location even if they changed its path.",
        set: |rules, given| {
            rules.plain.push((given.order(), Rule::Break));
            Ok(())
        },
    },
    Directive {
        name: "set",
        contexts: ANYWHERE,
        args: Args::exactly(&[Value::Text, Value::Template], "$variable value"),
        repeat: Repeat::Append,
        default: None,
        doc: "Gives a variable a value, in the order of the rules: `set $id $1;`. It may be used everywhere, and is \
              empty for requests that do not come by here. `$args` is the query of the request itself.",
        set: |rules, given| {
            let target = match custom::settable(given, 0) {
                _ if given.text(0).eq_ignore_ascii_case("$limit_rate") => SetTarget::Rate,
                settable => match settable? {
                    None => SetTarget::Args,
                    Some(number) => SetTarget::Custom(number),
                },
            };
            let value = variables::compile(given.word(1), given.cx)?;
            rules.plain.push((given.order(), Rule::Set(Set { target, value })));
            Ok(())
        },
    },
];

fn rewrite(given: &Given<'_>) -> Result<Rewrite, Diagnostic> {
    let (regex, to) = (given.word(0), given.word(1));
    if to.text.is_empty() {
        return Err(given.error(1, "empty replacement").help("the path of the root is \"/\""));
    }
    custom::check_groups(regex)?;
    let pattern = Pattern::new(&regex.text, false).map_err(|why| no_regex(regex, &why))?;
    let leaves = is_url(&to.text);
    let then = match given.words().get(2).map(|flag| &*flag.text) {
        None if leaves => Then::Redirect(302),
        None => Then::GoOn,
        Some("permanent") => Then::Redirect(301),
        Some("redirect") => Then::Redirect(302),
        // A URL is a redirect whatever the flag says.
        Some("last" | "break") if leaves => Then::Redirect(302),
        Some("last") => Then::Last,
        Some("break") => Then::Break,
        Some(other) => {
            let problem = given.error(2, format!("invalid parameter \"{other}\""));
            return Err(problem.help("a flag is last, break, redirect or permanent"));
        }
    };
    let (word, keeps_args) = match to.text.strip_suffix('?') {
        Some(text) => (to.head(text.len()), false),
        None => (to.clone(), true),
    };
    let template = variables::compile(&word, given.cx)?;
    let to = Replacement::new(template, keeps_args, matches!(then, Then::Redirect(_)));
    Ok(Rewrite { pattern, text: regex.text.clone(), to, then })
}

fn is_url(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|start| text.starts_with(start))
}

fn answer(given: &Given<'_>) -> Result<Return, Diagnostic> {
    let first = given.text(0);
    let code = first.bytes().all(|byte| byte.is_ascii_digit()).then(|| first.parse::<u16>().ok()).flatten();
    let Some(status) = code.filter(|&code| code <= 999) else {
        if given.len() == 1 && is_url(first) {
            return Ok(Return { status: 302, text: Some(variables::compile(given.word(0), given.cx)?) });
        }
        let problem = given.error(0, format!("invalid return code \"{first}\""));
        return Err(problem.help("write a status up to 999, or a URL that begins with http://, https:// or $scheme"));
    };
    let text = given.words().get(1).map(|word| variables::compile(word, given.cx)).transpose()?;
    Ok(Return { status, text })
}
