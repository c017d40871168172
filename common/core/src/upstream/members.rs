//! From `server` lines, and what names were found to stand for, to peers.
//!
//! Pure: no lookups, no clock. The group asks it when a configuration is loaded
//! and the roster whenever a name has new addresses. What it gives depends on
//! the set of addresses, not on the order that name servers shuffle them into.

use crate::net::Address;
use crate::resolver::Service;
use crate::upstream::address::{self, Place};
use crate::upstream::{Method, Peer, Server, State};
use ahash::AHashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One `server` line.
#[derive(Debug)]
pub(super) struct Line {
    pub server: Server,
    pub members: Members,
}

#[derive(Debug)]
pub(super) enum Members {
    Fixed(Vec<Address>),
    /// Looked up while the process runs.
    Named(Source),
}

/// What is looked up for a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub host: Box<str>,
    pub service: Option<Box<str>>,
    /// Of every address; with `service` the records say it.
    port: u16,
}

/// What a name stands for now.
pub(super) type Answer = Vec<Member>;

/// One address that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    /// Of the SRV record; without one all are alike.
    pub priority: u16,
    pub target: Box<str>,
    pub address: IpAddr,
    pub port: u16,
    pub weight: u16,
}

/// Peers of one line at most: what a name server can say fills more than memory is spent on.
const MOST: usize = 4096;

impl Line {
    pub fn source(&self) -> Option<&Source> {
        match &self.members {
            Members::Fixed(_) => None,
            Members::Named(source) => Some(source),
        }
    }
}

impl Source {
    /// The name of the SRV records, as nginx builds it.
    pub fn query(&self) -> Option<String> {
        let service = self.service.as_ref()?;
        let host = &self.host;
        Some(if service.contains('.') { format!("{service}.{host}") } else { format!("_{service}._tcp.{host}") })
    }
}

impl Member {
    pub fn plain(address: IpAddr) -> Member {
        Member { priority: 0, target: "".into(), address, port: 0, weight: 1 }
    }

    pub fn of(service: &Service, address: IpAddr) -> Member {
        let Service { priority, weight, port, target } = service.clone();
        Member { priority, target, address, port, weight }
    }
}

/// What `server … resolve` looks up; `None` for an address that needs no lookup.
pub(super) fn source(server: &Server) -> Result<Option<Source>, &'static str> {
    let Place::Host { host, port } = address::parse(&server.address.text)? else { return Ok(None) };
    if host.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let service = server.service.as_ref().map(|word| word.text.clone());
    let port = match service {
        Some(_) => 0,
        None => port.or(server.default_port).ok_or("no port")?,
    };
    Ok(Some(Source { host: host.to_ascii_lowercase().into(), service, port }))
}

/// The states of the peers that serve now, each to be given once: to a peer of the same server words
/// and the same address, or else to one of the same address, however it came to be written.
pub(super) struct States<'a>(AHashMap<&'a str, Vec<&'a Peer>>);

