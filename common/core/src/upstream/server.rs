//! The parameters of `server` and of `sticky`.

use crate::upstream::{Method, Server, Sticky};
use fairlead_conf::value::parse_time;
use fairlead_conf::{Contexts, Diagnostic, Given, Param, Value, Word};
use std::time::Duration;

pub(super) const SERVER_PARAMS: &[Param] = &[
    Param {
        name: "weight",
        value: Some(Value::Int(1..=i32::MAX as i64)),
        doc: "The peer's share beside the other peers' weights; 1.",
    },
    Param {
        name: "max_conns",
        value: Some(Value::Int(0..=i32::MAX as i64)),
        doc: "Connections in progress, of all workers together, at which the peer is passed over; 0, no limit.",
    },
    Param {
        name: "max_fails",
        value: Some(Value::Int(0..=i32::MAX as i64)),
        doc: "Failures within `fail_timeout` that make the peer unavailable for as long; 1. 0 counts none.",
    },
    Param { name: "fail_timeout", value: Some(Value::Time), doc: "See `max_fails`; 10s." },
    Param { name: "backup", value: None, doc: "Picked when no server without it can be." },
    Param { name: "down", value: None, doc: "Never picked; keeps its place in hashes." },
    Param { name: "resolve", value: None, doc: "Not built in fairlead yet." },
    Param { name: "service", value: Some(Value::Text), doc: "Not built in fairlead yet." },
    Param { name: "slow_start", value: Some(Value::Time), doc: "Not built in fairlead yet." },
    Param { name: "route", value: Some(Value::Text), doc: "Not built in fairlead yet." },
    Param { name: "drain", value: None, doc: "Not built in fairlead yet." },
];

const NOT_BUILT: [&str; 5] = ["resolve", "service", "slow_start", "route", "drain"];

/// Reads a `server` statement. `method` is the one named above it, as in nginx.
pub(super) fn parse(given: &Given<'_>, method: &Method) -> Result<Server, Diagnostic> {
    for name in NOT_BUILT {
        if given.param(1, name).is_some() {
            return Err(not_built(given, name));
        }
    }
    if given.param(1, "backup").is_some() && !method.allows_backup() {
        let problem = "balancing method does not support parameter \"backup\"";
        return Err(Diagnostic::error(place_of(given, "backup"), problem)
            .help("backup servers go with round robin and `least_conn`"));
    }
    let mut server = Server::new(given.word(0).clone());
    server.weight = number(given, "weight", 1)?.unwrap_or(server.weight);
    server.max_conns = number(given, "max_conns", 0)?.unwrap_or(server.max_conns);
    server.max_fails = number(given, "max_fails", 0)?.unwrap_or(server.max_fails);
    if let Some(word) = given.param(1, "fail_timeout") {
        server.fail_timeout = parse_time(&word.text).ok_or_else(|| invalid(given, "fail_timeout"))?;
    }
    server.default_port = given.context.contains(Contexts::UPSTREAM).then_some(80);
    server.backup = given.param(1, "backup").is_some();
    server.down = given.param(1, "down").is_some();
    Ok(server)
}

const STICKY_PARAMS: [&str; 6] = ["expires", "domain", "path", "samesite", "httponly", "secure"];

/// Reads a `sticky` statement.
pub(super) fn parse_sticky(given: &Given<'_>) -> Result<Sticky, Diagnostic> {
    if given.text(0) != "cookie" {
        let problem = format!("\"sticky {}\" is known to nginx, not built in fairlead yet", given.text(0));
        return Err(given.error(0, problem).help("`sticky cookie` is built"));
    }
    for (index, word) in given.words().iter().enumerate().skip(2) {
        let (name, has_value) = word.text.split_once('=').map_or((&*word.text, false), |(name, _)| (name, true));
        let takes_value = !matches!(name, "httponly" | "secure");
        if !STICKY_PARAMS.contains(&name) || takes_value != has_value {
            let help = "parameters: expires=, domain=, path=, samesite=, httponly, secure";
            return Err(given.error(index, format!("invalid parameter \"{}\"", word.text)).help(help));
        }
    }
    let samesite = given.param(2, "samesite");
    if let Some(word) = &samesite
        && !word.text.contains('$')
        && !["strict", "lax", "none"].iter().any(|known| word.text.eq_ignore_ascii_case(known))
    {
        let problem = format!("invalid \"samesite\" value \"{}\"", word.text);
        return Err(Diagnostic::error(word.span, problem).help("strict, lax, none or a variable"));
    }
    Ok(Sticky {
        name: given.word(1).clone(),
        expires: given.param(2, "expires").map(|word| expires(given, &word)).transpose()?,
        domain: given.param(2, "domain"),
        path: given.param(2, "path"),
        httponly: given.param(2, "httponly").is_some(),
        secure: given.param(2, "secure").is_some(),
        samesite,
    })
}

fn expires(given: &Given<'_>, word: &Word) -> Result<Option<Duration>, Diagnostic> {
    if &*word.text == "max" {
        return Ok(None);
    }
    parse_time(&word.text).map(Some).ok_or_else(|| invalid(given, "expires"))
}

fn number(given: &Given<'_>, name: &str, least: u32) -> Result<Option<u32>, Diagnostic> {
    let Some(word) = given.param(1, name) else { return Ok(None) };
    let number = word.text.parse().ok().filter(|number| *number >= least && *number <= i32::MAX as u32);
    number.map(Some).ok_or_else(|| invalid(given, name))
}

fn invalid(given: &Given<'_>, name: &str) -> Diagnostic {
    let word = written(given, name).unwrap_or(&given.statement.name);
    Diagnostic::error(word.span, format!("invalid parameter \"{}\"", word.text))
}

fn not_built(given: &Given<'_>, name: &str) -> Diagnostic {
    let word = written(given, name).unwrap_or(&given.statement.name);
    let problem = format!("parameter \"{}\" is known to nginx, not built in fairlead yet", word.text);
    Diagnostic::error(word.span, problem)
}

fn place_of(given: &Given<'_>, name: &str) -> fairlead_conf::Span {
    written(given, name).unwrap_or(&given.statement.name).span
}

/// The whole word of a parameter.
fn written<'a>(given: &Given<'a>, name: &str) -> Option<&'a Word> {
    given.words().iter().skip(1).find(|word| word.text.split('=').next() == Some(name))
}
