//! Names at run time: a non-blocking DNS client with a cache that honours TTLs.
//! One per worker thread and `resolver` directive.
//!
//! It asks the servers it was given and nobody else: no `/etc/hosts`, no search
//! domains, as nginx.

mod cache;
mod client;
mod directives;
#[cfg(test)]
mod tests;
mod wire;
mod zone;

pub use client::Stats;
pub use directives::{DIRECTIVES, ResolverSettings};
pub use zone::{Zone, zones};

use crate::clock::{Tick, tick};
use ahash::AHashMap;
use cache::{Cache, Outcome};
use client::Client;
use hickory_proto::rr::Name;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use wire::{Kind, Question, Reply};

/// For the fuzzers: how many IPv4 addresses of `name` a message from a name server is believed.
#[doc(hidden)]
pub fn believed_addresses(name: &str, message: &[u8]) -> Option<usize> {
    let question = Question { name: wire::parse_name(name).ok()?, kind: Kind::V4 };
    match question.read(7, message) {
        Reply::Addresses { addresses, .. } => Some(addresses.len()),
        _ => None,
    }
}

/// Names remembered by one resolver.
const CACHE_CAPACITY: usize = 4096;
/// Names asked for at a time; each costs two sockets.
const MAX_FLIGHTS: usize = 1024;
/// How long a server may take before the next one is asked, as nginx's.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions asked to come to the end of a chain of aliases.
const MAX_ALIASES: usize = 10;
/// Longest host name there can be, with its last dot.
const MAX_NAME: usize = 254;

/// `resolver ADDRESS … [valid=] [ipv4=] [ipv6=]` and `resolver_timeout`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    pub servers: Vec<SocketAddr>,
    /// How long to believe an answer, instead of its TTL.
    pub valid: Option<Duration>,
    pub ipv4: bool,
    pub ipv6: bool,
    /// How long a lookup may take.
    pub timeout: Duration,
    /// Where its questions and answers are counted.
    pub status_zone: Option<Box<str>>,
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The lowest is used first.
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// A host name in lower case without its last dot; empty where the service is not offered.
    pub target: Box<str>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: Vec::new(),
            valid: None,
            ipv4: true,
            ipv6: true,
            timeout: Duration::from_secs(30),
            status_zone: None,
        }
    }
}

/// What [`Resolver::lookup`] gives.
pub type Addresses = Result<Rc<[IpAddr]>, ResolveError>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("Host not found")]
    NotFound,
    #[error("Operation timed out")]
    TimedOut,
    #[error("Server failure")]
    ServerFailure,
}

impl ResolveError {
    /// nginx's number for it.
    pub fn code(self) -> u16 {
        match self {
            ResolveError::ServerFailure => 2,
            ResolveError::NotFound => 3,
            ResolveError::TimedOut => 110,
        }
    }
}

pub struct Resolver {
    shared: Rc<Shared>,
}

struct Shared {
    settings: Settings,
    client: Client,
    cache: RefCell<Cache>,
    flights: RefCell<AHashMap<Rc<str>, Rc<Flight>>>,
    patience: Duration,
    /// Which of a name's addresses comes first: a Weyl sequence, even for those who ask in any pattern.
    turn: Cell<u32>,
}

/// One name being looked up, for all who want it.
struct Flight {
    /// When the last of those who wait gives up.
    until: Cell<Tick>,
    outcome: OnceCell<Outcome>,
    landed: Notify,
}

impl Resolver {
    pub fn new(settings: Settings) -> Rc<Resolver> {
        Resolver::with_patience(settings, PATIENCE)
    }

