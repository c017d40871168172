//! One TCP session, from its first byte to its log line.
//!
//! Client → PROXY header → peer (the next one when it cannot be reached) → our
//! PROXY header → relay until both sides are done. It holds the generation it
//! was accepted with, so reloads do not touch it, and a drain lets it finish.

use crate::connect::{self, Failure};
use crate::outcomes::Status;
use crate::phases;
use crate::proxy::HeaderVersion;
use crate::record::{Record, level};
use crate::target::{self, CONNECTING, Candidates, Located, Pick};
use crate::worker::{Entry, Worker};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{
    Address, Direction, ProxyHeader, ProxyProtocolError, Relayed, Step, Stream, Tunnel, parse_proxy_header,
    write_proxy_v1, write_proxy_v2,
};
use fairlead_core::worker::{Ticket, next_connection_number};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// A connection as it was accepted.
pub(crate) struct Accepted {
    pub client: Stream,
    /// `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    pub worker: Rc<Worker>,
    pub entry: Rc<Entry>,
    /// Keeps the session's place among `worker_connections`.
    pub ticket: Ticket,
}

/// Runs a session to its end.
pub(crate) async fn run(accepted: Accepted) {
    let mut session = Session::new(accepted, tick());
    let status = match session.proxy().await {
        Ok(()) => Status::Ok,
        Err(status) => status,
    };
    session.record.finish(status, tick());
}

struct Session {
    client: Stream,
    record: Record,
    /// What the client sent behind its PROXY header.
    early: Vec<u8>,
    _ticket: Ticket,
}

impl Session {
    fn new(accepted: Accepted, now: Tick) -> Session {
        let mut record = Record::new(next_connection_number(), accepted.worker, accepted.entry, now);
        record.client = accepted.address;
        Session { client: accepted.client, record, early: Vec::new(), _ticket: accepted.ticket }
    }

    async fn proxy(&mut self) -> Result<(), Status> {
        self.begin();
        if self.record.entry.proxy_protocol {
            self.read_header().await?;
        }
        phases::enter(&mut self.record)?;
        let candidates = self.candidates().await?;
        let (peer, mut pick) = self.connect(candidates).await?;
        self.relay(&peer, &mut pick).await;
        Ok(())
    }

    fn begin(&mut self) {
        let record = &mut self.record;
        let server = &record.entry.server;
        if server.wants_local && unspecified(&record.entry.key.address) {
            record.local = local(&self.client);
        }
        if server.session.tcp_nodelay
            && let Stream::Tcp(stream) = &self.client
        {
            // Only a connection that is already gone can refuse, and its first read will tell.
            let _ = stream.set_nodelay(true);
        }
        if record.wants(Level::Info) {
            match record.client {
                Some(client) => record.note(format_args!("client {client} connected to {}", record.entry.name)),
                None => record.note(format_args!("client unix: connected to {}", record.entry.name)),
            }
        }
    }

    async fn candidates(&mut self) -> Result<Candidates, Status> {
        match target::locate(&mut self.record, tick())? {
            Located::Peers(candidates) => Ok(candidates),
            Located::Name { host, port } => target::resolve(&self.record, &host, port).await,
        }
    }

    /// Connects to the first peer that lets us.
    async fn connect(&mut self, mut candidates: Candidates) -> Result<(Stream, Pick), Status> {
        let entry = self.record.entry.clone();
        loop {
            let started = tick();
            let mut pick = candidates.pick(&mut self.record, started)?;
            self.record.attempt(pick.name(), started);
            let connected = connect::connect(pick.address(), &entry.server).await;
            let now = tick();
            match connected {
                Ok(peer) => {
                    self.connected(&peer, now);
                    pick.succeed(now);
                    pick.connected(now.since(started));
                    return Ok((peer, pick));
                }
                Err(Failure::Local(call, error)) => {
                    self.record.log(Level::Crit, CONNECTING, format_args!("{call} failed {}", OsError(&error)));
                    return Err(Status::InternalError);
                }
                Err(failure) => {
                    self.unreachable(&failure, &pick);
                    pick.fail(&self.record, now);
                }
            }
            if !candidates.another(&entry.server.proxy, now) {
                return Err(Status::BadGateway);
            }
        }
    }

