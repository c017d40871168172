//! The UDP clients: numbered datagrams there, the same back, from one port each. A loss is an error and
//! a new try.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Token};

use crate::engine::{Loop, Tally};
use crate::peer::{BURST, MESSAGE, take_bursts};

const PATIENCE: Duration = Duration::from_secs(1);

/// Datagrams that a client of `Window` and `Bursts` keeps on their way.
const WINDOW: u64 = 16;

#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    /// A session of the proxy for each exchange (its configuration ends it with the reply).
    Once,
    /// Exchange after exchange of one session.
    Session,
    /// One session with several datagrams on their way, sent and read one by one.
    Window,
    /// The same with larger ones, those that are due sent at once and read as they come, as QUIC stacks do it.
    Bursts,
}

pub struct UdpLoad {
    target: SocketAddr,
    clients: Vec<Client>,
    wanted: usize,
    manner: Manner,
    start: Instant,
    message: Vec<u8>,
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
        let (start, message) = (Instant::now(), vec![b'm'; WINDOW as usize * BURST]);
        UdpLoad { target, clients: Vec::new(), wanted: clients, manner, start, message, tally: Tally::default() }
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
        if self.manner == Manner::Bursts {
            take_bursts(&socket)?;
        }
        socket.connect(self.target)?;
        turn.registry.register(&mut socket, Token(self.clients.len()), Interest::READABLE)?;
        Ok(Client { socket, number: 0, oldest: 1, since })
    }

    /// Bytes of a datagram, and of how many there can be in one message.
    fn sizes(&self) -> (usize, u64) {
        match self.manner {
            Manner::Bursts => (BURST, WINDOW),
            Manner::Once | Manner::Session | Manner::Window => (MESSAGE.len(), 1),
        }
    }

    fn fill(&mut self, slot: usize) {
        match self.manner {
            Manner::Once | Manner::Session => self.send(slot, 1),
            Manner::Window | Manner::Bursts => self.send(slot, WINDOW),
        }
    }

    fn send(&mut self, slot: usize, count: u64) {
        let (length, at_once) = self.sizes();
        let client = &mut self.clients[slot];
        let since = (self.start.elapsed().as_nanos() as u64).to_ne_bytes();
        let mut left = count;
        while left > 0 {
            let together = left.min(at_once);
            for datagram in self.message.chunks_mut(length).take(together as usize) {
                client.number += 1;
                datagram[..8].copy_from_slice(&client.number.to_ne_bytes());
                datagram[8..16].copy_from_slice(&since);
            }
            // A refusal (ICMP) shows here or in `ready`; patience counts it and tries again.
            let _ = client.socket.send(&self.message[..together as usize * length]);
            left -= together;
        }
    }

    pub fn ready(&mut self, slot: usize, turn: &mut Loop) {
        let (length, _) = self.sizes();
        let mut due = 0;
        while let Some(client) = self.clients.get_mut(slot) {
            let Ok(received) = client.socket.recv(turn.scratch) else { break };
            let now = Instant::now();
            let mut counted = 0;
            for datagram in turn.scratch[..received].chunks_exact(length) {
                let word = |at: usize| datagram[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
                // Late answers to what was given up do not count.
                if word(0) >= client.oldest {
                    client.since = now;
                    let sent = self.start + Duration::from_nanos(word(8));
                    self.tally.latency.record(now.saturating_duration_since(sent));
                    counted += 1;
                }
            }
            self.tally.done += counted;
            match self.manner {
                Manner::Once | Manner::Session if counted > 0 => return self.send(slot, counted),
                Manner::Once | Manner::Session => {}
                Manner::Window => self.send(slot, counted),
                Manner::Bursts => due += counted,
            }
        }
        self.send(slot, due);
    }
}