    fn with_patience(settings: Settings, patience: Duration) -> Rc<Resolver> {
        let zone = Zone::open(settings.status_zone.as_deref());
        let client = Client::new(settings.servers.clone(), patience, zone);
        let cache = RefCell::new(Cache::new(CACHE_CAPACITY));
        let shared = Shared { settings, client, cache, flights: RefCell::default(), patience, turn: Cell::new(0) };
        Rc::new(Resolver { shared: Rc::new(shared) })
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub fn stats(&self) -> &Stats {
        &self.shared.client.stats
    }

    /// Addresses of `name`, from the cache while their TTL lasts; those of IPv4 first. Concurrent
    /// lookups of one name share one query. Addresses come back as they are.
    ///
    /// Runs on a worker thread: the query is a task of its own, so that whoever gives up does not
    /// take it away from the others.
    ///
    /// # Errors
    /// As nginx words them: not found, timed out, server failure.
    pub async fn lookup(&self, name: &str) -> Addresses {
        if let Some(address) = parse_address(name) {
            return Ok(Rc::from([address]));
        }
        let key = key(name)?;
        let now = tick();
        if let Some(outcome) = self.shared.cache.borrow().find(&key, now) {
            return outcome.clone();
        }
        let flight = self.shared.board(&key, now)?;
        let waiting = async {
            let landed = flight.landed.notified();
            if flight.outcome.get().is_none() {
                landed.await;
            }
        };
        // In time or not: what counts is whether it has landed.
        let _ = tokio::time::timeout(self.shared.settings.timeout, waiting).await;
        flight.outcome.get().cloned().unwrap_or(Err(ResolveError::TimedOut))
    }

    /// The same to connect to: each time another one comes first, so that all get their part.
    ///
    /// # Errors
    /// Those of [`Resolver::lookup`].
    pub async fn lookup_to_try(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let found = self.lookup(name).await?;
        let turn = self.shared.turn.get().wrapping_add(0x9E37_79B9);
        self.shared.turn.set(turn);
        let first = (u64::from(turn) * found.len() as u64) >> 32;
        Ok(found.iter().cycle().skip(first as usize).take(found.len()).copied().collect())
    }

    /// What [`Resolver::lookup`] says, and how long that holds from now on: zero when it is to be asked again at will.
    pub async fn lookup_for(&self, name: &str) -> (Addresses, Duration) {
        let outcome = self.lookup(name).await;
        let left = match (parse_address(name), key(name)) {
            (Some(_), _) => cache::MAX_TTL,
            (None, Ok(key)) => self.shared.cache.borrow().left(&key, tick()),
            (None, Err(_)) => Duration::ZERO,
        };
        (outcome, left)
    }

    /// The SRV records of `name`, and how long they hold. Always asked for: nothing is remembered.
    ///
    /// # Errors
    /// Those of [`Resolver::lookup`].
    pub async fn services(&self, name: &str) -> (Result<Vec<Service>, ResolveError>, Duration) {
        let shared = &self.shared;
        let (outcome, ttl) = match wire::parse_name(name) {
            Err(error) => (Err(error), None),
            Ok(name) => {
                shared.client.zone.srv.add(1);
                let until = Cell::new(tick().after(shared.settings.timeout));
                match shared.follow(&name, Kind::Services, shared.client.turn(), &until).await {
                    Found::Services(services, ttl) => (Ok(services), Some(ttl)),
                    Found::Nothing(ttl) => (Err(ResolveError::NotFound), ttl),
                    Found::Failed(error) => (Err(error), None),
                    Found::Off | Found::Addresses(..) => (Err(ResolveError::NotFound), None),
                }
            }
        };
        let lifetime = cache::lifetime(&outcome, ttl, &shared.settings);
        (outcome, lifetime)
    }
}

/// Names differ in neither case nor last dot.
fn key(name: &str) -> Result<Cow<'_, str>, ResolveError> {
    if name.len() > MAX_NAME {
        return Err(ResolveError::NotFound);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(name.to_ascii_lowercase().into());
    }
    Ok(name.into())
}

fn parse_address(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse().ok()
}

impl Shared {
    /// Joins the flight of `name`, or starts one.
    fn board(self: &Rc<Self>, name: &str, now: Tick) -> Result<Rc<Flight>, ResolveError> {
        let until = now.after(self.settings.timeout);
        let mut flights = self.flights.borrow_mut();
        if let Some(flight) = flights.get(name) {
            flight.until.set(until);
            return Ok(flight.clone());
        }
        let wire_name = wire::parse_name(name)?;
        if flights.len() >= MAX_FLIGHTS {
            self.client.stats.refused.add(1);
            return Err(ResolveError::ServerFailure);
        }
        self.client.zone.name.add(1);
        let flight = Rc::new(Flight { until: Cell::new(until), outcome: OnceCell::new(), landed: Notify::new() });
        let name: Rc<str> = name.into();
        flights.insert(name.clone(), flight.clone());
        crate::net::spawn(self.clone().fly(name, wire_name, flight.clone()));
        Ok(flight)
    }

