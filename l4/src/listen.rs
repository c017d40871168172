//! `listen`: where a server takes sessions from, and its socket options.
//! Addresses are parsed here; binding is the master's.

use crate::directives::SERVER;
use fairlead_conf::value::{parse_flag, parse_size, parse_time};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Param, Repeat, Value, Word};
use fairlead_core::net::{Address, Keepalive, ListenOptions, Protocol};
use fairlead_core::plan::Resolve;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// One `listen`.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub address: Word,
    pub protocol: Protocol,
    pub proxy_protocol: bool,
    pub options: ListenOptions,
}

const COUNT: RangeInclusive<i64> = 1..=i32::MAX as i64;
const LATER: &str = "Known to nginx, not built in fairlead yet.";

const PARAMS: &[Param] = &[
    Param { name: "udp", value: None, doc: "Takes datagrams in place of connections." },
    Param { name: "proxy_protocol", value: None, doc: "Each connection begins with a PROXY protocol header." },
    Param { name: "backlog", value: Some(Value::Int(COUNT)), doc: "Longest queue of connections not accepted yet." },
    Param { name: "rcvbuf", value: Some(Value::Size), doc: "Receive buffer of the socket (`SO_RCVBUF`)." },
    Param { name: "sndbuf", value: Some(Value::Size), doc: "Send buffer of the socket (`SO_SNDBUF`)." },
    Param { name: "so_keepalive", value: Some(Value::Text), doc: "`on`, `off` or `[idle]:[interval]:[count]`." },
    Param { name: "fastopen", value: Some(Value::Int(COUNT)), doc: "Queue of connections opened by TCP Fast Open." },
    Param { name: "deferred", value: None, doc: "Accepts a connection when its first bytes are there." },
    Param { name: "ipv6only", value: Some(Value::Flag), doc: "Whether `[::]` takes IPv6 alone; `on` by default." },
    Param { name: "bind", value: None, doc: "Accepted: every address has sockets of its own here." },
    Param { name: "reuseport", value: None, doc: "Accepted: every worker has a socket of its own here." },
    Param { name: "ssl", value: None, doc: LATER },
    Param { name: "default_server", value: None, doc: LATER },
    Param { name: "multipath", value: None, doc: LATER },
    Param { name: "setfib", value: Some(Value::Text), doc: LATER },
    Param { name: "accept_filter", value: Some(Value::Text), doc: LATER },
];

pub(crate) const DIRECTIVES: &[Directive<Vec<Listen>>] = &[Directive {
    name: "listen",
    contexts: SERVER,
    args: Args::at_least(1, &[Value::Text, Value::Params(PARAMS)], "address:port [parameters]"),
    repeat: Repeat::Append,
    default: None,
    doc: "An address, a port, or both, or a `unix:` path that this server takes sessions on.",
    set: |listens, given| {
        listens.push(parse(given)?);
        Ok(())
    },
}];

