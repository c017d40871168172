//! The sockets to peers. Each is connected, so that the kernel tells apart whose
//! reply comes and says when nobody listens there; a session has one of its own.
//!
//! Making, connecting, watching and closing a socket costs more than carrying an
//! exchange, so one whose session got every reply it expected rests and serves
//! another session later. A reply that comes late must not reach that one: it
//! rests for [`LONG_REST`], and the less the more rest already, never less than
//! [`SHORT_REST`]; one that hears anything meanwhile, or has served often enough,
//! is closed.
//! Callers: the engine, which reads what [`Links::poll`] finds.

use crate::bind;
use crate::plan::Server;
use crate::udp::flows::Id;
use crate::udp::readiness::{Readiness, Ready};
use crate::udp::room::Complaint;
use ahash::AHashMap;
use fairlead_core::clock::Tick;
use fairlead_core::net::Address;
use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, SockAddr, Socket, Type};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LONG_REST: Duration = Duration::from_secs(2);
const SHORT_REST: Duration = Duration::from_millis(20);

/// A socket that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(5);

/// Sessions that a socket serves one after another: source ports keep changing.
const USES: u32 = 64;

/// Sockets of one listener and worker that may rest at once.
const MOST_RESTING: usize = 4096;

/// All of the process together may take this part of its descriptors.
const PART: u64 = 4;

/// How long the table of descriptors counts as full after it was.
const SHORTAGE: Duration = Duration::from_secs(1);

const SWEEP: Duration = Duration::from_secs(1);

/// How many there are in the process, to divide its descriptors by.
static ALL: AtomicUsize = AtomicUsize::new(0);

/// Names one use of a socket's place; never another socket that came to the same place later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    place: u32,
    turn: u32,
}

pub(crate) struct Links {
    readiness: Readiness,
    places: Vec<Place>,
    free: Vec<u32>,
    resting: AHashMap<Route, VecDeque<Resting>>,
    rested: usize,
    descriptors: usize,
    short_since: Option<Tick>,
    complaint: Complaint,
    sweep: Tick,
}

struct Place {
    turn: u32,
    line: Option<Line>,
}

struct Line {
    socket: Socket,
    route: Option<Route>,
    uses: u32,
    rests: bool,
    /// The session it serves.
    owner: Option<Id>,
}

/// Where a socket goes, from where, and what else was asked of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Route {
    peer: SocketAddr,
    local: Option<SocketAddr>,
    transparent: bool,
    rcvbuf: Option<usize>,
    sndbuf: Option<usize>,
    keepalive: bool,
}

struct Resting {
    link: Link,
    since: Tick,
}

/// Why there is no socket to a peer.
pub(crate) enum Failure {
    /// We could not even try: no descriptors, a local address that is not ours.
    Local(Cow<'static, str>, io::Error),
    Connect(io::Error),
}

impl Link {
    fn token(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.place)
    }

    pub fn of(ready: &Ready) -> Link {
        Link { place: ready.token as u32, turn: (ready.token >> 32) as u32 }
    }

    /// The token of what is watched and no socket to a peer.
    pub const OTHER: u64 = u64::MAX;
}

impl Links {
    /// Needs a tokio runtime's context.
    ///
    /// # Errors
    /// Those of `epoll_create1` and `epoll_ctl`.
    pub fn new(now: Tick) -> io::Result<Links> {
        let readiness = Readiness::new()?;
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
        ALL.fetch_add(1, Ordering::Relaxed);
        Ok(Links {
            readiness,
            places: Vec::new(),
            free: Vec::new(),
            resting: AHashMap::new(),
            rested: 0,
            descriptors: usize::try_from(soft / PART).unwrap_or(usize::MAX),
            short_since: None,
            complaint: Complaint::default(),
            sweep: now,
        })
    }

    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    pub fn socket(&self, link: Link) -> Option<&Socket> {
        self.line(link).map(|line| &line.socket)
    }

    /// The session that a socket serves.
    pub fn owner(&self, link: Link) -> Option<Id> {
        self.line(link)?.owner
    }

    pub fn own(&mut self, link: Link, id: Id) {
        if let Some(line) = self.line_mut(link) {
            line.owner = Some(id);
        }
    }

    /// Descriptors or memory ran out a moment ago.
    pub fn is_short(&self, now: Tick) -> bool {
        self.short_since.is_some_and(|at| now.since(at) < SHORTAGE)
    }

    /// Whether an error gets a log line: that descriptors have run out is said once a second.
    pub fn may_complain(&mut self, error: &io::Error, now: Tick) -> bool {
        !is_shortage(error) || self.complaint.is_due(now)
    }

