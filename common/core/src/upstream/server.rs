//! The parameters of `server`.

use crate::upstream::address::{self, Place};
use crate::upstream::{Method, Server};
use fairlead_conf::value::parse_time;
use fairlead_conf::{Contexts, Diagnostic, Given, Param, Value, Word};
use std::net::IpAddr;

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
    Param {
        name: "resolve",
        value: None,
        doc: "The name is looked up while the process runs, by `resolver`, and again when its TTL has passed: new \
              addresses become peers and those that are gone get no more. The group needs a `zone`.",
    },
    Param {
        name: "service",
        value: Some(Value::Text),
        doc: "With resolve: peers come from the SRV records of `_NAME._tcp.` and the address (`NAME.` if it has a dot): \
              those of the lowest priority number are primary ones, the others backup ones.",
    },
    Param {
        name: "slow_start",
        value: Some(Value::Time),
        doc: "How long the weight takes to grow from nothing to its value, in 64 steps, after the server was \
              unavailable or unhealthy; 0, no time. Not for the only server of a group.",
    },
    Param {
        name: "route",
        value: Some(Value::Text),
        doc: "http: what `sticky route` and the cookies of `sticky cookie` call the server, in place of the MD5 of its \
              address; 32 bytes at most.",
    },
    Param { name: "drain", value: None, doc: "Gets the sessions that `sticky` binds to it and no other." },
];

/// nginx's, for a server's id: an MD5 in hexadecimal digits.
const LONGEST_ROUTE: usize = 32;

/// Reads a `server` statement. `method` is the one named above it, as in nginx.
pub(super) fn parse(given: &Given<'_>, method: &Method) -> Result<Server, Diagnostic> {
    for (name, allowed) in [("backup", method.allows_backup()), ("slow_start", method.allows_slow_start())] {
        if given.param(1, name).is_some() && !allowed {
            let problem = format!("balancing method does not support parameter \"{name}\"");
            return Err(Diagnostic::error(place_of(given, name), problem)
                .help("it goes with round robin, `least_conn` and `least_time`"));
        }
    }
    let mut server = Server::new(given.word(0).clone());
    server.weight = number(given, "weight", 1)?.unwrap_or(server.weight);
    server.max_conns = number(given, "max_conns", 0)?.unwrap_or(server.max_conns);
    server.max_fails = number(given, "max_fails", 0)?.unwrap_or(server.max_fails);
    if let Some(word) = given.param(1, "fail_timeout") {
        server.fail_timeout = parse_time(&word.text).ok_or_else(|| invalid(given, "fail_timeout"))?;
    }
    if let Some(word) = given.param(1, "slow_start") {
        server.slow_start = parse_time(&word.text).ok_or_else(|| invalid(given, "slow_start"))?;
    }
    server.default_port = given.context.contains(Contexts::UPSTREAM).then_some(80);
    server.backup = given.param(1, "backup").is_some();
    server.down = given.param(1, "down").is_some();
    server.drain = given.param(1, "drain").is_some();
    server.resolve = given.param(1, "resolve").is_some();
    server.service = given.param(1, "service");
    server.route = given.param(1, "route");
    if let Some(route) = &server.route {
        check_route(given, route)?;
    }
    if let Some(service) = &server.service {
        check_service(&server, service)?;
    }
    Ok(server)
}

fn check_service(server: &Server, service: &Word) -> Result<(), Diagnostic> {
    let name = &server.address;
    let error = |problem: &str| Diagnostic::error(name.span, format!("service upstream \"{}\" {problem}", name.text));
    if service.text.is_empty() {
        return Err(Diagnostic::error(service.span, "service is empty"));
    }
    if !server.resolve {
        return Err(error("requires \"resolve\" parameter"));
    }
    match address::parse(&name.text) {
        // What is no address at all is told of when the group is built.
        Err(_) => Ok(()),
        Ok(Place::Host { port: Some(_), .. }) => Err(error("may not have port").help("SRV records say the ports")),
        Ok(Place::Host { host, port: None }) if host.parse::<IpAddr>().is_err() => Ok(()),
        Ok(_) => Err(error("requires domain name")),
    }
}

fn check_route(given: &Given<'_>, route: &Word) -> Result<(), Diagnostic> {
    if !given.context.contains(Contexts::UPSTREAM) {
        return Err(invalid(given, "route").help("stream has no `sticky route`"));
    }
    if route.text.is_empty() {
        return Err(invalid(given, "route"));
    }
    // It may be the value of a cookie (RFC 6265 section 4.1.1).
    let wrong = |byte: &u8| !matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    if let Some(byte) = route.text.as_bytes().iter().find(|byte| wrong(byte)) {
        let problem = format!("\"{}\" may not stand in a route", [*byte].escape_ascii());
        return Err(Diagnostic::error(route.span, problem));
    }
    if route.text.len() > LONGEST_ROUTE {
        let problem = format!("route is longer than {LONGEST_ROUTE} bytes");
        return Err(Diagnostic::error(route.span, problem));
    }
    Ok(())
}

fn number(given: &Given<'_>, name: &str, least: u32) -> Result<Option<u32>, Diagnostic> {
    let Some(word) = given.param(1, name) else { return Ok(None) };
    let number = word.text.parse().ok().filter(|number| *number >= least && *number <= i32::MAX as u32);
    number.map(Some).ok_or_else(|| invalid(given, name))
}

pub(super) fn invalid(given: &Given<'_>, name: &str) -> Diagnostic {
    let word = written(given, name).unwrap_or(&given.statement.name);
    Diagnostic::error(word.span, format!("invalid parameter \"{}\"", word.text))
}

fn place_of(given: &Given<'_>, name: &str) -> fairlead_conf::Span {
    written(given, name).unwrap_or(&given.statement.name).span
}

/// The whole word of a parameter.
fn written<'a>(given: &Given<'a>, name: &str) -> Option<&'a Word> {
    given.words().iter().skip(1).find(|word| word.text.split('=').next() == Some(name))
}
