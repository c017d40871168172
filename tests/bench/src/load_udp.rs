//! The UDP clients: numbered datagrams there, the same back, from one port each. A loss is an error and a new try.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Token};

use crate::engine::{Loop, Tally};
use crate::peer::MESSAGE;

const PATIENCE: Duration = Duration::from_secs(1);

/// Datagrams that a client of `Window` keeps on their way.
const WINDOW: u64 = 16;

#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    /// A session of the proxy for each exchange (its configuration ends it with the reply).
    Once,
    /// Exchange after exchange of one session.
    Session,
    /// One session with several datagrams on their way, as media and QUIC have them.
    Window,
}

pub struct UdpLoad {
    target: SocketAddr,
    clients: Vec<Client>,
    wanted: usize,
    window: u64,
    start: Instant,
    pub tally: Tally,
}

struct Client {
    socket: UdpSocket,
    /// The last datagram sent, and the first whose answer still counts.
    number: u64,
    oldest: u64,
    /// When something was last sent or came.
    since: Instant,
}

impl UdpLoad {
    pub fn new(target: SocketAddr, clients: usize, manner: Manner) -> UdpLoad {
        let window = if manner == Manner::Window { WINDOW } else { 1 };
        UdpLoad { target, clients: Vec::new(), wanted: clients, window, start: Instant::now(), tally: Tally::default() }
    }

    pub fn tick(&mut self, now: Instant, turn: &mut Loop) {
        while self.clients.len() < self.wanted {
            match self.open(now, turn) {
                Ok(client) => self.clients.push(client),
                Err(error) => return self.tally.fail(error),
            }
            self.fill(self.clients.len() - 1);
        }
        for slot in 0..self.clients.len() {
            let client = &mut self.clients[slot];
            if now.saturating_duration_since(client.since) > PATIENCE {
                client.oldest = client.number + 1;
                client.since = now;
                self.tally.fail("no answer within 1 s");
                self.fill(slot);
            }
        }
    }

    fn open(&self, since: Instant, turn: &Loop) -> io::Result<Client> {
        let mut socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.connect(self.target)?;
        turn.registry.register(&mut socket, Token(self.clients.len()), Interest::READABLE)?;
        Ok(Client { socket, number: 0, oldest: 1, since })
    }

    fn fill(&mut self, slot: usize) {
        (0..self.window).for_each(|_| self.send(slot));
    }

    fn send(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        client.number += 1;
        let mut message = MESSAGE;
        message[..8].copy_from_slice(&client.number.to_ne_bytes());
        message[8..16].copy_from_slice(&(self.start.elapsed().as_nanos() as u64).to_ne_bytes());
        // A refusal (ICMP) shows here or in `ready`; patience counts it and tries again.
        let _ = client.socket.send(&message);
    }

    pub fn ready(&mut self, slot: usize, turn: &mut Loop) {
        while let Some(client) = self.clients.get_mut(slot) {
            let Ok(length) = client.socket.recv(turn.scratch) else { return };
            let word = |at: usize| turn.scratch[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
            // Late answers to what was given up do not count.
            if length != MESSAGE.len() || word(0) < client.oldest {
                continue;
            }
            let now = Instant::now();
            client.since = now;
            let sent = self.start + Duration::from_nanos(word(8));
            self.tally.latency.record(now.saturating_duration_since(sent));
            self.tally.done += 1;
            self.send(slot);
            if self.window == 1 {
                return;
            }
        }
    }
}
