//! The clock, by SNTP (RFC 5905 as a client): several servers are asked at once, the time is what
//! most of them say, the clock steps when it is far off and is led when it is not. It answers nobody.
//!
//! A [`Clock`] is polled like a [`crate::Network`]; what [`packet`] reads and [`decide`] thinks is
//! pure.

pub mod decide;
mod discipline;
mod packet;

use crate::names::Lookup;
use decide::{Adjust, Judge};
use fairlead_appliance::Ntp;
use fairlead_appliance::plan::Lease;
use fairlead_core::clock::Tick;
use fairlead_core::dice::Dice;
use nix::time::{ClockId, clock_gettime};
use packet::{Answer, Nanos, Sample};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

const PORT: u16 = 123;
/// Servers that are asked in one round.
const MOST: usize = 8;
/// Addresses that one name is good for.
const OF_ONE_NAME: usize = 4;
const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds without an answer after which a name is looked up again.
const FORGET_AFTER: u32 = 3;
/// How long a server that asked to be left alone is.
const BANISHED: Duration = Duration::from_secs(24 * 3600);

/// Changes the clock: [`Clock::new`] has the kernel's, a test another one.
pub type Hand = Box<dyn FnMut(Adjust) -> io::Result<()>>;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The clock was wrong and is not any more. Positive: it went forward. In nanoseconds.
    Stepped {
        by: i64,
        server: IpAddr,
    },
    /// It is led, from so many nanoseconds off.
    Led {
        offset: i64,
        server: IpAddr,
    },
    /// None of the servers answered, or they contradict each other.
    Nobody {
        servers: usize,
    },
    Problem(String),
}

struct Peer {
    address: SocketAddr,
    silent: u32,
    banished: Option<Tick>,
    open: Option<Open>,
}

/// A question that is on its way.
struct Open {
    socket: UdpSocket,
    nonce: u64,
    sent: Nanos,
}

enum State {
    Idle,
    /// Names to look up yet, and the one that is.
    Naming {
        left: Vec<Box<str>>,
        lookup: Option<Lookup>,
    },
    Asking {
        samples: Vec<(usize, Sample)>,
        until: Tick,
    },
    Waiting {
        until: Tick,
    },
}

pub struct Clock {
    hand: Hand,
    dice: Dice,
    resolv_conf: PathBuf,
    names: Vec<Box<str>>,
    port: u16,
    peers: Vec<Peer>,
    judge: Judge,
    state: State,
    offset: Option<i64>,
}

impl Clock {
    /// Without servers yet. `resolv_conf` says who knows their addresses.
    pub fn new(resolv_conf: PathBuf, seed: u64) -> Clock {
        Clock::with_hand(resolv_conf, seed, Box::new(discipline::kernel))
    }

    pub fn with_hand(resolv_conf: PathBuf, seed: u64, hand: Hand) -> Clock {
        let (dice, judge) = (Dice::new(seed), Judge::default());
        let (names, peers, state) = (Vec::new(), Vec::new(), State::Idle);
        Clock { hand, dice, resolv_conf, names, port: PORT, peers, judge, state, offset: None }
    }

    /// The servers of the settings or of the leases; to be told after either has changed. Nothing
    /// happens where they are the same as before.
    pub fn follow(&mut self, ntp: &Ntp, leases: &[Lease], now: Tick) {
        let names: Vec<Box<str>> = match ntp {
            Ntp::Off => Vec::new(),
            Ntp::Servers(names) => names.clone(),
            Ntp::Leased => {
                let leased = leases.iter().flat_map(|lease| &lease.ntp);
                leased.map(|address| address.to_string().into()).collect()
            }
        };
        if names != self.names {
            self.names = names;
            self.find(now);
        }
    }

