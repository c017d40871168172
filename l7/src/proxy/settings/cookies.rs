//! `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`: what a peer's `Set-Cookie` becomes.

use super::Settings;
use super::redirect::{regex, replacement};
use crate::directives::ALL;
use crate::proxy::{CookieFlags, Redirect};
use crate::variables;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Template, Value, Word};

type Row = Directive<Settings>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "proxy_cookie_domain",
        contexts: ALL,
        args: Args::between(1, 2, &[Value::Text], "off | domain replacement"),
        repeat: Repeat::List(|proxy| proxy.cookie_domains.clear()),
        default: None,
        doc: "Rewrites the `Domain` of a peer's cookies: `proxy_cookie_domain app.internal www.example.com;`. A dot in front \
              does not count, nor does case; after `~` stands a regex. The first that fits is applied; `off` drops the \
              inherited ones.",
        set: |proxy, given| {
            if !off(given, &mut proxy.cookie_domains)? {
                proxy.cookie_domains.push(domain(given)?);
            }
            Ok(())
        },
    },
    Row {
        name: "proxy_cookie_path",
        contexts: ALL,
        args: Args::between(1, 2, &[Value::Text], "off | path replacement"),
        repeat: Repeat::List(|proxy| proxy.cookie_paths.clear()),
        default: None,
        doc: "Rewrites the `Path` of a peer's cookies that begins with the first text: `proxy_cookie_path /app/ /;`; after \
              `~` (`~*` in any case) stands a regex. The first that fits is applied; `off` drops the inherited ones.",
        set: |proxy, given| {
            if !off(given, &mut proxy.cookie_paths)? {
                proxy.cookie_paths.push(replacement(given)?);
            }
            Ok(())
        },
    },
    Row {
        name: "proxy_cookie_flags",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "off | cookie [flag ...]"),
        repeat: Repeat::List(|proxy| proxy.cookie_flags.clear()),
        default: None,
        doc: "Flags of a peer's cookie by its name, or by a regex after `~`: `secure`, `httponly`, `samesite=strict`, \
              `samesite=lax` and `samesite=none` are added, `nosecure`, `nohttponly` and `nosamesite` taken away; variables \
              may give them. Example: `proxy_cookie_flags ~ secure samesite=lax;`. The first that fits is applied; `off` \
              drops the inherited ones.",
        set: |proxy, given| {
            if given.len() == 1 && given.text(0) == "off" {
                proxy.cookie_flags.clear();
                return Ok(());
            }
            proxy.cookie_flags.push(flags(given)?);
            Ok(())
        },
    },
];

/// Whether it says `off`.
fn off(given: &Given<'_>, rules: &mut Vec<Redirect>) -> Result<bool, Diagnostic> {
    if given.len() > 1 {
        return Ok(false);
    }
    if given.text(0) != "off" {
        let problem = given.error(0, format!("invalid parameter \"{}\"", given.text(0)));
        return Err(problem.help("write \"off\", or what to replace and by what"));
    }
    rules.clear();
    Ok(true)
}

fn domain(given: &Given<'_>) -> Result<Redirect, Diagnostic> {
    let bare = |word: &Word| match word.text.strip_prefix('.') {
        Some(_) => word.tail(1),
        None => word.clone(),
    };
    if let Some(pattern) = given.text(0).strip_prefix('~') {
        let to = variables::compile(given.word(1), given.cx)?;
        let pattern = Some(regex(pattern, true, given)?);
        return Ok(Redirect { from: Template { pieces: Vec::new() }, pattern, to });
    }
    let from = variables::compile(&bare(given.word(0)), given.cx)?;
    Ok(Redirect { from, pattern: None, to: variables::compile(&bare(given.word(1)), given.cx)? })
}

fn flags(given: &Given<'_>) -> Result<CookieFlags, Diagnostic> {
    let (name, pattern) = match given.text(0).strip_prefix('~') {
        Some(pattern) => (Template { pieces: Vec::new() }, Some(regex(pattern, true, given)?)),
        None => (variables::compile(given.word(0), given.cx)?, None),
    };
    let mut flags = Vec::new();
    for (index, word) in given.words().iter().enumerate().skip(1) {
        let flag = variables::compile(word, given.cx)?;
        if let Some(text) = flag.literal()
            && !CookieFlags::KNOWN.contains(&text)
        {
            let problem = given.error(index, format!("invalid parameter \"{text}\""));
            return Err(problem.help(format!("one of {} or a variable", CookieFlags::KNOWN.join(", "))));
        }
        flags.push(flag);
    }
    Ok(CookieFlags { name, pattern, flags })
}
