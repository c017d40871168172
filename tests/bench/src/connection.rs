//! A client's TCP connection as both TCP loads use it: connect and speak at once, read until drained.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Token};
use nix::sys::socket::{MsgFlags, recv};

use crate::engine::Loop;

pub struct Connection {
    stream: TcpStream,
    /// When the operation in flight began: with the connect, where it needed one.
    pub since: Instant,
    connecting: bool,
    /// How much of the message in flight has gone out.
    sent: usize,
}

impl Connection {
    /// Registered once and for good, edge-triggered, for both directions.
    pub fn open(target: SocketAddr, slot: usize, turn: &Loop) -> io::Result<Connection> {
        let since = Instant::now();
        let mut stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        turn.registry.register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, since, connecting: true, sent: 0 })
    }

    /// Whether a message has yet to leave, as a whole or in part.
    pub fn is_sending(&self) -> bool {
        self.connecting || self.sent > 0
    }

    /// Sends a message, or what is left of it, and tells whether it is out; over loopback a connect is mostly done by
    /// the time it returns, so this is tried at once and again when the socket becomes writable.
    pub fn send(&mut self, message: &[u8]) -> io::Result<bool> {
        while let Some(rest) = message.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(sent) => {
                    self.connecting = false;
                    self.sent += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if self.connecting && error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        Ok(true)
    }

    /// `None` when there is nothing to read now.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(self.stream.read(buffer))
    }

    /// Takes up to a buffer's length off the socket without copying it: payload whose content nobody looks at.
    pub fn discard(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC).map_err(io::Error::from))
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}
