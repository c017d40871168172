//! A compiled `upstream`, shared by all workers.
//!
//! Resolves names once, through what the caller gives for it, and prepares the
//! tables that the methods look things up in.

use crate::net::Address;
use crate::plan::Build;
use crate::upstream::address::{self, Place};
use crate::upstream::balancer::{MAX_PEERS, MAX_POINTS, Maglev, Ring};
use crate::upstream::peer::Version;
use crate::upstream::{Bindings, Hashing, Keepalive, Method, Peer, Server, Settings, State, Sticky};
use ahash::AHashMap;
use fairlead_conf::{Diagnostic, Word};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Group {
    pub name: Box<str>,
    /// Primary peers first, then backup ones, each in file order.
    pub peers: Vec<Arc<Peer>>,
    pub method: Method,
    pub keepalive: Keepalive,
    pub sticky: Option<Sticky>,
    /// `sticky source`: where clients went last.
    pub bindings: Option<Arc<Bindings>>,
    pub zone: Option<Box<str>>,
    tables: Tables,
}

/// What follows from the peers.
#[derive(Debug)]
struct Tables {
    usable: usize,
    primaries: usize,
    weights: Weights,
    ring: Option<Ring>,
    maglev: Option<Maglev>,
    /// Positions of the peers, by server id.
    by_sid: Vec<usize>,
    version: Version,
}

/// The primary peers laid end to end, each as long as its weight.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// Where each one ends.
    ends: Vec<u64>,
}

impl Weights {
    fn new(peers: &[Arc<Peer>]) -> Weights {
        let mut end = 0;
        let ends = peers.iter().map(|peer| {
            end += u64::from(peer.weight);
            end
        });
        Weights { ends: ends.collect() }
    }

    pub(super) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The peer that lies at `offset`, which is below the total.
    pub(super) fn find(&self, offset: u64) -> usize {
        self.ends.partition_point(|end| *end <= offset).min(self.ends.len().saturating_sub(1))
    }
}

impl Group {
    /// A group of these peers, with everything else as nginx has it by default.
    pub fn new(name: &str, peers: Vec<Peer>, method: Method) -> Group {
        Group::over(name, peers, method, None)
    }

    /// What is dear to compute is taken from `previous` where it is still right.
    fn over(name: &str, peers: Vec<Peer>, method: Method, previous: Option<&Group>) -> Group {
        let mut peers: Vec<Arc<Peer>> = peers.into_iter().map(Arc::new).collect();
        peers.sort_by_key(|peer| peer.backup);
        // Workers of the generation that these states come from watch the same version.
        let carried = peers.iter().find_map(|peer| peer.state.version().cloned());
        let version = carried.unwrap_or_default();
        for peer in &peers {
            peer.state.join(&version);
        }
        let primaries = peers.iter().take_while(|peer| !peer.backup).count();
        let primary_peers = peers.get(..primaries).unwrap_or_default();
        let hashing = if let Method::Hash { table, .. } = &method { Some(*table) } else { None };
        let before = previous.and_then(|group| group.tables.maglev.as_ref());
        let mut by_sid: Vec<usize> = (0..peers.len()).collect();
        by_sid.sort_by_key(|index| peers.get(*index).map(|peer| peer.sid.clone()));
        let tables = Tables {
            usable: peers.iter().filter(|peer| !peer.down).count(),
            primaries,
            weights: Weights::new(primary_peers),
            ring: (hashing == Some(Hashing::Ring)).then(|| Ring::new(primary_peers)),
            maglev: (hashing == Some(Hashing::Maglev)).then(|| Maglev::new(primary_peers, before)),
            by_sid,
            version,
        };
        let keepalive = Keepalive::default();
        Group { name: name.into(), peers, method, keepalive, sticky: None, bindings: None, zone: None, tables }
    }

