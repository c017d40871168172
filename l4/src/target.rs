//! Where a session may go: `proxy_pass` compiled, and the peers it gives one
//! after another. Picking is core's; connecting is `connect`'s and `udp`'s.

use crate::outcomes::Status;
use crate::record::{PeerName, Record};
use crate::variables::Variable;
use crate::{listen, proxy};
use fairlead_conf::Template;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::Level;
use fairlead_core::net::Address;
use fairlead_core::upstream::{Choice, Lease, NoPeer, Peer, Tried};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `proxy_pass` compiled.
pub(crate) enum Target {
    /// Index of a group of the plan.
    Group(usize),
    /// Names an upstream or an address only when a session comes.
    Dynamic(Template<Variable>),
}

/// What `proxy_pass` came to for one session.
pub(crate) enum Located {
    Peers(Candidates),
    /// A name to be resolved first.
    Name {
        host: Box<str>,
        port: u16,
    },
}

/// The peers a session may still try.
pub(crate) struct Candidates {
    source: Source,
    left: u32,
    started: Tick,
}

enum Source {
    Group {
        index: usize,
        tried: Tried,
    },
    /// Found at run time: each is tried once, in order, and nobody counts its failures.
    Addresses {
        name: Box<str>,
        rest: std::vec::IntoIter<Address>,
    },
}

/// One peer to connect to.
pub(crate) enum Pick {
    Lease(Lease),
    Address(Address),
}

impl Pick {
    pub fn address(&self) -> &Address {
        match self {
            Pick::Lease(lease) => &lease.peer.address,
            Pick::Address(address) => address,
        }
    }

    pub fn name(&self) -> PeerName {
        match self {
            Pick::Lease(lease) => PeerName::Peer(lease.peer.clone()),
            Pick::Address(address) => PeerName::Text(address.to_string().into()),
        }
    }

    /// The member of a group that this is.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        match self {
            Pick::Lease(lease) => Some(&lease.peer),
            Pick::Address(_) => None,
        }
    }

    pub fn succeed(&mut self, now: Tick) {
        if let Pick::Lease(lease) = self {
            lease.succeed(now);
        }
    }

    pub fn connected(&mut self, took: Duration) {
        if let Pick::Lease(lease) = self {
            lease.connected(took);
        }
    }

    pub fn first_byte(&mut self, took: Duration) {
        if let Pick::Lease(lease) = self {
            lease.first_byte(took);
        }
    }

    /// The session came to its end, `took` after the peer was picked.
    pub fn last_byte(&mut self, took: Duration) {
        if let Pick::Lease(lease) = self {
            lease.last_byte(took);
        }
    }

    /// The peer could not be reached, or did not answer.
    pub fn fail(&mut self, record: &Record, now: Tick) {
        if let Pick::Lease(lease) = self
            && lease.fail(now)
        {
            record.log(Level::Warn, CONNECTING, format_args!("upstream server temporarily disabled"));
        }
    }

    /// Adds a session's bytes to the peer's counters.
    pub fn count(&self, sent: u64, received: u64) {
        if let Pick::Lease(lease) = self {
            lease.peer.state.bytes_sent.add(sent);
            lease.peer.state.bytes_received.add(received);
        }
    }
}

/// Works out where the session goes, as far as that takes no waiting.
pub(crate) fn locate(target: &Target, record: &mut Record, now: Tick) -> Result<Located, Status> {
    record.proxying = true;
    match target {
        Target::Group(index) => Ok(Located::Peers(Candidates::group(*index, record, now))),
        Target::Dynamic(template) => {
            let mut text = Vec::new();
            record.render(template, now, &mut text);
            dynamic(record, &String::from_utf8_lossy(&text), now)
        }
    }
}

fn dynamic(record: &Record, text: &str, now: Tick) -> Result<Located, Status> {
    if let Some(index) = record.worker.plan.group_named(text) {
        return Ok(Located::Peers(Candidates::group(index, record, now)));
    }
    match parse(text) {
        Ok(Destination::Address(address)) => {
            Ok(Located::Peers(Candidates::addresses(text, vec![address], record, now)))
        }
        Ok(Destination::Name { host, port }) => Ok(Located::Name { host, port }),
        Err(problem) => {
            let shown = if problem == NO_PORT { text.trim_end_matches(':') } else { text };
            record.log(Level::Error, "", format_args!("{problem} in upstream \"{shown}\""));
            Err(Status::InternalError)
        }
    }
}

/// nginx's name for what a session does until its peer is there.
pub(crate) const CONNECTING: &str = "connecting to upstream";

