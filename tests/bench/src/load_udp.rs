//! The UDP clients: a numbered datagram there, the same back, from one port each. A loss is an error and a new try.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Token};

use crate::engine::{Loop, Tally};
use crate::peer::MESSAGE;

const PATIENCE: Duration = Duration::from_secs(1);

pub struct UdpLoad {
    target: SocketAddr,
    clients: Vec<Client>,
    wanted: usize,
    pub tally: Tally,
}

struct Client {
    socket: UdpSocket,
    number: u64,
    since: Instant,
}

impl UdpLoad {
    pub fn new(target: SocketAddr, clients: usize) -> UdpLoad {
        UdpLoad { target, clients: Vec::new(), wanted: clients, tally: Tally::default() }
    }

    pub fn tick(&mut self, now: Instant, turn: &mut Loop) {
        while self.clients.len() < self.wanted {
            match self.open(now, turn) {
                Ok(client) => self.clients.push(client),
                Err(error) => return self.tally.fail(error),
            }
            self.send(self.clients.len() - 1);
        }
        for slot in 0..self.clients.len() {
            if now.saturating_duration_since(self.clients[slot].since) > PATIENCE {
                self.tally.fail("no answer within 1 s");
                self.clients[slot].since = now;
                self.send(slot);
            }
        }
    }

    fn open(&self, since: Instant, turn: &Loop) -> io::Result<Client> {
        let mut socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.connect(self.target)?;
        turn.registry.register(&mut socket, Token(self.clients.len()), Interest::READABLE)?;
        Ok(Client { socket, number: 0, since })
    }

    fn send(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        client.number += 1;
        let mut message = MESSAGE;
        message[..8].copy_from_slice(&client.number.to_ne_bytes());
        // A refusal (ICMP) shows here or in `ready`; patience counts it and tries again.
        let _ = client.socket.send(&message);
    }

    pub fn ready(&mut self, slot: usize, turn: &mut Loop) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let wanted = client.number.to_ne_bytes();
        // Late answers to what was given up are in the queue before the one awaited.
        while let Ok(length) = client.socket.recv(turn.scratch) {
            if length == MESSAGE.len() && turn.scratch.starts_with(&wanted) {
                let now = Instant::now();
                self.tally.latency.record(now - client.since);
                self.tally.done += 1;
                client.since = now;
                return self.send(slot);
            }
        }
    }
}