    async fn fly(self: Rc<Self>, name: Rc<str>, wire_name: Name, flight: Rc<Flight>) {
        let (mut outcome, mut ttl) = self.resolve(&wire_name, &flight).await;
        // Somebody may have come aboard while the last addresses were given up on.
        while outcome == Err(ResolveError::TimedOut) && tick() < flight.until.get() {
            (outcome, ttl) = self.resolve(&wire_name, &flight).await;
        }
        let lifetime = cache::lifetime(&outcome, ttl, &self.settings);
        let evicted = self.cache.borrow_mut().insert(name.clone(), outcome.clone(), lifetime, tick());
        self.client.stats.evictions.add(evicted);
        self.flights.borrow_mut().remove(&name);
        // Nobody else sets it.
        let _ = flight.outcome.set(outcome);
        flight.landed.notify_waiters();
    }

    /// Asks for all families at once; the TTL in seconds belongs to the outcome.
    async fn resolve(&self, name: &Name, flight: &Flight) -> (Outcome, Option<u32>) {
        // The same server for both, so that one that is down does not cost us one family.
        let turn = self.client.turn();
        let mut four = Box::pin(self.follow(name, Kind::V4, turn, &flight.until));
        let mut six = Box::pin(self.follow(name, Kind::V6, turn, &flight.until));
        let (four, six) = tokio::select! {
            four = &mut four => { let six = self.rest(&four, six).await; (four, six) }
            six = &mut six => (self.rest(&six, four).await, six),
        };
        merge(four, six)
    }

    /// Some servers answer for one family and swallow the other: with addresses in hand, the other
    /// gets the time of two servers.
    async fn rest(&self, first: &Found, other: impl Future<Output = Found>) -> Found {
        if !matches!(first, Found::Addresses(..)) {
            return other.await;
        }
        tokio::time::timeout(2 * self.patience, other).await.unwrap_or(Found::Failed(ResolveError::TimedOut))
    }

    /// Asks for one kind of record, and again for what an alias points at.
    async fn follow(&self, name: &Name, kind: Kind, mut turn: usize, until: &Cell<Tick>) -> Found {
        let wanted = match kind {
            Kind::V4 => self.settings.ipv4,
            Kind::V6 => self.settings.ipv6,
            Kind::Services => true,
        };
        if !wanted {
            return Found::Off;
        }
        let mut question = Question { name: name.clone(), kind };
        let mut shortest = u32::MAX;
        for _ in 0..MAX_ALIASES {
            match self.client.ask(&question, &mut turn, until).await {
                Ok(Reply::Addresses { addresses, ttl }) => return Found::Addresses(addresses, ttl.min(shortest)),
                Ok(Reply::Services { services, ttl }) => return Found::Services(services, ttl.min(shortest)),
                Ok(Reply::Alias { name, ttl }) => {
                    shortest = shortest.min(ttl);
                    question.name = name;
                }
                Ok(Reply::Nothing { ttl }) => return Found::Nothing(ttl.map(|ttl| ttl.min(shortest))),
                // `ask` keeps these to itself.
                Ok(Reply::NotOurs | Reply::Truncated | Reply::Failed) => break,
                Err(error) => return Found::Failed(error),
            }
        }
        Found::Nothing(None)
    }
}

/// What became of one kind.
enum Found {
    /// Nobody asked.
    Off,
    Addresses(Vec<IpAddr>, u32),
    Services(Vec<Service>, u32),
    Nothing(Option<u32>),
    Failed(ResolveError),
}

/// Addresses of either family are an answer; a name exists not only when both say so.
fn merge(four: Found, six: Found) -> (Outcome, Option<u32>) {
    let (mut addresses, mut ttl, mut failure) = (Vec::new(), None, None);
    let mut nothing_ttl: Option<u32> = None;
    let shorter = |old: Option<u32>, new: u32| Some(old.map_or(new, |old| old.min(new)));
    for found in [four, six] {
        match found {
            Found::Off | Found::Services(..) => {}
            Found::Addresses(more, more_ttl) => {
                addresses.extend(more);
                ttl = shorter(ttl, more_ttl);
            }
            Found::Nothing(more_ttl) => nothing_ttl = more_ttl.map_or(nothing_ttl, |more| shorter(nothing_ttl, more)),
            Found::Failed(error) => failure = Some(error),
        }
    }
    match failure {
        _ if !addresses.is_empty() => (Ok(addresses.into()), ttl),
        Some(error) => (Err(error), None),
        None => (Err(ResolveError::NotFound), nothing_ttl),
    }
}
