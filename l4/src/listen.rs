//! `listen`: where a server takes sessions from, and its socket options.
//! What an address means is the core's, binding the master's.

use crate::directives::SERVER;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Param, Repeat, Value, Word};
use fairlead_core::net::{ListenOptions, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    ListenOptions::BACKLOG,
    ListenOptions::RCVBUF,
    ListenOptions::SNDBUF,
    ListenOptions::SO_KEEPALIVE,
    ListenOptions::FASTOPEN,
    ListenOptions::DEFERRED,
    ListenOptions::IPV6ONLY,
    Param { name: "bind", value: None, doc: "Accepted: every address has sockets of its own here." },
    Param { name: "reuseport", value: None, doc: "Accepted: every worker has a socket of its own here." },
    ListenOptions::MULTIPATH,
    Param { name: "default_server", value: None, doc: "Takes the sessions that no `server_name` of the address does." },
    Param { name: "ssl", value: None, doc: LATER },
    ListenOptions::SETFIB,
    ListenOptions::ACCEPT_FILTER,
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

/// The address that a host is, not a name.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}
