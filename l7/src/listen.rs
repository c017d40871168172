//! `listen`: where servers are reached, and which server answers there by default.

use crate::directives::SERVER;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Param, Repeat, Span, Value, Word};
use fairlead_core::net::{Address, ListenOptions};
use fairlead_core::plan::Resolve;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// One `listen` as written.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// The address and its place; `None` for a server that says nothing.
    pub address: Word,
    pub default_server: bool,
    pub proxy_protocol: bool,
    /// Socket options, when any is written: they hold for the address in all servers.
    pub options: Option<ListenOptions>,
}

const fn flag(name: &'static str, doc: &'static str) -> Param {
    Param { name, value: None, doc }
}

const PARAMS: &[Param] = &[
    flag("default_server", "answers for host names that no server of the address has"),
    flag("default", "the same"),
    flag("proxy_protocol", "clients send a PROXY protocol header first"),
    flag("bind", "binds this address by itself; always done, unless a wildcard has the port"),
    flag("deferred", "accepts connections when their first bytes are there"),
    flag("reuseport", "one socket per worker; always done"),
    Param { name: "backlog", value: Some(Value::Text), doc: "connections that may wait to be accepted" },
    Param { name: "rcvbuf", value: Some(Value::Text), doc: "the kernel's receive buffer" },
    Param { name: "sndbuf", value: Some(Value::Text), doc: "the kernel's send buffer" },
    Param { name: "fastopen", value: Some(Value::Text), doc: "length of the TCP Fast Open queue" },
    Param { name: "ipv6only", value: Some(Value::Text), doc: "whether `[::]` takes IPv6 alone" },
    Param { name: "so_keepalive", value: Some(Value::Text), doc: "`on`, `off`, or `idle:interval:count`" },
    flag("ssl", "TLS"),
    flag("http2", "HTTP/2"),
    flag("quic", "HTTP/3"),
    flag("multipath", "takes connections of Multipath TCP too"),
    Param { name: "setfib", value: Some(Value::Text), doc: "FreeBSD alone has it: refused" },
    Param { name: "accept_filter", value: Some(Value::Text), doc: "FreeBSD and NetBSD alone have it: ignored, aloud" },
];

/// Parameters that nginx has and this build has not.
const NOT_BUILT: [&str; 3] = ["ssl", "http2", "quic"];

pub(crate) const DIRECTIVES: &[Directive<Vec<Listen>>] = &[Directive {
    name: "listen",
    contexts: SERVER,
    args: Args::at_least(
        1,
        &[Value::Text, Value::Params(PARAMS)],
        "address[:port] | port | unix:path [default_server] [proxy_protocol] [backlog=number] [rcvbuf=size] \
         [sndbuf=size] [fastopen=number] [deferred] [bind] [ipv6only=on|off] [reuseport] \
         [so_keepalive=on|off|[idle]:[interval]:[count]]",
    ),
    repeat: Repeat::Append,
    default: None,
    doc: "An address that the server answers on: `80`, `127.0.0.1:8080`, `[::]:80`, `localhost:8000-8010`, \
          `unix:/run/web.sock`. Without any: port 80, or 8000 when not started by root. Socket options may be \
          written once per address. `default_server` makes the server answer for host names nobody has; \
          else the first server of the address does.",
    set: |listens, given| {
        let listen = parse(given)?;
        if listens.iter().any(|other| other.address.text == listen.address.text) {
            return Err(given.error(0, format!("a duplicate listen {}", listen.address.text)));
        }
        listens.push(listen);
        Ok(())
    },
}];

/// What a server without `listen` listens on.
pub(crate) fn default_listen(span: Span) -> Listen {
    let text = if nix::unistd::geteuid().is_root() { "*:80" } else { "*:8000" };
    let address = Word { text: text.into(), span, quoted: false };
    Listen { address, default_server: false, proxy_protocol: false, options: None }
}