fn parse(given: &Given<'_>) -> Result<Listen, Diagnostic> {
    let mut listen = Listen {
        address: given.word(0).clone(),
        protocol: Protocol::Tcp,
        proxy_protocol: false,
        options: ListenOptions::default(),
    };
    let mut tcp_only = None;
    for (index, word) in given.words().iter().enumerate().skip(1) {
        let (name, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
        parameter(&mut listen, name, value).map_err(|message| given.error(index, message))?;
        if matches!(name, "backlog" | "deferred" | "so_keepalive" | "proxy_protocol" | "fastopen") {
            tcp_only = tcp_only.or(Some((index, name)));
        }
    }
    match tcp_only {
        Some((index, name)) if listen.protocol == Protocol::Udp => {
            Err(given.error(index, format!("\"{name}\" parameter is incompatible with \"udp\"")))
        }
        _ => Ok(listen),
    }
}

fn parameter(listen: &mut Listen, name: &str, value: &str) -> Result<(), String> {
    let options = &mut listen.options;
    match name {
        "udp" => listen.protocol = Protocol::Udp,
        "proxy_protocol" => listen.proxy_protocol = true,
        "bind" | "reuseport" => {}
        "deferred" => options.deferred = true,
        "backlog" => options.backlog = positive(name, value)?,
        "fastopen" => options.fastopen = Some(positive(name, value)?),
        "rcvbuf" => options.rcvbuf = Some(size(name, value)?),
        "sndbuf" => options.sndbuf = Some(size(name, value)?),
        "ipv6only" => {
            options.ipv6only = parse_flag(value).ok_or_else(|| format!("invalid ipv6only flags \"{value}\""))?
        }
        "so_keepalive" => options.keepalive = Some(keepalive(value)?),
        "ssl" | "default_server" | "multipath" | "setfib" | "accept_filter" => {
            return Err(format!("\"{name}\" parameter is known to nginx, not built in fairlead yet"));
        }
        _ => return Err(format!("invalid parameter \"{name}\"")),
    }
    Ok(())
}

fn positive(name: &str, value: &str) -> Result<i32, String> {
    value.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("invalid {name} \"{name}={value}\""))
}

fn size(name: &str, value: &str) -> Result<usize, String> {
    let bytes = parse_size(value).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("invalid {name} \"{name}={value}\""))
}

fn keepalive(value: &str) -> Result<Keepalive, String> {
    match value {
        "on" => return Ok(Keepalive::On { idle: None, interval: None, count: None }),
        "off" => return Ok(Keepalive::Off),
        _ => {}
    }
    let invalid = || format!("invalid so_keepalive value: \"{value}\"");
    let mut parts = value.split(':');
    let idle = seconds(parts.next()).ok_or_else(invalid)?;
    let interval = seconds(parts.next()).ok_or_else(invalid)?;
    let count = match parts.next() {
        None | Some("") => None,
        Some(count) => Some(count.parse().map_err(|_| invalid())?),
    };
    if parts.next().is_some() || (idle.is_none() && interval.is_none() && count.is_none()) {
        return Err(invalid());
    }
    Ok(Keepalive::On { idle, interval, count })
}

/// `Some(None)` when nothing is written between the colons.
fn seconds(part: Option<&str>) -> Option<Option<Duration>> {
    match part {
        None | Some("") => Some(None),
        Some(text) => parse_time(text).map(Some),
    }
}

/// The addresses `listen` means: `localhost` may be two. `*` and a bare port are `0.0.0.0`.
pub(crate) fn addresses(word: &Word, resolve: &Resolve<'_>) -> Result<Vec<Address>, Diagnostic> {
    let error = |what: &str| {
        let message = format!("{what} \"{}\" of the \"listen\" directive", word.text);
        Err(Diagnostic::error(word.span, message)
            .help("write address:port, a port from 1 to 65535, [IPv6]:port or unix:path"))
    };
    if let Some(path) = word.text.strip_prefix("unix:") {
        return if path.is_empty() { error("no path in the unix domain socket in") } else { Ok(vec![unix(path)]) };
    }
    let (host, port) = match split(&word.text) {
        Some(parts) => parts,
        None => return error("invalid host in"),
    };
    let Some(port) = port else { return error("no port in") };
    if port.contains('-') {
        return Err(Diagnostic::error(
            word.span,
            format!("port range \"{port}\" is known to nginx, not built in fairlead yet"),
        ));
    }
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port != 0) else { return error("invalid port in") };
    let hosts = match host {
        "" | "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        _ => match literal(host).map_or_else(|| resolve(host), |ip| Ok(vec![ip])) {
            Ok(found) if !found.is_empty() => found,
            _ => return error("host not found in"),
        },
    };
    Ok(hosts.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect())
}

fn unix(path: &str) -> Address {
    Address::Unix(PathBuf::from(path))
}

/// Host (brackets kept) and port of `host:port`, `port`, `host`.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => Some(("", Some(text))),
        None => Some((text, None)),
    }
}

pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}
