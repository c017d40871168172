//! One UDP session: its peer's socket, what is known of it, and its end.

use crate::bind;
use crate::outcomes::Status;
use crate::plan::Server;
use crate::proxy::HeaderVersion;
use crate::record::{Record, level};
use crate::target::{CONNECTING, Candidates, Pick};
use crate::udp::flows::{Flow, Limits};
use fairlead_core::clock::Tick;
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{Address, write_proxy_v1, write_proxy_v2};
use fairlead_core::worker::Ticket;
use socket2::{Domain, SockAddr, Socket, Type};
use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) struct Session {
    pub record: Record,
    pub peer: Socket,
    pick: Pick,
    _ticket: Ticket,
}

/// How a session ended.
pub(crate) enum End {
    /// Every reply that was expected came.
    Done,
    /// Nothing moved for `proxy_timeout`.
    Silent,
    /// The peer's host says that nobody is there, or sending to it is impossible.
    Unreachable,
    /// The listener is gone.
    Shutdown,
}

pub(crate) fn limits(server: &Server) -> Limits {
    let proxy = &server.proxy;
    Limits { requests: proxy.requests, responses: proxy.responses, timeout: proxy.timeout }
}

impl Session {
    /// A socket to the first peer that has a way to it.
    ///
    /// # Errors
    /// No peer is left, and `record` is finished.
    pub fn open(mut record: Record, mut candidates: Candidates, ticket: Ticket, now: Tick) -> Option<Session> {
        match connect(&mut record, &mut candidates, now) {
            Ok((peer, pick)) => Some(Session { record, peer, pick, _ticket: ticket }),
            Err(status) => {
                record.finish(status, now);
                None
            }
        }
    }

    /// Sends one datagram to the peer; the first of a session carries our PROXY header.
    pub fn send(&mut self, bytes: &[u8], first: bool) -> io::Result<()> {
        let version = self.record.entry.server.proxy.header.filter(|_| first);
        let sent = match version {
            None => self.peer.send(bytes)?,
            Some(version) => {
                let header = self.header(version);
                self.peer.send_vectored(&[IoSlice::new(&header), IoSlice::new(bytes)])?
            }
        };
        self.record.received += bytes.len() as u64;
        if let Some(attempt) = self.record.current() {
            attempt.sent += sent as u64;
        }
        Ok(())
    }

    fn header(&self, version: HeaderVersion) -> Vec<u8> {
        let (source, destination) = (self.record.client, self.record.local());
        let mut header = Vec::new();
        match version {
            HeaderVersion::V1 => write_proxy_v1(source, destination, &mut header),
            HeaderVersion::V2 => write_proxy_v2(source, destination, true, &mut header),
        }
        header
    }

    /// A datagram came from the peer.
    pub fn received(&mut self, length: usize, first: bool, now: Tick) {
        if let Some(attempt) = self.record.current() {
            attempt.received += length as u64;
            if first {
                let took = now.since(attempt.started);
                attempt.first_byte = Some(took);
                self.pick.first_byte(took);
            }
        }
        if first {
            self.pick.succeed(now);
        }
    }

    pub fn peer_failed(&self, call: &str, error: &io::Error) {
        let action = match call {
            "recv()" => "proxying and reading from upstream",
            _ => "proxying and sending to upstream",
        };
        self.record.log(level(error, Level::Error), action, format_args!("{call} failed {}", OsError(error)));
    }
}

/// Ends a session: verdict on its peer, counters, log lines.
pub(crate) fn finish(flow: Flow<Session>, end: End, now: Tick) {
    let unanswered = flow.unanswered();
    let (requests, responses) = (flow.requests, flow.responses);
    let mut session = flow.session;
    let status = match end {
        End::Done | End::Shutdown => Status::Ok,
        End::Silent if unanswered => {
            let message = format_args!("upstream timed out (110: Connection timed out)");
            session.record.log(Level::Error, "proxying connection", message);
            Status::BadGateway
        }
        End::Silent => Status::Ok,
        End::Unreachable => Status::BadGateway,
    };
    match status {
        Status::BadGateway => session.pick.fail(&session.record, now),
        _ if responses == 0 => session.pick.succeed(now),
        _ => {}
    }
    let record = &mut session.record;
    if let Some(attempt) = record.attempts.last().filter(|_| status == Status::Ok) {
        session.pick.last_byte(now.since(attempt.started));
    }
    let (received, sent) = record.peer_bytes();
    session.pick.count(sent, received);
    let what = match end {
        End::Done => "udp done",
        End::Silent if status == Status::Ok => "udp timed out",
        End::Shutdown => "disconnected on shutdown",
        _ => "",
    };
    if !what.is_empty() && record.wants(Level::Info) {
        record.note(format_args!(
            "{what}, packets from/to client:{requests}/{responses}, bytes from/to client:{}/{}, \
             bytes from/to upstream:{received}/{sent}",
            record.received, record.sent
        ));
    }
    record.finish(status, now);
}

fn connect(record: &mut Record, candidates: &mut Candidates, now: Tick) -> Result<(Socket, Pick), Status> {
    let entry = record.entry.clone();
    let mut local = bind::local(record, now);
    loop {
        let mut pick = candidates.pick(record, now)?;
        record.attempt(pick.name(), now);
        bind::renew(&mut local, record, now);
        match socket(pick.address(), &entry.server, local) {
            Ok(peer) => {
                if let Some(attempt) = record.current() {
                    attempt.connect = Some(Duration::ZERO);
                }
                pick.connected(Duration::ZERO);
                return Ok((peer, pick));
            }
            Err(Failure::Local(call, error)) => {
                record.log(Level::Crit, CONNECTING, format_args!("{call} failed {}", OsError(&error)));
                return Err(Status::InternalError);
            }
            Err(Failure::Connect(error)) => {
                let (severity, address) = (level(&error, Level::Error), pick.address());
                record.log(severity, CONNECTING, format_args!("connect() to {address} failed {}", OsError(&error)));
                pick.fail(record, now);
            }
        }
        if !candidates.another(&entry.server.proxy, now) {
            return Err(Status::BadGateway);
        }
    }
}

enum Failure {
    Local(Cow<'static, str>, io::Error),
    Connect(io::Error),
}

fn socket(address: &Address, server: &Server, local: Option<SocketAddr>) -> Result<Socket, Failure> {
    let (domain, target) = match address {
        Address::Ip(address) => (Domain::for_address(*address), Ok(SockAddr::from(*address))),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)),
    };
    let target = target.map_err(Failure::Connect)?;
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)
        .map_err(|error| Failure::Local("socket()".into(), error))?;
    bind::prepare(&socket, address, server, local).map_err(|(call, error)| Failure::Local(call, error))?;
    socket.connect(&target).map_err(Failure::Connect)?;
    Ok(socket)
}