fn parse(given: &Given<'_>) -> Result<Listen, Diagnostic> {
    let mut listen = Listen { address: given.word(0).clone(), ..default_listen(given.word(0).span) };
    let mut options = ListenOptions::default();
    for (index, word) in given.words().iter().enumerate().skip(1) {
        let (name, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
        match name {
            "default_server" | "default" => listen.default_server = true,
            "proxy_protocol" => listen.proxy_protocol = true,
            "accept_filter" => {
                let message = format!("accept filters \"{}\" are not supported on this platform, ignored", word.text);
                given.cx.report(Diagnostic::warning(word.span, message));
            }
            "ipv6only" if !given.text(0).starts_with('[') => {
                let message = format!("ipv6only is not supported on addr \"{}\", ignored", given.text(0));
                given.cx.report(Diagnostic::warning(word.span, message));
            }
            _ => {
                option(&mut options, name, value).map_err(|message| given.error(index, message))?;
                listen.options = Some(options.clone());
            }
        }
    }
    Ok(listen)
}

fn option(options: &mut ListenOptions, name: &str, value: &str) -> Result<(), String> {
    match name {
        _ if options.set(name, value)? => {}
        name if NOT_BUILT.contains(&name) => {
            return Err(format!("the \"{name}\" parameter of \"listen\" is known to nginx, not built in fairlead yet"));
        }
        _ => return Err(format!("invalid parameter \"{name}={value}\"")),
    }
    Ok(())
}

/// Most ports of one `host:first-last`: nginx has no bound, a typing error should not open 60,000 sockets.
const MOST_PORTS: u16 = 4096;

const LISTEN_HELP: &str = "write address:port, a port from 1 to 65535, [IPv6]:port or unix:path";

/// Every address that the first argument of a `listen` means.
///
/// # Errors
/// nginx's words: no host, invalid port, host not found.
pub(crate) fn addresses(word: &Word, resolve: &Resolve<'_>) -> Result<Vec<Address>, Diagnostic> {
    let wrong = |what: &str| {
        Diagnostic::error(word.span, format!("{what} in \"{}\" of the \"listen\" directive", word.text))
            .help(LISTEN_HELP)
    };
    if let Some(path) = word.text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(wrong("no path in the unix domain socket"));
        }
        return Ok(vec![Address::Unix(path.into())]);
    }
    let (host, ports) = split(&word.text).map_err(wrong)?;
    let ips = match host {
        "" | "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host => match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) if host.starts_with('[') => return Err(wrong("invalid IPv6 address")),
            Err(_) => resolve(host).map_err(|_| wrong("host not found"))?,
        },
    };
    if ips.is_empty() {
        return Err(wrong("host not found"));
    }
    let all = ips.iter().flat_map(|ip| ports.clone().map(|port| Address::Ip(SocketAddr::new(*ip, port))));
    Ok(all.collect())
}

/// `host[:port[-port]]`, `port[-port]`, `[v6][:port]`.
fn split(text: &str) -> Result<(&str, RangeInclusive<u16>), &'static str> {
    if text.starts_with('[') {
        let close = text.find(']').ok_or("invalid host")?;
        let (host, rest) = text.split_at(close + 1);
        return match rest.strip_prefix(':') {
            Some(ports) => Ok((host, parse_ports(ports)?)),
            None if rest.is_empty() => Ok((host, 80..=80)),
            None => Err("invalid host"),
        };
    }
    if let Some((host, ports)) = text.rsplit_once(':') {
        return if host.is_empty() { Err("no host") } else { Ok((host, parse_ports(ports)?)) };
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Ok(("", parse_ports(text)?));
    }
    Ok((text, 80..=80))
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0).ok_or("invalid port");
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err("invalid port range");
    }
    if last - first >= MOST_PORTS {
        return Err("too many ports");
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Vec<String>, String> {
        let word = Word { text: text.into(), span: Span::default(), quoted: false };
        let resolve = |name: &str| match name {
            "localhost" => Ok(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
            _ => Err(std::io::Error::other("no such host")),
        };
        let found = addresses(&word, &resolve).map_err(|diagnostic| diagnostic.message)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, expected) in [
            ("80", vec!["0.0.0.0:80"]),
            ("*:81", vec!["0.0.0.0:81"]),
            ("127.0.0.1", vec!["127.0.0.1:80"]),
            ("127.0.0.1:8080", vec!["127.0.0.1:8080"]),
            ("[::]:80", vec!["[::]:80"]),
            ("[::1]", vec!["[::1]:80"]),
            ("localhost:82", vec!["127.0.0.1:82", "[::1]:82"]),
            ("8000-8002", vec!["0.0.0.0:8000", "0.0.0.0:8001", "0.0.0.0:8002"]),
            ("unix:/run/x.sock", vec!["unix:/run/x.sock"]),
        ] {
            assert_eq!(
                listed(text).as_deref(),
                Ok(expected.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_in_nginx_s_words() {
        for (text, words) in [
            ("0", "invalid port"),
            ("127.0.0.1:99999", "invalid port"),
            (":80", "no host"),
            ("nowhere:80", "host not found"),
            ("9-8", "invalid port range"),
            ("[::1", "invalid host"),
            ("unix:", "no path in the unix domain socket"),
        ] {
            let error = listed(text).unwrap_err();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}
