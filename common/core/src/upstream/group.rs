//! A compiled `upstream`, shared by all workers.
//!
//! Resolves names once, through what the caller gives for it, and prepares the
//! tables that the methods look things up in.

use crate::clock::Tick;
use crate::net::Address;
use crate::plan::Build;
use crate::resolver;
use crate::stats::Counter;
use crate::upstream::address::{self, Place};
use crate::upstream::balancer::{MAX_PEERS, MAX_POINTS, Maglev, Ring};
use crate::upstream::bindings::Sid;
use crate::upstream::members::{self, Line, States};
use crate::upstream::peer::Version;
use crate::upstream::roster::Roster;
use crate::upstream::{
    Bindings, Hashing, Keepalive, Method, Peer, Queue, Server, Settings, Sticky, StickyLearn, StickySource, Tried,
};
use fairlead_conf::{Diagnostic, Word};
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Debug)]
pub struct Group {
    pub name: Box<str>,
    /// Primary peers first, then backup ones, each in file order.
    pub peers: Vec<Arc<Peer>>,
    pub method: Method,
    pub keepalive: Keepalive,
    pub sticky: Option<Sticky>,
    pub ntlm: bool,
    pub kept: Kept,
    pub zone: Option<Box<str>>,
    tables: Tables,
    edition: u64,
    /// Makes the next editions of a group whose members may change. Only the edition that a plan
    /// holds has it.
    roster: Option<Arc<Roster>>,
}

/// What outlives generations, and all editions of a group have in common.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// `sticky source`: where clients went last.
    pub bindings: Option<Arc<Bindings>>,
    /// `sticky learn`: where sessions are.
    pub sessions: Option<Arc<Bindings>>,
    /// Cookies of `sticky cookie … signed` that no key has signed.
    pub forged: Arc<Counter>,
    pub queue: Option<Arc<Queue>>,
}

impl Kept {
    fn new(settings: &Settings, previous: Option<&Kept>) -> Kept {
        let sessions = |learn: &StickyLearn| {
            Bindings::over(learn.size, learn.timeout, previous.and_then(|kept| kept.sessions.as_ref()))
        };
        let bindings = |source: &StickySource| {
            Bindings::over(source.size, source.timeout, previous.and_then(|kept| kept.bindings.as_ref()))
        };
        Kept {
            bindings: settings.sticky_source.as_ref().map(bindings),
            sessions: match &settings.sticky {
                Some(Sticky::Learn(learn)) => Some(sessions(learn)),
                _ => None,
            },
            forged: previous.map(|kept| kept.forged.clone()).unwrap_or_default(),
            queue: Queue::over(settings.queue, previous.and_then(|kept| kept.queue.as_ref())),
        }
    }
}

