//! Where `proxy_pass` leads for one request: a group of the plan, or, with
//! variables, whatever its text says now.

use crate::exchange::Exchange;
use crate::proxy::{Proxy, Target};
use fairlead_core::log::Level;
use fairlead_core::net::Address;
use fairlead_core::upstream::{Balancer, Group, Method, Peer};
use std::net::{IpAddr, SocketAddr};
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
    exchange.proxy_host.clear();
    let template = match &proxy.target {
        Target::Group(index) => {
            let balancer = exchange.worker.balancers.get(*index).ok_or(500u16)?.balancer();
            exchange.proxy_host.extend_from_slice(proxy.host.as_bytes());
            return Ok(Destination { balancer, group: Some(*index), uri: None });
        }
        Target::Variables(template) => template,
    };
    let mut text = Vec::new();
    exchange.render(template, &mut text);
    let Some(url) = Url::parse(&text) else {
        let shown = String::from_utf8_lossy(&text);
        exchange.log(Level::Error, format_args!("invalid URL prefix in \"{shown}\""));
        return Err(500);
    };
    exchange.proxy_host.extend_from_slice(url.authority.as_bytes());
    let uri = (!url.path.is_empty()).then(|| url.path.as_bytes().to_vec());
    if let Some(index) = exchange.worker.plan.group_named(url.authority) {
        let balancer = exchange.worker.balancers.get(index).ok_or(500u16)?.balancer();
        return Ok(Destination { balancer, group: Some(index), uri });
    }
    let addresses = resolve(exchange, &url).await?;
    let peers = addresses.into_iter().map(|address| Peer::new(Address::Ip(address), url.authority)).collect();
    let group = Group::new(url.authority, peers, Method::RoundRobin);
    Ok(Destination { balancer: Balancer::new(group.into(), exchange.connection.number), group: None, uri })
}

async fn resolve(exchange: &Exchange, url: &Url<'_>) -> Result<Vec<SocketAddr>, u16> {
    if let Ok(address) = url.host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, url.port)]);
    }
    let Some(settings) = &exchange.location.resolver else {
        exchange.log(Level::Error, format_args!("no resolver defined to resolve {}", url.host));
        return Err(502);
    };
    let resolver = exchange.worker.resolver(settings);
    match resolver.lookup_to_try(url.host).await {
        Ok(addresses) => Ok(addresses.into_iter().map(|address| SocketAddr::new(address, url.port)).collect()),
        Err(error) => {
            exchange.log(Level::Error, format_args!("{} could not be resolved ({error})", url.host));
            Err(502)
        }
    }
}

/// A rendered `proxy_pass`.
struct Url<'a> {
    /// Host, and port when written.
    authority: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a [u8]) -> Option<Url<'a>> {
        let rest = std::str::from_utf8(text).ok()?.strip_prefix("http://")?;
        let (authority, path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
        let colon = authority.rfind(':').filter(|&colon| !authority.get(colon..).unwrap_or_default().contains(']'));
        let (host, port) = match colon {
            Some(colon) => (authority.get(..colon)?, authority.get(colon + 1..)?.parse().ok()?),
            None => (authority, 80),
        };
        (!host.is_empty()).then_some(Url { authority, host, port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let parts =
            |text: &str| Url::parse(text.as_bytes()).map(|url| (url.host.to_owned(), url.port, url.path.to_owned()));
        assert_eq!(parts("http://a"), Some(("a".into(), 80, String::new())));
        assert_eq!(parts("http://a:81/x?y"), Some(("a".into(), 81, "/x?y".into())));
        assert_eq!(parts("http://[::1]:81"), Some(("[::1]".into(), 81, String::new())));
        assert_eq!(parts("http://[::1]/"), Some(("[::1]".into(), 80, "/".into())));
        for bad in ["", "http://", "https://a", "http://a:x", "http://:80", "a"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