pub(crate) enum Destination {
    Address(Address),
    Name { host: Box<str>, port: u16 },
}

pub(crate) const NO_PORT: &str = "no port";

/// `address:port`, `[address]:port`, `name:port` or `unix:path`.
pub(crate) fn parse(text: &str) -> Result<Destination, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_suffix(':').unwrap_or(path);
        return match path {
            "" => Err("no path in the unix domain socket"),
            _ => Ok(Destination::Address(Address::Unix(PathBuf::from(path)))),
        };
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Err(if text.is_empty() { "no host" } else { NO_PORT }),
    };
    if host.is_empty() {
        return Err("no host");
    }
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or("invalid port")?;
    match listen::literal(host) {
        Some(ip) => Ok(Destination::Address(Address::Ip(SocketAddr::new(ip, port)))),
        None if host.contains([':', '/', '[']) => Err("invalid host"),
        None => Ok(Destination::Name { host: host.into(), port }),
    }
}

impl Candidates {
    fn group(index: usize, record: &Record, now: Tick) -> Candidates {
        let peers = record.worker.balancers.get(index).map_or(0, |slot| slot.balancer().group.usable());
        let peers = u32::try_from(peers).unwrap_or(u32::MAX);
        let source = Source::Group { index, tried: Tried::default() };
        Candidates { source, left: limited(peers, &record.entry.server.proxy), started: now }
    }

    /// `name` stands for the peers in logs when none is left.
    pub fn addresses(name: &str, list: Vec<Address>, record: &Record, now: Tick) -> Candidates {
        let peers = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let source = Source::Addresses { name: name.into(), rest: list.into_iter() };
        Candidates { source, left: limited(peers, &record.entry.server.proxy), started: now }
    }

    /// The next peer to try.
    ///
    /// # Errors
    /// Nobody is left; the log line is written.
    pub fn pick(&mut self, record: &mut Record, now: Tick) -> Result<Pick, Status> {
        let picked = match &mut self.source {
            Source::Group { index, tried } => lease(*index, tried, record, now).map(Pick::Lease),
            Source::Addresses { rest, .. } => rest.next().map(Pick::Address).ok_or(NoPeer),
        };
        picked.map_err(|NoPeer| {
            let name = match &self.source {
                Source::Group { index, .. } => {
                    record.worker.plan.groups.get(*index).map_or("".into(), |group| group.group.name.clone())
                }
                Source::Addresses { name, .. } => name.clone(),
            };
            record.attempt(PeerName::Text(name), now);
            record.log(Level::Error, CONNECTING, format_args!("no live upstreams"));
            Status::BadGateway
        })
    }

    /// A peer failed: whether the session may go on to the next.
    pub fn another(&mut self, proxy: &proxy::Settings, now: Tick) -> bool {
        self.left = self.left.saturating_sub(1);
        let late = proxy.next_timeout > Duration::ZERO && now.since(self.started) >= proxy.next_timeout;
        self.left > 0 && proxy.next_upstream && !late
    }
}

fn limited(peers: u32, proxy: &proxy::Settings) -> u32 {
    match proxy.next_tries {
        0 => peers,
        tries => peers.min(tries),
    }
}

fn lease(index: usize, tried: &mut Tried, record: &Record, now: Tick) -> Result<Lease, NoPeer> {
    let worker = &record.worker;
    let (Some(group), Some(slot)) = (worker.plan.groups.get(index), worker.balancers.get(index)) else {
        return Err(NoPeer);
    };
    let mut key = Vec::new();
    if let Some(template) = &group.key {
        record.render(template, now, &mut key);
    }
    let client = record.client.map(|client| client.ip());
    slot.balancer().pick(&Choice { now, client, key: &key, sid: None }, tried)
}

/// Asks the server's `resolver` for the addresses behind a name.
///
/// # Errors
/// There is no resolver, or it has no answer; the log line is written.
pub(crate) async fn resolve(record: &Record, host: &str, port: u16) -> Result<Candidates, Status> {
    let worker = &record.worker;
    let resolver = record.entry.server.resolver.and_then(|index| worker.resolvers.get(index));
    let Some(resolver) = resolver else {
        record.log(Level::Error, "", format_args!("no resolver defined to resolve {host}"));
        return Err(Status::InternalError);
    };
    match resolver.lookup_to_try(host).await {
        Ok(found) => {
            let list = found.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect();
            Ok(Candidates::addresses(host, list, record, tick()))
        }
        Err(error) => {
            let code = error.code();
            record.log(Level::Error, CONNECTING, format_args!("{host} could not be resolved ({code}: {error})"));
            Err(Status::InternalError)
        }
    }
}