    /// A socket to `peer` that has rested, or a new one.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn open(
        &mut self,
        peer: &Address,
        server: &Server,
        local: Option<SocketAddr>,
        now: Tick,
    ) -> Result<Link, Failure> {
        let route = route(peer, server, local);
        if let Some(link) = route.and_then(|route| self.rested(&route, now)) {
            return Ok(link);
        }
        let socket = match connect(peer, server, local) {
            Err(Failure::Local(_, error)) if is_shortage(&error) => {
                self.short_since = Some(now);
                // What rests is the first to go.
                self.close_resting();
                connect(peer, server, local)?
            }
            result => result?,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { turn: 0, line: None });
            (self.places.len() - 1) as u32
        });
        let turn = self.places.get(place as usize).map_or(0, |place| place.turn);
        let link = Link { place, turn };
        let watched = self.readiness.watch(socket.as_fd(), link.token());
        if let Some(place) = self.places.get_mut(place as usize) {
            place.line = Some(Line { socket, route, uses: 0, rests: false, owner: None });
        }
        if let Err(error) = watched {
            self.close(link);
            return Err(Failure::Local("epoll_ctl()".into(), error));
        }
        Ok(link)
    }

    /// The socket that has rested longest, if that is long enough.
    fn rested(&mut self, route: &Route, now: Tick) -> Option<Link> {
        loop {
            let rest = self.rest();
            let queue = self.resting.get_mut(route)?;
            let first = queue.front()?;
            if now.since(first.since) < rest {
                return None;
            }
            let link = first.link;
            queue.pop_front();
            let Some(line) = self.line_mut(link) else { continue };
            // What came too late for its last session and is not known of yet.
            let clean = line.socket.recv(&mut [MaybeUninit::uninit(); 1]).err();
            if clean.is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                line.rests = false;
                self.rested -= 1;
                return Some(link);
            }
            self.close(link);
        }
    }

    /// A session has ended. `settled`: its peer owes it nothing.
    pub fn release(&mut self, link: Link, settled: bool, now: Tick) {
        let room = self.rested < self.most_resting();
        let Some(line) = self.line_mut(link) else { return };
        line.uses += 1;
        match line.route.filter(|_| settled && room && line.uses < USES) {
            Some(route) => {
                (line.owner, line.rests) = (None, true);
                self.rested += 1;
                self.resting.entry(route).or_default().push_back(Resting { link, since: now });
            }
            None => self.close(link),
        }
    }

    /// Closes a socket that hears something while it rests.
    pub fn close_late(&mut self, link: Link) {
        if self.line(link).is_some_and(|line| line.rests) {
            self.close(link);
        }
    }

    /// Closes what nobody has needed for long; once a second is enough.
    pub fn sweep(&mut self, now: Tick) {
        if self.rested == 0 || now < self.sweep {
            return;
        }
        self.sweep = now.after(SWEEP);
        let mut old = Vec::new();
        self.resting.retain(|_, queue| {
            while queue.front().is_some_and(|first| now.since(first.since) >= IDLE) {
                old.extend(queue.pop_front());
            }
            !queue.is_empty()
        });
        old.iter().for_each(|resting| self.close(resting.link));
    }

    /// When to sweep next.
    pub fn next_sweep(&self) -> Option<Tick> {
        (self.rested > 0).then_some(self.sweep)
    }

    /// How long a socket has to rest: as long as there are descriptors for.
    fn rest(&self) -> Duration {
        let most = self.most_resting().max(1);
        let room = most.saturating_sub(self.rested);
        (LONG_REST * room as u32 / most as u32).max(SHORT_REST)
    }

    fn most_resting(&self) -> usize {
        MOST_RESTING.min(self.descriptors / ALL.load(Ordering::Relaxed).max(1))
    }

    fn close_resting(&mut self) {
        for resting in std::mem::take(&mut self.resting).into_values().flatten() {
            self.close(resting.link);
        }
    }

    fn close(&mut self, link: Link) {
        let Some(place) = self.places.get_mut(link.place as usize).filter(|place| place.turn == link.turn) else {
            return;
        };
        let Some(line) = place.line.take() else { return };
        place.turn = place.turn.wrapping_add(1);
        self.free.push(link.place);
        self.rested -= usize::from(line.rests);
    }

    fn line(&self, link: Link) -> Option<&Line> {
        self.places.get(link.place as usize).filter(|place| place.turn == link.turn)?.line.as_ref()
    }

    fn line_mut(&mut self, link: Link) -> Option<&mut Line> {
        self.places.get_mut(link.place as usize).filter(|place| place.turn == link.turn)?.line.as_mut()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        ALL.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

fn route(peer: &Address, server: &Server, local: Option<SocketAddr>) -> Option<Route> {
    let Address::Ip(peer) = peer else { return None };
    let proxy = &server.proxy;
    Some(Route {
        peer: *peer,
        local,
        transparent: server.bind.as_ref().is_some_and(|bind| bind.transparent),
        rcvbuf: proxy.rcvbuf,
        sndbuf: proxy.sndbuf,
        keepalive: proxy.keepalive,
    })
}

fn connect(peer: &Address, server: &Server, local: Option<SocketAddr>) -> Result<Socket, Failure> {
    let (domain, target) = match peer {
        Address::Ip(address) => (Domain::for_address(*address), Ok(SockAddr::from(*address))),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)),
    };
    let target = target.map_err(Failure::Connect)?;
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)
        .map_err(|error| Failure::Local("socket()".into(), error))?;
    bind::prepare(&socket, peer, server, local).map_err(|(call, error)| Failure::Local(call, error))?;
    socket.connect(&target).map_err(Failure::Connect)?;
    Ok(socket)
}