    /// Resolves and compiles an `upstream` block. Peers that `previous` (the group of this name in
    /// the running generation) has too keep their [`crate::upstream::State`]. Problems go to `build.cx`.
    pub fn build(settings: &Settings, previous: Option<&Group>, build: &Build<'_>) -> Option<Arc<Group>> {
        let mut states = States::of(previous);
        let mut peers = Vec::new();
        let mut sound = true;
        for server in &settings.servers {
            match addresses(&server.address, server.default_port, build) {
                Ok(addresses) => {
                    peers.extend(addresses.into_iter().map(|address| peer(server, address, &mut states)));
                }
                Err(diagnostic) => {
                    build.cx.report(diagnostic);
                    sound = false;
                }
            }
        }
        if let Some(problem) = problem_with(settings, &peers).filter(|_| sound) {
            build.cx.report(problem);
            sound = false;
        }
        sound.then(|| {
            warn_of_slow_start(settings, build);
            let mut group = Group::over(&settings.name.text, peers, settings.method.clone(), previous);
            group.bindings = settings.sticky_source.as_ref().map(|source| {
                let before = previous.and_then(|group| group.bindings.as_ref());
                Bindings::over(source.size, source.timeout, before)
            });
            group.keepalive = settings.keepalive.clone();
            group.sticky = settings.sticky.clone();
            group.zone = settings.zone.as_ref().map(|(name, _)| name.text.clone());
            Arc::new(group)
        })
    }

    /// The group behind `proxy_pass` to an address or a host name without an `upstream` block:
    /// one peer per address, round robin, one try each. `host` holds no port; `unix:path` is taken whole.
    pub fn implicit(host: &Word, port: u16, previous: Option<&Group>, build: &Build<'_>) -> Option<Arc<Group>> {
        let mut states = States::of(previous);
        let addresses = match implicit_addresses(host, port, build) {
            Ok(addresses) => addresses,
            Err(diagnostic) => {
                build.cx.report(diagnostic);
                return None;
            }
        };
        let name = match addresses.first() {
            Some(Address::Unix(_)) => host.text.clone(),
            _ => format!("{}:{port}", host.text).into_boxed_str(),
        };
        let server = Server::new(Word { text: name.clone(), span: host.span, quoted: false });
        let peers = addresses.into_iter().map(|address| peer(&server, address, &mut states)).collect();
        Some(Arc::new(Group::new(&name, peers, Method::RoundRobin)))
    }

    /// The peer of a group that has no other: nginx never holds it unavailable.
    pub(super) fn only(&self) -> Option<&Arc<Peer>> {
        match self.peers.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// How many of the peers are primary ones.
    /// Peers that are not marked `down`: how many tries a request has, as in nginx.
    pub fn usable(&self) -> usize {
        self.tables.usable
    }

    pub fn primaries(&self) -> usize {
        self.tables.primaries
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.tables.weights
    }

    pub(super) fn ring(&self) -> Option<&Ring> {
        self.tables.ring.as_ref()
    }

    pub(super) fn maglev(&self) -> Option<&Maglev> {
        self.tables.maglev.as_ref()
    }

    pub(super) fn version(&self) -> &Version {
        &self.tables.version
    }

    /// Positions of the peers with this server id, in order.
    pub(super) fn with_sid(&self, sid: Option<&[u8]>) -> impl Iterator<Item = usize> + '_ {
        let sid_of = |index: &usize| self.peers.get(*index).map_or(&b""[..], |peer| peer.sid.as_bytes());
        let by_sid = &self.tables.by_sid;
        let (from, to) = sid.map_or((0, 0), |sid| {
            (by_sid.partition_point(|index| sid_of(index) < sid), by_sid.partition_point(|index| sid_of(index) <= sid))
        });
        by_sid.get(from..to).unwrap_or_default().iter().copied()
    }
}

/// The states of the running generation's peers by their server's words, each to be given once.
struct States<'a>(AHashMap<&'a str, Vec<&'a Peer>>);