/// What an edition follows on.
pub(super) struct Since<'a> {
    pub edition: u64,
    /// What the workers of all editions watch.
    pub version: &'a Version,
    /// What is dear to compute is taken from it where it is still right.
    pub before: Option<&'a Group>,
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
    /// The same, by what tables of sessions know them by.
    by_id: Vec<usize>,
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
        // Workers of the generation that these states come from watch the same version.
        let carried = peers.iter().find_map(|peer| peer.state.version().cloned());
        let version = carried.unwrap_or_default();
        Group::assemble(name, peers, method, &Since { edition: 0, version: &version, before: None })
    }

    fn assemble(name: &str, peers: Vec<Peer>, method: Method, since: &Since<'_>) -> Group {
        let version = since.version.clone();
        let mut peers: Vec<Arc<Peer>> = peers.into_iter().map(Arc::new).collect();
        peers.sort_by_key(|peer| peer.backup);
        for peer in &peers {
            peer.state.join(&version);
        }
        let primaries = peers.iter().take_while(|peer| !peer.backup).count();
        let primary_peers = peers.get(..primaries).unwrap_or_default();
        let hashing = if let Method::Hash { table, .. } = &method { Some(*table) } else { None };
        let before = since.before.and_then(|group| group.tables.maglev.as_ref());
        let mut by_sid: Vec<usize> = (0..peers.len()).collect();
        by_sid.sort_by_key(|index| peers.get(*index).map(|peer| peer.sid.clone()));
        let mut by_id = by_sid.clone();
        by_id.sort_by_key(|index| (peers.get(*index).map(|peer| peer.id), *index));
        let tables = Tables {
            usable: peers.iter().filter(|peer| !peer.down).count(),
            primaries,
            weights: Weights::new(primary_peers),
            ring: (hashing == Some(Hashing::Ring)).then(|| Ring::new(primary_peers)),
            maglev: (hashing == Some(Hashing::Maglev)).then(|| Maglev::new(primary_peers, before)),
            by_sid,
            by_id,
            version,
        };
        let keepalive = Keepalive::default();
        let name = name.into();
        Group {
            name,
            peers,
            method,
            keepalive,
            sticky: None,
            ntlm: false,
            kept: Kept::default(),
            zone: None,
            tables,
            edition: 0,
            roster: None,
        }
    }

    /// One edition of the group that `settings` describe; what it has in `kept` is the caller's to say.
    pub(super) fn edition_of(settings: &Settings, peers: Vec<Peer>, since: &Since<'_>) -> Group {
        let mut group = Group::assemble(&settings.name.text, peers, settings.method.clone(), since);
        group.keepalive = settings.keepalive.clone();
        group.sticky = settings.sticky.clone();
        group.ntlm = settings.ntlm;
        group.zone = settings.zone.as_ref().map(|(name, _)| name.text.clone());
        group.edition = since.edition;
        group
    }

    /// Resolves and compiles an `upstream` block. Peers that `previous` (the group of this name in
    /// the running generation) has too keep their [`crate::upstream::State`], and what was found for
    /// names that are looked up at run time is taken over. Problems go to `build.cx`.
    pub fn build(settings: &Settings, previous: Option<&Group>, build: &Build<'_>) -> Option<Arc<Group>> {
        let report = |problem: Diagnostic| build.cx.report(problem);
        let lines = settings.servers.iter().map(|server| line(server, build));
        let lines: Vec<Option<Line>> = lines.map(|line| line.map_err(report).ok()).collect();
        let lines: Vec<Line> = lines.into_iter().collect::<Option<_>>()?;
        let resolver = resolver_for(settings, &lines, build).map_err(report).ok()?;
        let moved = previous.and_then(Group::moved_on);
        let before = moved.as_deref().or(previous);
        let answers = previous.map_or_else(Vec::new, |group| match &group.roster {
            Some(roster) => roster.answers_for(&lines, &group.peers),
            None => members::answers_in(&lines, &group.peers),
        });
        let states = States::of(before.map_or(&[], |group| &group.peers));
        let peers = members::peers(&lines, &answers, &settings.method, states);
        if let Some(problem) = problem_with(settings, &lines).or_else(|| too_large(settings, &peers)) {
            report(problem);
            return None;
        }
        warn_of_slow_start(settings, build);
        let version = before.map(|group| group.version().clone()).unwrap_or_default();
        let mut group = Group::edition_of(settings, peers, &Since { edition: 0, version: &version, before });
        group.kept = Kept::new(settings, previous.map(|group| &group.kept));
        group.roster = resolver.map(|resolver| Roster::new(settings, lines, answers, (resolver, &group)));
        Some(Arc::new(group))
    }

    /// The group behind `proxy_pass` to an address or a host name without an `upstream` block:
    /// one peer per address, round robin, one try each. `host` holds no port; `unix:path` is taken whole.
    pub fn implicit(host: &Word, port: u16, previous: Option<&Group>, build: &Build<'_>) -> Option<Arc<Group>> {
        let mut states = States::of(previous.map_or(&[], |group| &group.peers));
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
        let peers = addresses.into_iter().map(|address| states.peer(&server, address)).collect();
        Some(Arc::new(Group::new(&name, peers, Method::RoundRobin)))
    }

    /// A group of these lines whose names nothing is known of yet.
    #[cfg(test)]
    pub(super) fn with_roster(
        settings: &Settings,
        lines: Vec<Line>,
        resolver: resolver::Settings,
    ) -> (Arc<Group>, Arc<Roster>) {
        let peers = members::peers(&lines, &[], &settings.method, States::of(&[]));
        let since = Since { edition: 0, version: &Version::default(), before: None };
        let mut group = Group::edition_of(settings, peers, &since);
        let roster = Roster::new(settings, lines, Vec::new(), (resolver, &group));
        group.roster = Some(roster.clone());
        (Arc::new(group), roster)
    }

    /// The group as its members are now: itself where they cannot change.
    pub fn current(self: &Arc<Self>) -> Arc<Group> {
        self.moved_on().unwrap_or_else(|| self.clone())
    }

    fn moved_on(&self) -> Option<Arc<Group>> {
        self.roster.as_ref()?.group()
    }

    /// Counts the changes of the members up to this group: 0 as the plan has it.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    pub(super) fn roster(&self) -> Option<&Arc<Roster>> {
        self.roster.as_ref()
    }

    /// Its members may change while the process runs.
    pub fn may_change(&self) -> bool {
        self.roster.is_some()
    }

    /// The peer of a group that has no other: nginx never holds it unavailable.
    pub(super) fn only(&self) -> Option<&Arc<Peer>> {
        match self.peers.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Peers that are not marked `down`: how many tries a request has, as in nginx.
    pub fn usable(&self) -> usize {
        self.tables.usable
    }

    /// How many of the peers are primary ones.
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

    /// Position of the first peer that tables of sessions know by this id.
    pub(super) fn with_id(&self, id: Sid) -> Option<usize> {
        let id_of = |index: &usize| self.peers.get(*index).map(|peer| peer.id);
        let at = self.tables.by_id.partition_point(|index| id_of(index) < Some(id));
        self.tables.by_id.get(at).copied().filter(|index| id_of(index) == Some(id))
    }

    /// The server id of the peer that a session of `sticky learn` is bound to, if the group has it.
    pub fn session(&self, session: &[u8], now: Tick) -> Option<&str> {
        let index = self.with_id(self.kept.sessions.as_ref()?.session(session, now)?)?;
        self.peers.get(index).map(|peer| &*peer.sid)
    }

    /// An answer of `peer` to a request of this session has come: it is there from now on. A session
    /// that is not known begins only if the answer is what began it.
    pub fn learn(&self, session: &[u8], peer: &Peer, begins: bool, now: Tick) {
        if let Some(sessions) = &self.kept.sessions {
            sessions.learn(session, peer.id, begins, now);
        }
    }

    /// Some peer that is not in `tried` is at its `max_conns`, and nothing else keeps it from being
    /// picked. Looks at all of them: to be asked when no peer was found.
    pub fn has_full(&self, tried: &Tried, now: Tick) -> bool {
        let peers = self.peers.iter().enumerate();
        peers.filter(|(index, _)| !tried.holds_of(self.edition, *index)).any(|(_, peer)| peer.waits_for_room(now))
    }

    /// When the first peer that failed may be tried again, if one has.
    pub fn recovers_at(&self, now: Tick) -> Option<Tick> {
        self.peers.iter().filter_map(|peer| peer.failed_until(now)).min().map(Tick)
    }

    /// Waits until something changes in what may be picked: health, failures, members. `seen` is
    /// [`Group::changes`] at the time nobody was found.
    pub async fn changed(&self, seen: u64) {
        self.version().moved_from(seen).await;
    }

    pub fn changes(&self) -> u64 {
        self.version().load()
    }
}

