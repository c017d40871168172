//! The sockets to peers. Each is connected, so that the kernel tells apart whose
//! reply comes and says when nobody listens there; a session has one of its own.
//!
//! Making, watching and closing a socket costs more than carrying an exchange, so
//! one whose session is over rests and serves another session later. It is
//! disconnected at once, by which it loses its port, and the next session gives it
//! another as if it were new: a reply that comes late finds nobody. Only a socket
//! that failed, or whose port is written in the configuration, is closed.
//! Callers: the engine, which reads what [`Links::readiness`] finds.

use crate::bind;
use crate::plan::Server;
use crate::udp::calls;
use crate::udp::flows::Id;
use crate::udp::readiness::{Readiness, Ready};
use crate::udp::resting::{self, Kind, Resting};
use crate::udp::room::Complaint;
use fairlead_core::clock::Tick;
use fairlead_core::net::Address;
use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, SockAddr, Socket, Type};
use std::borrow::Cow;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Datagrams and errors of its last session that a socket may hold and serve again.
const LEFT_OVER: usize = 8;

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
    resting: Resting,
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
    is_udp: bool,
    /// `None`: it serves one session only.
    kind: Option<Kind>,
    /// The session it serves; none while it rests.
    owner: Option<Id>,
}

/// Why there is no socket to a peer.
pub(crate) enum Failure {
    /// We could not even try: no descriptors, a local address that is not ours.
    Local(Cow<'static, str>, io::Error),
    Connect(io::Error),
}

impl Link {
    pub fn token(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.place)
    }

    pub fn of_token(token: u64) -> Link {
        Link { place: token as u32, turn: (token >> 32) as u32 }
    }

    pub fn of(ready: &Ready) -> Link {
        Link::of_token(ready.token)
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
            resting: Resting::default(),
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

    /// Several datagrams may go and come as one message.
    pub fn is_udp(&self, link: Link) -> bool {
        self.line(link).is_some_and(|line| line.is_udp)
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

    /// A socket to `peer`: one that has rested, or a new one.
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
        let target = target(peer).map_err(Failure::Connect)?;
        let kind = Kind::of(peer, server, local);
        let link = match kind.and_then(|kind| self.rested(&kind, now)) {
            Some(link) => link,
            None => {
                let socket = self.create(peer, server, local, now)?;
                self.settle(socket, matches!(peer, Address::Ip(_)), kind)?
            }
        };
        let connected = self.socket(link).map_or(Ok(()), |socket| socket.connect(&target));
        if let Err(error) = connected {
            self.close(link);
            return Err(Failure::Connect(error));
        }
        Ok(link)
    }

    /// One that has rested long enough, with nothing in it of the session before.
    fn rested(&mut self, kind: &Kind, now: Tick) -> Option<Link> {
        loop {
            let link = self.resting.take(kind, now)?;
            if self.socket(link).is_some_and(is_emptied) {
                return Some(link);
            }
            self.close(link);
        }
    }

    fn create(
        &mut self,
        peer: &Address,
        server: &Server,
        local: Option<SocketAddr>,
        now: Tick,
    ) -> Result<Socket, Failure> {
        match create(peer, server, local) {
            Err(Failure::Local(_, error)) if is_shortage(&error) => {
                self.short_since = Some(now);
                // What rests is the first to go.
                self.close_resting();
                create(peer, server, local)
            }
            result => result,
        }
    }

    /// Gives a new socket a place and watches it.
    fn settle(&mut self, socket: Socket, is_udp: bool, kind: Option<Kind>) -> Result<Link, Failure> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { turn: 0, line: None });
            (self.places.len() - 1) as u32
        });
        let turn = self.places.get(place as usize).map_or(0, |place| place.turn);
        let link = Link { place, turn };
        let watched = self.readiness.watch(socket.as_fd(), link.token());
        if let Some(place) = self.places.get_mut(place as usize) {
            place.line = Some(Line { socket, is_udp, kind, owner: None });
        }
        if let Err(error) = watched {
            self.close(link);
            return Err(Failure::Local("epoll_ctl()".into(), error));
        }
        Ok(link)
    }

    /// A session has ended; `sound`: nothing was wrong with its socket.
    pub fn release(&mut self, link: Link, sound: bool, now: Tick) {
        let room = self.resting.len() < self.most_resting();
        let Some(line) = self.line_mut(link) else { return };
        match line.kind.filter(|_| sound && room && calls::disconnect(line.socket.as_fd()).is_ok()) {
            Some(kind) => {
                line.owner = None;
                self.resting.add(kind, link, now);
            }
            None => self.close(link),
        }
    }

    /// Closes what nobody has needed for long; once a second is enough.
    pub fn sweep(&mut self, now: Tick) {
        if self.resting.len() == 0 || now < self.sweep {
            return;
        }
        self.sweep = now.after(SWEEP);
        for link in self.resting.take_idle(now) {
            self.close(link);
        }
    }

    /// When to sweep next.
    pub fn next_sweep(&self) -> Option<Tick> {
        (self.resting.len() > 0).then_some(self.sweep)
    }

    fn most_resting(&self) -> usize {
        MOST_RESTING.min(self.descriptors / ALL.load(Ordering::Relaxed).max(1))
    }

    fn close_resting(&mut self) {
        for link in self.resting.take_all() {
            self.close(link);
        }
    }

    fn close(&mut self, link: Link) {
        let Some(place) = self.places.get_mut(link.place as usize).filter(|place| place.turn == link.turn) else {
            return;
        };
        if place.line.take().is_some() {
            place.turn = place.turn.wrapping_add(1);
            self.free.push(link.place);
        }
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

/// Takes out what the session before has left; false when that does not end.
fn is_emptied(socket: &Socket) -> bool {
    let mut left = (0..LEFT_OVER).map(|_| socket.recv(&mut [MaybeUninit::uninit(); 1]));
    left.any(|taken| taken.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
}

fn target(peer: &Address) -> io::Result<SockAddr> {
    match peer {
        Address::Ip(address) => Ok(SockAddr::from(*address)),
        Address::Unix(path) => SockAddr::unix(path),
    }
}

fn create(peer: &Address, server: &Server, local: Option<SocketAddr>) -> Result<Socket, Failure> {
    let domain = match peer {
        Address::Ip(address) => Domain::for_address(*address),
        Address::Unix(_) => Domain::UNIX,
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)
        .map_err(|error| Failure::Local("socket()".into(), error))?;
    bind::prepare(&socket, peer, server, local).map_err(|failed| Failure::Local(failed.call, failed.error))?;
    if domain != Domain::UNIX && resting::merges(server) {
        calls::merge_datagrams(socket.as_fd());
    }
    Ok(socket)
}
