//! One thread's loop under the load and under the peers: readiness in, both state machines called.
//!
//! Both live on one thread, since they share one CPU and a switch between them would slow the side that must be the
//! faster one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Registry, Token};

use crate::Fault;
use crate::histogram::Histogram;
use crate::load_http::HttpLoad;
use crate::load_tcp::{Exchange, TcpLoad};
use crate::load_udp::UdpLoad;
use crate::peer::Peer;

/// Tokens from here on are the peers'.
pub const PEERS: usize = 1 << 32;
const TICK: Duration = Duration::from_millis(10);

pub struct Engine {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    peer: Peer,
}

/// What a load or a peer needs of the loop while it handles an event.
pub struct Loop<'a> {
    pub registry: &'a Registry,
    pub scratch: &'a mut [u8],
}

pub enum Load {
    Http(HttpLoad),
    Tcp(TcpLoad),
    Udp(UdpLoad),
}

/// What a load has seen since it was last asked.
#[derive(Default)]
pub struct Tally {
    /// Operations, or bytes where bytes are the measure.
    pub done: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    pub latency: Histogram,
}

impl Tally {
    pub fn fail(&mut self, why: impl ToString) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| why.to_string());
    }
}

impl Engine {
    pub fn new() -> io::Result<Engine> {
        let poll = Poll::new()?;
        let peer = Peer::listen(poll.registry())?;
        Ok(Engine { poll, events: Events::with_capacity(1024), scratch: vec![0; 256 * 1024], peer })
    }

    /// Serves peers and drives `load` until `time` has passed or `enough` says so.
    pub fn run(&mut self, load: &mut Load, time: Duration, enough: impl Fn(&Load) -> bool) -> Result<(), Fault> {
        let mut now = Instant::now();
        let end = now + time;
        let mut next_tick = now;
        while now < end && !enough(load) {
            let mut turn = Loop { registry: self.poll.registry(), scratch: &mut self.scratch };
            if now >= next_tick {
                load.tick(now, &mut turn);
                next_tick = now + TICK;
            }
            match self.poll.poll(&mut self.events, Some(TICK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let mut turn = Loop { registry: self.poll.registry(), scratch: &mut self.scratch };
            for event in &self.events {
                match event.token() {
                    Token(token) if token >= PEERS => self.peer.ready(token - PEERS, event, &mut turn)?,
                    Token(slot) => load.ready(slot, event, &mut turn),
                }
            }
            now = Instant::now();
        }
        Ok(())
    }
}

impl Load {
    /// No traffic: what the loop is given while only time must pass.
    pub fn none() -> Load {
        Load::Tcp(TcpLoad::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 0, Exchange::Session))
    }

    fn tick(&mut self, now: Instant, turn: &mut Loop) {
        match self {
            Load::Http(load) => load.tick(turn),
            Load::Tcp(load) => load.tick(turn),
            Load::Udp(load) => load.tick(now, turn),
        }
    }

    fn ready(&mut self, slot: usize, event: &Event, turn: &mut Loop) {
        match self {
            Load::Http(load) => load.ready(slot, event, turn),
            Load::Tcp(load) => load.ready(slot, event, turn),
            Load::Udp(load) => load.ready(slot, turn),
        }
    }

    pub fn tally(&mut self) -> &mut Tally {
        match self {
            Load::Http(load) => &mut load.tally,
            Load::Tcp(load) => &mut load.tally,
            Load::Udp(load) => &mut load.tally,
        }
    }

    pub fn done(&self) -> u64 {
        match self {
            Load::Http(load) => load.tally.done,
            Load::Tcp(load) => load.tally.done,
            Load::Udp(load) => load.tally.done,
        }
    }
}