impl<'a> States<'a> {
    fn of(previous: Option<&'a Group>) -> States<'a> {
        let mut states: AHashMap<_, Vec<_>> = AHashMap::new();
        for peer in previous.into_iter().flat_map(|group| &group.peers) {
            states.entry(&*peer.server).or_default().push(peer.as_ref());
        }
        States(states)
    }

    fn take(&mut self, server: &str, address: &Address) -> Option<Arc<State>> {
        let peers = self.0.get_mut(server)?;
        let place = peers.iter().position(|peer| peer.address == *address)?;
        Some(peers.remove(place).state.clone())
    }
}

fn peer(server: &Server, address: Address, states: &mut States<'_>) -> Peer {
    let state = states.take(&server.address.text, &address).unwrap_or_default();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Peer {
        weight: server.weight,
        max_conns: server.max_conns,
        max_fails: server.max_fails,
        fail_timeout: millis(server.fail_timeout),
        slow_start: millis(server.slow_start),
        backup: server.backup,
        down: server.down,
        drain: server.drain,
        state,
        ..Peer::new(address, &server.address.text)
    }
}

fn problem_with(settings: &Settings, peers: &[Peer]) -> Option<Diagnostic> {
    let name = &settings.name;
    if settings.servers.is_empty() {
        let problem = Diagnostic::error(name.span, "no servers are inside upstream");
        return Some(problem.help("write at least one: server address;"));
    }
    if peers.iter().all(|peer| peer.backup) {
        let problem = Diagnostic::error(name.span, format!("no servers in upstream \"{}\"", name.text));
        return Some(problem.help("a group needs at least one server that is not a backup"));
    }
    let Method::Hash { key, table } = &settings.method else { return None };
    let primaries = peers.iter().filter(|peer| !peer.backup).count();
    if *table == Hashing::Maglev && primaries > MAX_PEERS {
        let problem = format!("upstream \"{}\" has {primaries} peers", name.text);
        return Some(Diagnostic::error(key.span, problem).help(format!("`hash … maglev` takes {MAX_PEERS} at most")));
    }
    if *table != Hashing::Ring {
        return None;
    }
    let points: u64 = peers.iter().filter(|peer| !peer.backup).map(Ring::points_of).sum();
    (points > MAX_POINTS).then(|| {
        let problem =
            format!("the weights in upstream \"{}\" ask for {points} points of the consistent hash", name.text);
        Diagnostic::error(key.span, problem)
            .help(format!("every unit of weight is 160 points; {MAX_POINTS} are the most"))
    })
}

/// nginx refuses `slow_start` below a method that has no use for it, and overlooks it above one.
fn warn_of_slow_start(settings: &Settings, build: &Build<'_>) {
    let slow = settings.servers.iter().find(|server| !server.slow_start.is_zero());
    if let Some(server) = slow.filter(|_| !settings.method.allows_slow_start()) {
        let problem = "\"slow_start\" has no effect with this balancing method";
        build.cx.report(Diagnostic::warning(server.address.span, problem));
    }
}

fn addresses(word: &Word, default_port: Option<u16>, build: &Build<'_>) -> Result<Vec<Address>, Diagnostic> {
    let error = |problem: &str| wrong_address(word, problem);
    match address::parse(&word.text).map_err(error)? {
        Place::Unix(path) => Ok(vec![Address::Unix(path)]),
        Place::Host { host, port } => {
            let port = port.or(default_port).ok_or_else(|| error("no port"))?;
            resolve(host, port, build).ok_or_else(|| error("host not found"))
        }
    }
}

fn implicit_addresses(word: &Word, port: u16, build: &Build<'_>) -> Result<Vec<Address>, Diagnostic> {
    let error = |problem: &str| wrong_address(word, problem);
    match address::parse(&word.text) {
        Ok(Place::Unix(path)) => Ok(vec![Address::Unix(path)]),
        Ok(Place::Host { host, port: None }) => resolve(host, port, build).ok_or_else(|| error("host not found")),
        // An IPv6 address without its brackets.
        _ => resolve(&word.text, port, build).ok_or_else(|| error("host not found")),
    }
}

fn wrong_address(word: &Word, problem: &str) -> Diagnostic {
    let help = match problem {
        "host not found" => "names are looked up while the configuration is read: this one has no address here",
        "no port" => "write host:port: a stream has no default port",
        _ => "write host, host:port, [IPv6]:port or unix:path; a port is a number from 1 to 65535",
    };
    Diagnostic::error(word.span, format!("{problem} in upstream \"{}\"", word.text)).help(help)
}

/// `None` when the name has no address.
fn resolve(host: &str, port: u16, build: &Build<'_>) -> Option<Vec<Address>> {
    if let Ok(ip) = host.parse() {
        return Some(vec![Address::Ip(SocketAddr::new(ip, port))]);
    }
    let addresses = (build.resolve)(host).ok().filter(|addresses| !addresses.is_empty())?;
    Some(addresses.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect())
}