    /// Another port than NTP's, for servers of one's own.
    pub fn at_port(mut self, port: u16) -> Clock {
        self.port = port;
        self
    }

    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let lookup = match &self.state {
            State::Naming { lookup, .. } => lookup.as_ref().and_then(Lookup::fd),
            _ => None,
        };
        let asked = self.peers.iter().filter_map(|peer| peer.open.as_ref()).map(|open| open.socket.as_fd());
        asked.chain(lookup).collect()
    }

    pub fn deadline(&self) -> Option<Tick> {
        match &self.state {
            State::Idle => None,
            State::Naming { lookup, .. } => Some(lookup.as_ref().map_or(Tick(0), |lookup| lookup.deadline)),
            State::Asking { until, .. } | State::Waiting { until } => Some(*until),
        }
    }

    /// How far the clock was off when it was last looked at, in nanoseconds; `None` before that.
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// Looks at what has come and at what is due.
    pub fn on_ready(&mut self, now: Tick) -> Vec<Told> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => Vec::new(),
            State::Naming { left, lookup } => {
                self.name(left, lookup, now);
                Vec::new()
            }
            State::Asking { mut samples, until } => {
                self.hear(&mut samples, now);
                if until <= now || self.peers.iter().all(|peer| peer.open.is_none()) {
                    return self.conclude(samples, now);
                }
                self.state = State::Asking { samples, until };
                Vec::new()
            }
            State::Waiting { until } if until > now => {
                self.state = State::Waiting { until };
                Vec::new()
            }
            State::Waiting { .. } => {
                let gone = self.peers.iter().all(|peer| peer.silent >= FORGET_AFTER);
                if gone {
                    self.find(now)
                } else {
                    self.ask(now)
                }
                Vec::new()
            }
        }
    }

    /// Begins with the names.
    fn find(&mut self, now: Tick) {
        self.peers.clear();
        let (addresses, left): (Vec<_>, Vec<_>) = self.names.iter().partition(|name| name.parse::<IpAddr>().is_ok());
        let found = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let left = left.into_iter().rev().cloned().collect();
        self.add(found);
        if self.names.is_empty() {
            self.state = State::Idle;
        } else {
            self.name(left, None, now);
        }
    }

    fn name(&mut self, mut left: Vec<Box<str>>, mut lookup: Option<Lookup>, now: Tick) {
        loop {
            match lookup.as_mut().map(|lookup| lookup.look(now)) {
                Some(Err(())) => return self.state = State::Naming { left, lookup },
                Some(Ok(found)) => self.add(found),
                None => {}
            }
            let Some(next) = left.pop() else { return self.ask(now) };
            let id = u16::try_from(self.dice.roll(1 << 16)).unwrap_or(1);
            lookup = Lookup::begin(&next, &self.resolv_conf, id, now);
        }
    }

    fn add(&mut self, found: Vec<IpAddr>) {
        for address in found.into_iter().take(OF_ONE_NAME) {
            let address = SocketAddr::new(address, self.port);
            if self.peers.len() < MOST && !self.peers.iter().any(|peer| peer.address == address) {
                self.peers.push(Peer { address, silent: 0, banished: None, open: None });
            }
        }
    }

    fn ask(&mut self, now: Tick) {
        for peer in &mut self.peers {
            peer.banished = peer.banished.filter(|until| *until > now);
            let nonce = self.dice.roll(u64::MAX) | 1;
            peer.open = if peer.banished.is_none() { Open::ask(peer.address, nonce).ok() } else { None };
        }
        self.state = State::Asking { samples: Vec::new(), until: now.after(PATIENCE) };
    }

    fn hear(&mut self, samples: &mut Vec<(usize, Sample)>, now: Tick) {
        for (place, peer) in self.peers.iter_mut().enumerate() {
            let Some(answer) = peer.open.as_ref().and_then(Open::answer) else { continue };
            (peer.open, peer.silent) = (None, 0);
            match answer {
                Answer::Sample { offset, delay, distance } => {
                    samples.push((place, Sample { offset, delay, distance, at: now }));
                }
                Answer::GoAway => peer.banished = Some(now.after(BANISHED)),
            }
        }
    }

    fn conclude(&mut self, samples: Vec<(usize, Sample)>, now: Tick) -> Vec<Told> {
        for peer in &mut self.peers {
            peer.silent += u32::from(peer.open.take().is_some());
        }
        let only: Vec<Sample> = samples.iter().map(|(_, sample)| *sample).collect();
        let verdict = self.judge.judge(&only, now);
        self.state = State::Waiting { until: verdict.next };
        let believed = verdict.believed.and_then(|at| samples.get(at));
        let Some((peer, sample)) = believed.and_then(|(place, sample)| Some((self.peers.get(*place)?, sample))) else {
            return vec![Told::Nobody { servers: self.peers.len() }];
        };
        let (server, offset) = (peer.address.ip(), sample.offset);
        self.offset = Some(offset);
        let Some(adjust) = verdict.adjust else { return Vec::new() };
        if let Err(error) = (self.hand)(adjust) {
            return vec![Told::Problem(format!("could not set the clock: {error}"))];
        }
        vec![match adjust {
            Adjust::Step(by) => Told::Stepped { by, server },
            Adjust::Lead { offset, .. } => Told::Led { offset, server },
        }]
    }
}

impl Open {
    fn ask(server: SocketAddr, nonce: u64) -> io::Result<Open> {
        let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        let sent = realtime();
        socket.send(&packet::question(nonce))?;
        Ok(Open { socket, nonce, sent })
    }

    /// The first answer that is one.
    fn answer(&self) -> Option<Answer> {
        let mut room = [0; 512];
        while let Ok(count) = self.socket.recv(&mut room) {
            let came = realtime();
            let answer = packet::answer(room.get(..count)?, self.nonce, (self.sent, came));
            if answer.is_some() {
                return answer;
            }
        }
        None
    }
}

/// The clock that is to be right.
fn realtime() -> Nanos {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()));
    time.0.saturating_mul(1_000_000_000).saturating_add(time.1)
}
