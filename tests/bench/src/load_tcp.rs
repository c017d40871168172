//! The TCP clients: a message there, a message back, over long connections or one each; or a stream to swallow.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event;

use crate::connection::Connection;
use crate::engine::{Loop, Tally};
use crate::peer::MESSAGE;

#[derive(Clone, Copy, PartialEq)]
pub enum Exchange {
    /// Message after message over the same connection.
    Session,
    /// One message each way, then the peer closes.
    Once,
    /// One message there, bytes back without end; bytes are what is counted.
    Stream,
    /// One message each way, then the session stays open and idle.
    Idle,
}

pub struct TcpLoad {
    target: SocketAddr,
    exchange: Exchange,
    clients: Vec<Client>,
    waiting: Vec<usize>,
    pub tally: Tally,
}

struct Client {
    connection: Option<Connection>,
    /// Bytes of the answer still to come.
    left: usize,
}

/// How many connections are opened per tick.
const STEP: usize = 64;

impl TcpLoad {
    pub fn new(target: SocketAddr, clients: usize, exchange: Exchange) -> TcpLoad {
        let waiting = (0..clients).collect();
        let clients = (0..clients).map(|_| Client { connection: None, left: 0 }).collect();
        TcpLoad { target, exchange, clients, waiting, tally: Tally::default() }
    }

    pub fn tick(&mut self, turn: &mut Loop) {
        let rest = self.waiting.len().saturating_sub(STEP);
        for slot in self.waiting.split_off(rest) {
            self.connect(slot, turn);
        }
    }

    pub fn ready(&mut self, slot: usize, event: &Event, turn: &mut Loop) {
        let Some(connection) = self.clients.get(slot).and_then(|it| it.connection.as_ref()) else { return };
        if connection.is_sending() && event.is_writable() {
            self.send(slot);
        }
        if event.is_readable() || event.is_read_closed() {
            self.receive(slot, event.is_read_closed(), turn);
        }
    }

    fn connect(&mut self, slot: usize, turn: &mut Loop) {
        match Connection::open(self.target, slot, turn) {
            Ok(connection) => {
                self.clients[slot].connection = Some(connection);
                self.send(slot);
            }
            Err(error) => self.lose(slot, error),
        }
    }

    fn send(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(connection) = &mut client.connection else { return };
        client.left = MESSAGE.len();
        if let Err(error) = connection.send(&MESSAGE) {
            self.lose(slot, error);
        }
    }

    fn lose(&mut self, slot: usize, why: impl ToString) {
        self.tally.fail(why);
        self.clients[slot].connection = None;
        self.waiting.push(slot);
    }

    fn receive(&mut self, slot: usize, closed: bool, turn: &mut Loop) {
        loop {
            let Some(connection) = &mut self.clients[slot].connection else { return };
            let taken = match connection.discard(turn.scratch) {
                Ok(None) => return,
                Ok(Some(0)) => return self.ended(slot, turn),
                Ok(Some(length)) => self.take(slot, length).map(|()| length),
                Err(error) => Err(error),
            };
            match taken {
                Ok(length) if length < turn.scratch.len() && !closed => return,
                Ok(_) => {}
                Err(error) => return self.lose(slot, error),
            }
        }
    }

    fn take(&mut self, slot: usize, length: usize) -> io::Result<()> {
        if self.exchange == Exchange::Stream {
            self.tally.done += length as u64;
            return Ok(());
        }
        let client = &mut self.clients[slot];
        client.left = client.left.checked_sub(length).ok_or_else(|| io::Error::other("more came than was sent"))?;
        if client.left == 0 && matches!(self.exchange, Exchange::Session | Exchange::Idle) {
            self.count(slot);
            if self.exchange == Exchange::Session {
                self.send(slot);
            }
        }
        Ok(())
    }

    fn count(&mut self, slot: usize) {
        let Some(connection) = &mut self.clients[slot].connection else { return };
        let now = Instant::now();
        self.tally.latency.record(now - connection.since);
        self.tally.done += 1;
        connection.since = now;
    }

    fn ended(&mut self, slot: usize, turn: &mut Loop) {
        if self.exchange != Exchange::Once || self.clients[slot].left > 0 {
            return self.lose(slot, "closed before the answer");
        }
        self.count(slot);
        self.clients[slot].connection = None;
        self.connect(slot, turn);
    }
}
