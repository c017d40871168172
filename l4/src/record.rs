//! What is known about one session while it runs: who, since when, which peers
//! were tried, how many bytes. Variables, log lines and counters read it; it
//! does no I/O.

use crate::limit_conn::LimitStatus;
use crate::outcomes::Status;
use crate::realip::Forwarder;
use crate::worker::{Entry, Worker};
use fairlead_core::clock::Tick;
use fairlead_core::limit::Held;
use fairlead_core::log::Level;
use fairlead_core::net::{Address, ClientHello, Protocol, ProxyHeader, Relay};
use fairlead_core::upstream::Peer;
use fairlead_core::variable::Values;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Record {
    /// `$connection`.
    pub number: u64,
    pub worker: Rc<Worker>,
    pub entry: Rc<Entry>,
    /// `None` for a client on a Unix socket.
    pub client: Option<SocketAddr>,
    /// Then the name of its socket, if it has one.
    pub client_path: Option<Box<str>>,
    /// Who really connected, where `client` is what a PROXY header says.
    pub forwarder: Option<Forwarder>,
    /// Its places in the zones of `limit_conn`.
    pub held: Vec<Held>,
    /// `$limit_conn_status`; `None` when nothing was counted.
    pub limit_status: Option<LimitStatus>,
    /// The address the client used, where it was asked for.
    pub local: Option<SocketAddr>,
    pub started: Tick,
    pub header: Option<Box<ProxyHeader>>,
    /// What `ssl_preread` found.
    pub hello: Option<Box<ClientHello>>,
    /// Bytes of the client, without its PROXY header, and bytes sent to it.
    pub received: u64,
    pub sent: u64,
    /// `None` while it lasts.
    pub status: Option<Status>,
    /// Proxying has begun: log lines speak of the peer too.
    pub proxying: bool,
    pub attempts: Vec<Attempt>,
    /// Values of the configuration's own variables.
    pub custom: Values,
}

/// One peer that was tried.
pub(crate) struct Attempt {
    pub peer: PeerName,
    pub started: Tick,
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub total: Option<Duration>,
    pub sent: u64,
    pub received: u64,
}

#[derive(Clone)]
pub(crate) enum PeerName {
    Peer(Arc<Peer>),
    /// An address found at run time, or the group's name when it had no peer to give.
    Text(Box<str>),
}

impl PeerName {
    pub fn as_str(&self) -> &str {
        match self {
            PeerName::Peer(peer) => &peer.name,
            PeerName::Text(text) => text,
        }
    }
}

impl Attempt {
    pub fn new(peer: PeerName, now: Tick) -> Attempt {
        Attempt { peer, started: now, connect: None, first_byte: None, total: None, sent: 0, received: 0 }
    }
}

impl Record {
    pub fn new(number: u64, worker: Rc<Worker>, entry: Rc<Entry>, now: Tick) -> Record {
        Record {
            number,
            worker,
            entry,
            client: None,
            client_path: None,
            forwarder: None,
            held: Vec::new(),
            limit_status: None,
            local: None,
            started: now,
            header: None,
            hello: None,
            received: 0,
            sent: 0,
            status: None,
            proxying: false,
            attempts: Vec::new(),
            custom: Values::default(),
        }
    }

    /// The address the client used, if anybody is going to want it.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local.or(match &self.entry.key.address {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        })
    }

    /// Starts another attempt; the one before it is over.
    pub fn attempt(&mut self, peer: PeerName, now: Tick) {
        self.settle(now);
        self.attempts.push(Attempt::new(peer, now));
    }

    pub fn current(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut()
    }

    /// Bytes from and to the last peer tried.
    pub fn peer_bytes(&self) -> (u64, u64) {
        self.attempts.last().map_or((0, 0), |attempt| (attempt.received, attempt.sent))
    }

    /// Takes over what a relay has counted so far; `received` bytes came before it.
    pub fn account(&mut self, received: u64, relay: &Relay<'_>) {
        self.received = received + relay.from_client();
        self.sent = relay.to_client();
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.sent = relay.to_peer();
            attempt.received = relay.from_peer();
        }
    }

    /// Fixes the time of the last attempt.
    fn settle(&mut self, now: Tick) {
        if let Some(last) = self.attempts.last_mut() {
            last.total.get_or_insert(now.since(last.started));
        }
    }

    pub fn log(&self, level: Level, action: &str, message: fmt::Arguments<'_>) {
        let log = &self.entry.server.error_log;
        if log.wants(level) {
            log.write(level, self.number, format_args!("{message}{}", Scene { record: self, action }));
        }
    }

    /// A line that nginx writes without the scene around it.
    pub fn note(&self, message: fmt::Arguments<'_>) {
        self.entry.server.error_log.write(Level::Info, self.number, message);
    }

    pub fn wants(&self, level: Level) -> bool {
        self.entry.server.error_log.wants(level)
    }

    /// `udp ` in front of what nginx says of a datagram's session.
    pub fn udp(&self) -> &'static str {
        match self.entry.key.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "udp ",
        }
    }

    /// The one end of a session: fixes its status, counts it and writes its access log lines.
    pub fn finish(&mut self, status: Status, now: Tick) {
        self.settle(now);
        self.status = Some(status);
        // Before the client can see the end and come back.
        self.held = Vec::new();
        self.entry.server.outcomes.count(status, self.received, self.sent);
        for access in &self.entry.server.access_logs {
            access.write(self, now);
        }
    }
}

/// The end of an error log line: ` while ACTION, client: …, server: …`; some of nginx's name no action.
struct Scene<'a> {
    record: &'a Record,
    action: &'a str,
}

impl fmt::Display for Scene<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        if !self.action.is_empty() {
            write!(f, " while {}", self.action)?;
        }
        write!(f, ", {}client: ", record.udp())?;
        match record.client {
            Some(client) => write!(f, "{}", client.ip())?,
            None => write!(f, "unix:{}", record.client_path.as_deref().unwrap_or_default())?,
        }
        write!(f, ", server: {}", record.entry.name)?;
        if !record.proxying {
            return Ok(());
        }
        if let Some(attempt) = record.attempts.last() {
            write!(f, ", upstream: \"{}\"", attempt.peer.as_str())?;
        }
        let (received, sent) = record.peer_bytes();
        write!(
            f,
            ", bytes from/to client:{}/{}, bytes from/to upstream:{received}/{sent}",
            record.received, record.sent
        )
    }
}

/// The level nginx gives an error of a connection: what peers and clients do every day is not an alert.
pub(crate) fn level(error: &io::Error, usual: Level) -> Level {
    match error.raw_os_error() {
        None
        | Some(
            libc::ECONNRESET
            | libc::EPIPE
            | libc::ENOTCONN
            | libc::ETIMEDOUT
            | libc::ECONNREFUSED
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH,
        ) => usual,
        Some(_) => Level::Alert,
    }
}
