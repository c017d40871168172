//! The addresses that a `listen` means, for both planes: a port or a range of them, a host that may
//! have several addresses, a path. Binds nothing.

use super::Address;
use crate::plan::Resolve;
use ahash::AHashSet;
use fairlead_conf::{Diagnostic, Word};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// Most ports of one `host:first-last`: nginx has no bound, a typing error should not open 60,000 sockets.
const MOST_PORTS: u16 = 4096;

const HELP: &str = "write address:port, a port from 1 to 65535, [IPv6]:port or unix:path";

/// Every address that the first argument of a `listen` means. `*` and a bare port are `0.0.0.0`; a host
/// without a port has `port`, where there is one.
///
/// # Errors
/// nginx's words: no host, no port, invalid port, host not found.
pub fn listen_addresses(word: &Word, port: Option<u16>, resolve: &Resolve<'_>) -> Result<Vec<Address>, Diagnostic> {
    let wrong = |what: &str| {
        Diagnostic::error(word.span, format!("{what} in \"{}\" of the \"listen\" directive", word.text)).help(HELP)
    };
    if let Some(path) = word.text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(wrong("no path in the unix domain socket"));
        }
        return Ok(vec![Address::Unix(path.into())]);
    }
    let (host, ports) = split(&word.text).map_err(wrong)?;
    let ports = match (ports, port) {
        (Some(ports), _) => parse_ports(ports).map_err(wrong)?,
        (None, Some(port)) => port..=port,
        (None, None) => return Err(wrong("no port")),
    };
    let hosts = match host {
        "" | "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host => match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) if host.starts_with('[') => return Err(wrong("invalid IPv6 address")),
            Err(_) => resolve(host).map_err(|_| wrong("host not found"))?,
        },
    };
    if hosts.is_empty() {
        return Err(wrong("host not found"));
    }
    // A name may have the same address twice.
    let mut seen = AHashSet::new();
    let hosts = hosts.into_iter().filter(|ip| seen.insert(*ip));
    Ok(hosts.flat_map(|ip| ports.clone().map(move |port| Address::Ip(SocketAddr::new(ip, port)))).collect())
}

/// `host[:ports]`, `ports`, `[v6][:ports]`.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if text.starts_with('[') {
        let close = text.find(']').ok_or("invalid host")?;
        let (host, rest) = text.split_at(close + 1);
        return match rest.strip_prefix(':') {
            Some(ports) => Ok((host, Some(ports))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("invalid host"),
        };
    }
    if let Some((host, ports)) = text.rsplit_once(':') {
        return if host.is_empty() { Err("no host") } else { Ok((host, Some(ports))) };
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Ok(("", Some(text)));
    }
    Ok((text, None))
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
    use fairlead_conf::Span;

    fn listed(text: &str, port: Option<u16>) -> Result<Vec<String>, String> {
        let word = Word { text: text.into(), span: Span::default(), quoted: false };
        let resolve = |name: &str| match name {
            "localhost" => Ok(["127.0.0.1", "::1", "127.0.0.1"].map(|ip| ip.parse().unwrap()).to_vec()),
            _ => Err(std::io::Error::other("no such host")),
        };
        let found = listen_addresses(&word, port, &resolve).map_err(|diagnostic| diagnostic.message)?;
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
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(listed(text, Some(80)).as_deref(), Ok(expected.as_slice()), "{text}");
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
            ("1-60000", "too many ports"),
            ("[::1", "invalid host"),
            ("[::g]:80", "invalid IPv6 address"),
            ("unix:", "no path in the unix domain socket"),
        ] {
            let error = listed(text, Some(80)).unwrap_err();
            assert!(error.starts_with(words), "{text}: {error}");
        }
        assert!(listed("127.0.0.1", None).unwrap_err().starts_with("no port in \"127.0.0.1\""));
    }
}