    fn connected(&mut self, peer: &Stream, now: Tick) {
        let record = &mut self.record;
        if let Some(attempt) = record.current() {
            attempt.connect = Some(now.since(attempt.started));
        }
        if record.wants(Level::Info)
            && let (Some(ours), Some(attempt)) = (local(peer), record.attempts.last())
        {
            record.note(format_args!("proxy {ours} connected to {}", attempt.peer.as_str()));
        }
    }

    fn unreachable(&self, failure: &Failure, pick: &Pick) {
        let record = &self.record;
        match failure {
            Failure::Refused(error) => {
                let severity = match error.raw_os_error() {
                    Some(
                        libc::ECONNREFUSED
                        | libc::EAGAIN
                        | libc::ECONNRESET
                        | libc::ENETDOWN
                        | libc::ENETUNREACH
                        | libc::EHOSTDOWN
                        | libc::EHOSTUNREACH,
                    ) => Level::Error,
                    _ => Level::Crit,
                };
                let address = pick.address();
                record.log(severity, CONNECTING, format_args!("connect() to {address} failed {}", OsError(error)));
            }
            Failure::Failed(error) | Failure::Local(_, error) => {
                let severity = level(error, Level::Error);
                record.log(severity, CONNECTING, format_args!("connect() failed {}", OsError(error)));
            }
            Failure::TimedOut => {
                record.log(Level::Error, CONNECTING, format_args!("upstream timed out (110: Connection timed out)"))
            }
        }
    }

    /// What the peer gets before the relay: our PROXY header, and what came early.
    fn greeting(&mut self) -> Vec<u8> {
        let early = std::mem::take(&mut self.early);
        let Some(version) = self.record.entry.server.proxy.header else { return early };
        let (source, destination) = (self.record.client, self.record.local());
        let mut bytes = Vec::with_capacity(128 + early.len());
        match version {
            HeaderVersion::V1 => write_proxy_v1(source, destination, &mut bytes),
            HeaderVersion::V2 => write_proxy_v2(source, destination, false, &mut bytes),
        }
        bytes.extend_from_slice(&early);
        bytes
    }

    async fn relay(&mut self, peer: &Stream, pick: &mut Pick) {
        self.record.received += self.early.len() as u64;
        let to_peer = self.greeting();
        let record = &mut self.record;
        let proxy = &record.entry.server.proxy;
        let tunnel = Tunnel {
            client: &self.client,
            peer,
            scratch: &record.worker.context.scratch,
            idle: proxy.timeout,
            half_close: proxy.half_close,
            to_peer,
            to_client: Vec::new(),
        };
        let mut relay = pin!(tunnel.run());
        let started = record.attempts.last().map(|attempt| attempt.started);
        let age = |now: Tick| started.map_or(Duration::ZERO, |started| now.since(started));
        let mut first_byte = None;
        let relayed = poll_fn(|cx| {
            let relayed = relay.as_mut().poll(cx);
            if first_byte.is_none() && relay.from_peer() > 0 {
                let took = age(tick());
                first_byte = Some(took);
                pick.first_byte(took);
            }
            relayed
        })
        .await;
        let client_has_ended = relay.client_has_ended();
        record.received += relayed.from_client;
        record.sent += relayed.to_client;
        if let Some(attempt) = record.current() {
            attempt.sent += relayed.to_peer;
            attempt.received += relayed.from_peer;
            attempt.first_byte = first_byte;
            pick.count(attempt.sent, attempt.received);
            pick.last_byte(age(tick()));
        }
        log_end(record, &relayed, client_has_ended);
    }