impl<'a> States<'a> {
    pub fn of(peers: &'a [Arc<Peer>]) -> States<'a> {
        let mut states: AHashMap<_, Vec<_>> = AHashMap::new();
        for peer in peers {
            states.entry(&*peer.server).or_default().push(peer.as_ref());
        }
        States(states)
    }

    fn take(&mut self, server: &str, address: &Address) -> Option<Arc<State>> {
        let peers = self.0.get_mut(server)?;
        let place = peers.iter().position(|peer| peer.address == *address)?;
        Some(peers.remove(place).state.clone())
    }

    /// Gives what is left to those of `peers` that have nothing yet.
    fn settle(self, peers: &mut [Peer]) {
        let mut left: AHashMap<&Address, Vec<&Arc<State>>> = AHashMap::new();
        for peer in self.0.into_values().flatten() {
            left.entry(&peer.address).or_default().push(&peer.state);
        }
        // A state that nobody else holds has just been made.
        for peer in peers.iter_mut().filter(|peer| Arc::strong_count(&peer.state) == 1) {
            if let Some(state) = left.get_mut(&peer.address).and_then(Vec::pop) {
                peer.state = state.clone();
            }
        }
    }

    /// A peer at `address` as `server` describes it.
    pub fn peer(&mut self, server: &Server, address: Address) -> Peer {
        self.peer_of(server, &server.address.text, address)
    }

    fn peer_of(&mut self, server: &Server, words: &str, address: Address) -> Peer {
        let state = self.take(words, &address).unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let peer = Peer {
            weight: server.weight,
            max_conns: server.max_conns,
            max_fails: server.max_fails,
            fail_timeout: millis(server.fail_timeout),
            slow_start: millis(server.slow_start),
            backup: server.backup,
            down: server.down,
            drain: server.drain,
            state,
            ..Peer::new(address, words)
        };
        match &server.route {
            Some(route) => peer.routed(&route.text),
            None => peer,
        }
    }
}

/// All peers, primary ones first. `answers` has one for each line whose name has been found.
pub(super) fn peers(lines: &[Line], answers: &[Option<Answer>], method: &Method, mut states: States<'_>) -> Vec<Peer> {
    let mut peers = Vec::new();
    let none = Answer::new();
    let answers = answers.iter().map(|answer| answer.as_ref().unwrap_or(&none)).chain(std::iter::repeat(&none));
    for (line, answer) in lines.iter().zip(answers) {
        match &line.members {
            Members::Fixed(addresses) => {
                peers.extend(addresses.iter().map(|address| states.peer(&line.server, address.clone())));
            }
            Members::Named(source) if source.service.is_none() => {
                let found = sorted(answer);
                let addresses = found.iter().map(|it| Address::Ip(SocketAddr::new(it.address, source.port)));
                peers.extend(addresses.map(|address| states.peer(&line.server, address)));
            }
            Members::Named(_) => {
                let members = sorted(answer);
                peers.extend(of_service(&line.server, &members, method, &mut states));
            }
        }
    }
    states.settle(&mut peers);
    peers.sort_by_key(|peer| peer.backup);
    peers
}

/// The same for the same members, in whatever order they came.
pub(super) fn sorted(answer: &Answer) -> Answer {
    let mut members = answer.clone();
    members.sort();
    members.dedup_by(|one, other| (&one.target, one.address, one.port) == (&other.target, other.address, other.port));
    members.truncate(MOST);
    members
}

/// The lowest priority number is used first and the rest backs it up. A line that is a backup
/// itself has no use for that rest, nor has a method that knows no backups.
fn of_service(server: &Server, members: &Answer, method: &Method, states: &mut States<'_>) -> Vec<Peer> {
    let first = members.iter().map(|member| member.priority).min();
    let backups = !server.backup && method.allows_backup();
    let used = members.iter().filter(|member| Some(member.priority) == first || backups);
    let peers = used.map(|member| {
        let address = Address::Ip(SocketAddr::new(member.address, member.port));
        let mut peer = states.peer_of(server, &member.target, address);
        peer.backup = server.backup || Some(member.priority) != first;
        if server.weight == 1 {
            peer.weight = u32::from(member.weight).max(1);
        }
        peer
    });
    peers.collect()
}

/// Whether the two describe the same members in the same way.
pub(super) fn same(before: &[Arc<Peer>], now: &[Peer]) -> bool {
    let alike = |(one, other): (&Arc<Peer>, &Peer)| {
        (&one.address, &one.server, one.weight, one.backup)
            == (&other.address, &other.server, other.weight, other.backup)
    };
    before.len() == now.len() && before.iter().zip(now).all(alike)
}

/// What a group that was not looked up at run time knew of names that are from now on: the
/// addresses they had when its configuration was loaded.
pub(super) fn answers_in(lines: &[Line], peers: &[Arc<Peer>]) -> Vec<Option<Answer>> {
    let answer = |line: &Line| {
        line.source().filter(|source| source.service.is_none())?;
        let of_line = peers.iter().filter(|peer| peer.server == line.server.address.text);
        let answer: Answer = of_line.filter_map(|peer| peer.address.ip()).map(Member::plain).collect();
        Some(answer).filter(|answer| !answer.is_empty())
    };
    lines.iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
