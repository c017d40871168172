//! Where `proxy_pass` leads for one request: a group of the plan, or, with
//! variables, whatever its text says now.

use crate::exchange::Exchange;
use crate::proxy::{Proxy, Target};
use fairlead_core::log::Level;
use fairlead_core::net::Address;
use fairlead_core::upstream::{Balancer, Group, Method, Peer};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

/// The peers to choose from and the URI to ask them for.
pub(super) struct Destination {
    pub balancer: Rc<Balancer>,
    /// Position in the plan's groups; addresses found at run time have none, and keep no connections.
    pub group: Option<usize>,
    /// The URI that a `proxy_pass` with variables spells out; `None` leaves it to the location's rule.
    pub uri: Option<Vec<u8>>,
}

/// Finds the peers. A status when there are none.
pub(super) async fn find(exchange: &mut Exchange, proxy: &Proxy) -> Result<Destination, u16> {
    exchange.proxying = true;
    exchange.proxy_host.clear();
    exchange.proxy_port.clear();
    let template = match &proxy.target {
        Target::Group(index) => {
            let balancer = exchange.worker.balancers.get(*index).ok_or(500u16)?.balancer();
            exchange.proxy_host.extend_from_slice(proxy.host.as_bytes());
            exchange.proxy_port.extend_from_slice(proxy.port.as_bytes());
            return Ok(Destination { balancer, group: Some(*index), uri: None });
        }
        Target::Variables(template) => template,
    };
    let mut text = Vec::new();
    exchange.render(template, &mut text);
    let url = Url::parse(&text).map_err(|why| {
        exchange.log(Level::Error, format_args!("{why}"));
        500u16
    })?;
    exchange.proxy_host.extend_from_slice(url.shown.as_bytes());
    exchange.proxy_port.extend_from_slice(url.shown_port.as_bytes());
    let uri = url.uri();
    if let Place::Name(host, port) = &url.place
        && let Some(index) = group(exchange, host, *port)
    {
        let balancer = exchange.worker.balancers.get(index).ok_or(500u16)?.balancer();
        return Ok(Destination { balancer, group: Some(index), uri });
    }
    let addresses = match &url.place {
        Place::At(address) => vec![address.clone()],
        Place::Name(host, port) => resolve(exchange, host, port.unwrap_or(80)).await?,
    };
    let peers = addresses.into_iter().map(|address| Peer::new(address, url.shown)).collect();
    let group = Group::new(url.shown, peers, Method::RoundRobin);
    Ok(Destination { balancer: Balancer::new(group.into(), exchange.connection.number), group: None, uri })
}

/// The `upstream` of this name, or what another `proxy_pass` made of the same host and port.
fn group(exchange: &Exchange, host: &str, port: Option<u16>) -> Option<usize> {
    let plan = &exchange.worker.plan;
    match port {
        None => plan.group_named(host).or_else(|| plan.group_named(&format!("{host}:80"))),
        Some(port) => plan.group_named(&format!("{host}:{port}")),
    }
}

async fn resolve(exchange: &Exchange, host: &str, port: u16) -> Result<Vec<Address>, u16> {
    let Some(settings) = &exchange.location.resolver else {
        exchange.log(Level::Error, format_args!("no resolver defined to resolve {host}"));
        return Err(502);
    };
    let resolver = exchange.worker.resolver(settings);
    match resolver.lookup_to_try(host).await {
        Ok(found) => Ok(found.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect()),
        Err(error) => {
            let code = error.code();
            exchange.log(Level::Error, format_args!("{host} could not be resolved ({code}: {error})"));
            Err(502)
        }
    }
}

/// A rendered `proxy_pass`.
#[derive(Debug)]
struct Url<'a> {
    place: Place<'a>,
    /// `$proxy_host`: the port is in it when it is written and not 80.
    shown: &'a str,
    /// `$proxy_port`.
    shown_port: &'a str,
    /// What follows, from a slash or a question mark on.
    path: &'a str,
}

#[derive(Debug)]
enum Place<'a> {
    /// A host, and its port when written.
    Name(&'a str, Option<u16>),
    At(Address),
}

const SCHEME: &str = "http://";
const UNIX: &str = "unix:";