fn line(server: &Server, build: &Build<'_>) -> Result<Line, Diagnostic> {
    if server.resolve
        && let Some(source) = members::source(server).map_err(|problem| wrong_address(&server.address, problem))?
    {
        return Ok(Line { server: server.clone(), members: members::Members::Named(source) });
    }
    let addresses = addresses(&server.address, server.default_port, build)?;
    Ok(Line { server: server.clone(), members: members::Members::Fixed(addresses) })
}

/// Who is asked for the names of a group whose members may change; `None` when they cannot.
fn resolver_for(
    settings: &Settings,
    lines: &[Line],
    build: &Build<'_>,
) -> Result<Option<resolver::Settings>, Diagnostic> {
    let Some(line) = lines.iter().find(|line| line.source().is_some()) else { return Ok(None) };
    let name = &settings.name.text;
    let error = |problem: String| Diagnostic::error(line.server.address.span, problem);
    if settings.zone.is_none() {
        let problem = format!("resolving names at run time requires upstream \"{name}\" to be in shared memory");
        return Err(error(problem).help(format!("write in the block: zone {name} 64k;")));
    }
    let missing = || {
        error(format!("no resolver defined to resolve names at run time in upstream \"{name}\""))
            .help("write in the block or around it: resolver address;")
    };
    settings.names.settings(build)?.ok_or_else(missing).map(Some)
}

fn problem_with(settings: &Settings, lines: &[Line]) -> Option<Diagnostic> {
    let name = &settings.name;
    if settings.state && lines.is_empty() {
        return None;
    }
    if lines.is_empty() {
        let problem = Diagnostic::error(name.span, "no servers are inside upstream");
        // What is wrong with those that are there has been said.
        return Some(problem.help("write at least one: server address;")).filter(|_| !settings.names_server);
    }
    lines.iter().all(|line| line.server.backup).then(|| {
        let problem = Diagnostic::error(name.span, format!("no servers in upstream \"{}\"", name.text));
        problem.help("a group needs at least one server that is not a backup")
    })
}

/// What would take more memory than is spent on the tables of a method.
pub(super) fn too_large(settings: &Settings, peers: &[Peer]) -> Option<Diagnostic> {
    let name = &settings.name;
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
        let problem = format!(
            "the weights in upstream \"{}\" ask for {points} points of the consistent hash",
            settings.name.text
        );
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
