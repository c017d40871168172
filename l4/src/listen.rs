//! `listen`: where a server takes sessions from, and its socket options.
//! Addresses are parsed here; binding is the master's.

use crate::directives::SERVER;
use ahash::AHashSet;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Param, Repeat, Value, Word};
use fairlead_core::net::{Address, ListenOptions, Protocol};
use fairlead_core::plan::Resolve;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// One `listen`.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub address: Word,
    pub protocol: Protocol,
    pub proxy_protocol: bool,
    pub default_server: bool,
    /// An option of the socket is written: one `listen` of each address may do so.
    pub sets_options: bool,
    pub options: ListenOptions,
}

const LATER: &str = "Known to nginx, not built in fairlead yet.";

const PARAMS: &[Param] = &[
    Param { name: "udp", value: None, doc: "Takes datagrams in place of connections." },
    Param { name: "proxy_protocol", value: None, doc: "Each connection begins with a PROXY protocol header." },
    Param { name: "backlog", value: Some(Value::Text), doc: "Longest queue of connections not accepted yet." },
    Param { name: "rcvbuf", value: Some(Value::Text), doc: "Receive buffer of the socket (`SO_RCVBUF`)." },
    Param { name: "sndbuf", value: Some(Value::Text), doc: "Send buffer of the socket (`SO_SNDBUF`)." },
    Param { name: "so_keepalive", value: Some(Value::Text), doc: "`on`, `off` or `[idle]:[interval]:[count]`." },
    Param { name: "fastopen", value: Some(Value::Text), doc: "Queue of TCP Fast Open; 0: none." },
    Param { name: "deferred", value: None, doc: "Accepts a connection when its first bytes are there." },
    Param { name: "ipv6only", value: Some(Value::Text), doc: "Whether `[::]` takes IPv6 alone; `on` by default." },
    Param { name: "bind", value: None, doc: "Accepted: every address has sockets of its own here." },
    Param { name: "reuseport", value: None, doc: "Accepted: every worker has a socket of its own here." },
    Param { name: "multipath", value: None, doc: "Takes connections of Multipath TCP too." },
    Param { name: "default_server", value: None, doc: "Takes the sessions that no `server_name` of the address does." },
    Param { name: "ssl", value: None, doc: LATER },
    Param { name: "setfib", value: Some(Value::Text), doc: "FreeBSD alone has it: refused." },
    Param { name: "accept_filter", value: Some(Value::Text), doc: "FreeBSD and NetBSD alone have it: ignored, aloud." },
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
        default_server: false,
        sets_options: false,
        options: ListenOptions::default(),
    };
    let mut tcp_only = None;
    for (index, word) in given.words().iter().enumerate().skip(1) {
        let (name, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
        if name == "accept_filter" {
            let message = format!("accept filters \"{}\" are not supported on this platform, ignored", word.text);
            given.cx.report(Diagnostic::warning(word.span, message));
            continue;
        }
        parameter(&mut listen, name, value).map_err(|message| given.error(index, message))?;
        listen.sets_options |= !matches!(name, "udp" | "proxy_protocol" | "default_server");
        if matches!(name, "backlog" | "deferred" | "so_keepalive" | "proxy_protocol" | "fastopen" | "multipath") {
            tcp_only = tcp_only.or(Some((index, name)));
        }
    }
    match tcp_only {
        Some((index, name)) if listen.protocol == Protocol::Udp => {
            Err(given.error(index, format!("\"listen\" directive \"{name}\" parameter is incompatible with \"udp\"")))
        }
        _ => Ok(listen),
    }
}

fn parameter(listen: &mut Listen, name: &str, value: &str) -> Result<(), String> {
    let options = &mut listen.options;
    match name {
        "udp" => listen.protocol = Protocol::Udp,
        "proxy_protocol" => listen.proxy_protocol = true,
        "default_server" => listen.default_server = true,
        _ if options.set(name, value)? => {}
        "ssl" => return Err("\"ssl\" parameter is known to nginx, not built in fairlead yet".to_owned()),
        "setfib" => return Err(format!("invalid parameter \"setfib={value}\"")),
        _ => return Err(format!("invalid parameter \"{name}={value}\"")),
    }
    Ok(())
}

/// The addresses `listen` means: `localhost` may be two, a range of ports is one for each. `*` and a
/// bare port are `0.0.0.0`.
pub(crate) fn addresses(word: &Word, resolve: &Resolve<'_>) -> Result<Vec<Address>, Diagnostic> {
    let error =
        |what: &str| Diagnostic::error(word.span, format!("{what} in \"{}\" of the \"listen\" directive", word.text));
    if let Some(path) = word.text.strip_prefix("unix:") {
        return match path {
            "" => Err(error("no path in the unix domain socket")),
            _ => Ok(vec![Address::Unix(PathBuf::from(path))]),
        };
    }
    let (host, ports) = split(&word.text).ok_or_else(|| error("invalid host"))?;
    let ports = ports.ok_or_else(|| error("no port")).and_then(|ports| parse_ports(ports).map_err(error))?;
    let hosts = match host {
        "" | "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        _ => match literal(host).map_or_else(|| resolve(host), |ip| Ok(vec![ip])) {
            Ok(found) if !found.is_empty() => found,
            _ => return Err(error("host not found")),
        },
    };
    // A name may have the same address twice.
    let mut seen = AHashSet::new();
    let hosts = hosts.into_iter().filter(|ip| seen.insert(*ip));
    Ok(hosts.flat_map(|ip| ports.clone().map(move |port| Address::Ip(SocketAddr::new(ip, port)))).collect())
}

/// `8000` or `8000-8010`.
fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0).ok_or("invalid port");
    let (first, last) = (port(first)?, port(last)?);
    if last < first { Err("invalid port range") } else { Ok(first..=last) }
}

/// Host (brackets kept) and ports of `host:port`, `port`, `host`.
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