impl<'a> Url<'a> {
    /// Why not, in nginx's words.
    fn parse(text: &'a [u8]) -> Result<Url<'a>, String> {
        let wrong = || format!("invalid URL prefix in \"{}\"", text.escape_ascii());
        let rest = std::str::from_utf8(text).ok().and_then(|text| after(text, SCHEME)).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or_else(wrong)?;
        Url::after_scheme(rest).map_err(|why| format!("{why} in upstream \"{}\"", rest.escape_debug()))
    }

    fn after_scheme(rest: &'a str) -> Result<Url<'a>, &'static str> {
        if let Some(path) = after(rest, UNIX) {
            let (path, uri) = path.split_once(':').unwrap_or((path, ""));
            if path.is_empty() {
                return Err("no path in the unix domain socket");
            }
            return Ok(Url {
                place: Place::At(Address::Unix(path.into())),
                shown: "localhost",
                shown_port: "",
                path: uri,
            });
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let bracket = match authority.starts_with('[') {
            true => authority.find(']').ok_or("invalid host")? + 1,
            false => 0,
        };
        let (name, port) = authority.split_at_checked(bracket).unwrap_or_default();
        let (host, port) = match port.find(':') {
            Some(colon) => (authority.get(..bracket + colon).unwrap_or_default(), port.get(colon + 1..)),
            None => (authority, None),
        };
        if bracket > 0 && host.len() > name.len() {
            return Err("invalid host");
        }
        let number = match port {
            Some(port) => Some(port.parse().ok().filter(|&port: &u16| port > 0).ok_or("invalid port")?),
            None => None,
        };
        let place = match bracket {
            _ if host.is_empty() => return Err("no host"),
            0 => match host.parse::<IpAddr>() {
                Ok(ip) => Place::At(Address::Ip(SocketAddr::new(ip, number.unwrap_or(80)))),
                Err(_) => Place::Name(host, number),
            },
            _ => {
                let ip: Ipv6Addr = host.trim_matches(['[', ']']).parse().map_err(|_| "invalid IPv6 address")?;
                Place::At(Address::Ip(SocketAddr::new(ip.into(), number.unwrap_or(80))))
            }
        };
        let (shown, shown_port) = match (number, port) {
            (Some(number), Some(port)) if number != 80 => (authority, port),
            _ => (host, "80"),
        };
        Ok(Url { place, shown, shown_port, path })
    }

    /// What the peer is asked for, if the URL says.
    fn uri(&self) -> Option<Vec<u8>> {
        match self.path.as_bytes() {
            [] => None,
            [b'?', ..] => Some([b"/", self.path.as_bytes()].concat()),
            path => Some(path.to_vec()),
        }
    }
}

/// What follows `prefix`, which may be in any case.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(String, String, String, String), String> {
        let url = Url::parse(text.as_bytes())?;
        let place = match &url.place {
            Place::Name(host, port) => format!("{host} {port:?}"),
            Place::At(address) => address.to_string(),
        };
        let uri = url.uri().map(|uri| String::from_utf8(uri).unwrap()).unwrap_or_default();
        Ok((place, url.shown.into(), url.shown_port.into(), uri))
    }

    #[test]
    fn takes_urls_apart() {
        for (text, place, host, port, uri) in [
            ("http://a", "a None", "a", "80", ""),
            ("HTTP://a:80/x", "a Some(80)", "a", "80", "/x"),
            ("http://a:81/x?y", "a Some(81)", "a:81", "81", "/x?y"),
            ("http://a?y=/z", "a None", "a", "80", "/?y=/z"),
            ("http://10.0.0.1/", "10.0.0.1:80", "10.0.0.1", "80", "/"),
            ("http://[::1]:81", "[::1]:81", "[::1]:81", "81", ""),
            ("http://[::1]/", "[::1]:80", "[::1]", "80", "/"),
            ("http://unix:/run/a", "unix:/run/a", "localhost", "", ""),
            ("http://unix:/run/a:/b:c", "unix:/run/a", "localhost", "", "/b:c"),
        ] {
            let expected = [place, host, port, uri].map(str::to_owned);
            assert_eq!(parts(text), Ok(expected.into()), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_in_nginx_s_words() {
        for (text, expected) in [
            ("", "invalid URL prefix in \"\""),
            ("http://", "invalid URL prefix in \"http://\""),
            ("https://a", "invalid URL prefix in \"https://a\""),
            ("a", "invalid URL prefix in \"a\""),
            ("http:///x", "no host in upstream \"/x\""),
            ("http://:80", "no host in upstream \":80\""),
            ("http://a:x", "invalid port in upstream \"a:x\""),
            ("http://a:", "invalid port in upstream \"a:\""),
            ("http://a:0/", "invalid port in upstream \"a:0/\""),
            ("http://a:99999/", "invalid port in upstream \"a:99999/\""),
            ("http://::1/", "invalid port in upstream \"::1/\""),
            ("http://[::1", "invalid host in upstream \"[::1\""),
            ("http://[::1]x", "invalid host in upstream \"[::1]x\""),
            ("http://[x]", "invalid IPv6 address in upstream \"[x]\""),
            ("http://unix:", "no path in the unix domain socket in upstream \"unix:\""),
        ] {
            assert_eq!(parts(text).unwrap_err(), expected, "{text}");
        }
    }
}