    async fn read_header(&mut self) -> Result<(), Status> {
        const ACTION: &str = "reading PROXY protocol";
        let limit = self.record.entry.server.session.proxy_protocol_timeout;
        let read = tokio::time::timeout(limit, header(&self.client, &mut self.early)).await;
        let problem = match read {
            Ok(Ok((header, length))) => {
                self.early.drain(..length);
                self.record.header = Some(Box::new(header));
                return Ok(());
            }
            Ok(Err(problem)) => problem,
            Err(_) => HeaderProblem::Read(io::ErrorKind::TimedOut.into()),
        };
        let record = &self.record;
        match problem {
            HeaderProblem::Broken => {
                let line = self.early.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
                let shown = line.escape_ascii();
                record.log(Level::Error, ACTION, format_args!("broken header: \"{shown}\""));
                Err(Status::BadRequest)
            }
            HeaderProblem::Read(error) if error.kind() == io::ErrorKind::TimedOut => {
                record.log(Level::Info, ACTION, format_args!("client timed out (110: Connection timed out)"));
                Err(Status::Ok)
            }
            HeaderProblem::Read(error) => {
                let severity = level(&error, Level::Info);
                record.log(severity, ACTION, format_args!("recv() failed {}", OsError(&error)));
                Err(Status::Ok)
            }
        }
    }
}

enum HeaderProblem {
    Broken,
    Read(io::Error),
}

/// Longest PROXY header we read, TLVs and all.
const HEADER_LIMIT: usize = 4096;

/// Reads until the header is whole; `bytes` then holds it and what came behind it.
async fn header(client: &Stream, bytes: &mut Vec<u8>) -> Result<(ProxyHeader, usize), HeaderProblem> {
    while bytes.len() < HEADER_LIMIT {
        match read_some(client, bytes) {
            Ok(0) => break,
            Ok(_) => match parse_proxy_header(bytes) {
                Ok(found) => return Ok(found),
                Err(ProxyProtocolError::Incomplete) => {}
                Err(ProxyProtocolError::Broken) => break,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|cx| client.poll_read_ready(cx)).await.map_err(HeaderProblem::Read)?;
            }
            Err(error) => return Err(HeaderProblem::Read(error)),
        }
    }
    Err(HeaderProblem::Broken)
}

/// Not part of the future above, which would carry the chunk for as long as the session lives.
fn read_some(client: &Stream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 536];
    let read = client.try_read(&mut chunk)?;
    bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
    Ok(read)
}

/// How the relay ended, in nginx's words. A connected session is never an error of the gateway.
fn log_end(record: &Record, relayed: &Relayed, client_has_ended: bool) {
    let Some((direction, error)) = &relayed.error else {
        if record.wants(Level::Info) {
            let who = if client_has_ended { "client" } else { "upstream" };
            let (received, sent) = record.peer_bytes();
            record.note(format_args!(
                "{who} disconnected, bytes from/to client:{}/{}, bytes from/to upstream:{received}/{sent}",
                record.received, record.sent
            ));
        }
        return;
    };
    if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
        let message = format_args!("connection timed out (110: Connection timed out)");
        return record.log(Level::Info, "proxying connection", message);
    }
    // What clients do is worth a line only to who asks for it.
    let (usual, call, action) = match (direction, relayed.step) {
        (Direction::ToPeer, Step::Read) => (Level::Info, "recv()", "proxying and reading from client"),
        (Direction::ToPeer, Step::Write) => (Level::Error, "send()", "proxying and sending to upstream"),
        (Direction::ToClient, Step::Read) => (Level::Error, "recv()", "proxying and reading from upstream"),
        (Direction::ToClient, Step::Write) => (Level::Info, "send()", "proxying and sending to client"),
    };
    record.log(level(error, usual), action, format_args!("{call} failed {}", OsError(error)));
}

fn unspecified(address: &Address) -> bool {
    address.ip().is_some_and(|ip| ip.is_unspecified())
}

fn local(stream: &Stream) -> Option<SocketAddr> {
    match stream {
        Stream::Tcp(stream) => stream.local_addr().ok(),
        Stream::Unix(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]
mod tests;
