//! One TCP session, from its first byte to its log line.
//!
//! Client → PROXY header → peer (the next one when it cannot be reached) → our
//! PROXY header → relay until both sides are done. It holds the generation it
//! was accepted with, so reloads do not touch it, and a drain lets it finish.

use crate::bind;
use crate::connect::{self, Failure};
use crate::outcomes::Status;
use crate::pass::{self, Destination};
use crate::plan::Content;
use crate::preread::{self, read_some};
use crate::proxy::HeaderVersion;
use crate::record::{Record, level};
use crate::session_drop::{LOST, Watch};
use crate::target::{self, CONNECTING, Candidates, Located, Pick, Target};
use crate::variables::Variable;
use crate::worker::{Entry, Worker};
use crate::{phases, returns};
use fairlead_conf::Template;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{
    Address, Direction, End, ListenerKey, ProxyHeader, ProxyProtocolError, Stream, Tunnel, parse_proxy_header,
    write_proxy_v1, write_proxy_v2,
};
use fairlead_core::worker::{Door, Passed, Scratch, Ticket, next_connection_number};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
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
    /// Another listener accepted it.
    pub passed: Option<Box<Passage>>,
}

/// What comes with a connection that was passed.
pub(crate) struct Passage {
    /// The address it was passed to.
    pub local: Address,
    pub early: Vec<u8>,
    pub number: u64,
    pub passes: u32,
}

/// Runs a session to its end. What a session costs is the size of this future, which is why it is
/// made before the first await rather than in it.
pub(crate) fn run(accepted: Accepted) -> impl Future<Output = ()> {
    let mut session = Session::new(accepted, tick());
    async move {
        let status = match session.enter().await {
            Err(status) => status,
            Ok(()) => {
                let entry = session.record.entry.clone();
                match &entry.server.content {
                    Content::Proxy(target) => session.proxy(target).await.err().unwrap_or(Status::Ok),
                    Content::Return(text) => return Box::pin(session.answer(text)).await,
                    Content::Pass(destination) => match session.find_door(destination) {
                        Ok(found) => return session.pass(found),
                        Err(status) => status,
                    },
                }
            }
        };
        session.record.finish(status, tick());
    }
}

struct Session {
    client: Stream,
    record: Record,
    /// What the client sent behind its PROXY header.
    early: Vec<u8>,
    /// How often it was passed from listener to listener.
    passes: u32,
    ticket: Ticket,
}

impl Session {
    fn new(accepted: Accepted, now: Tick) -> Session {
        let Accepted { client, address, worker, entry, ticket, passed } = accepted;
        let mut session =
            Session { client, record: Record::new(0, worker, entry, now), early: Vec::new(), passes: 0, ticket };
        let record = &mut session.record;
        record.client = address;
        record.number = match passed {
            None => next_connection_number(),
            Some(passed) => {
                let Passage { local, early, number, passes } = *passed;
                record.local = match local {
                    Address::Ip(local) => Some(local),
                    Address::Unix(_) => None,
                };
                (session.early, session.passes) = (early, passes);
                number
            }
        };
        session
    }

    /// All that comes before the content. Its server is known then.
    async fn enter(&mut self) -> Result<(), Status> {
        self.begin();
        if self.record.entry.proxy_protocol {
            self.read_header().await?;
        }
        phases::enter(&mut self.record)?;
        preread::run(&self.client, &mut self.early, &mut self.record).await?;
        self.learn_local();
        Ok(())
    }

    async fn proxy(&mut self, target: &Target) -> Result<(), Status> {
        self.set_nodelay();
        let candidates = self.candidates(target).await?;
        let (peer, mut pick) = self.connect(candidates).await?;
        self.relay(&peer, &mut pick).await;
        Ok(())
    }

    fn begin(&mut self) {
        self.learn_local();
        let record = &mut self.record;
        if record.wants(Level::Info) {
            match record.client {
                Some(client) => record.note(format_args!("client {client} connected to {}", record.entry.name)),
                None => record.note(format_args!("client unix: connected to {}", record.entry.name)),
            }
        }
    }

    /// Asks for the address the client used, if the server needs it and it is not the listener's own.
    fn learn_local(&mut self) {
        let record = &mut self.record;
        if record.local.is_none() && record.entry.server.wants_local && unspecified(&record.entry.key.address) {
            record.local = local(&self.client);
        }
    }

    /// Connections inherit `TCP_NODELAY` from their listener.
    fn set_nodelay(&self) {
        if !self.record.entry.server.session.tcp_nodelay {
            self.client.set_nodelay(false);
        }
    }

    /// `return`: the log line is written when the text is out; then the client is given time to take it.
    async fn answer(&mut self, text: &Template<Variable>) {
        self.set_nodelay();
        let mut answer = Vec::new();
        self.record.render(text, tick(), &mut answer);
        let status = returns::send(&self.client, &answer, &mut self.record).await;
        self.record.finish(status, tick());
        if status == Status::Ok {
            returns::linger(&self.client, &self.record.worker.context.scratch).await;
        }
    }

    fn find_door(&self, destination: &Destination) -> Result<(ListenerKey, Door, Address), Status> {
        pass::find(destination, &self.record, self.passes + 1, tick())
    }

    /// `pass`: from here on it is another listener's session, which logs and counts it.
    fn pass(mut self, (key, door, local): (ListenerKey, Door, Address)) {
        // It still counts where it came in, as in nginx.
        self.ticket.hold(std::mem::take(&mut self.record.held));
        door(
            &key,
            Passed {
                stream: self.client,
                client: self.record.client,
                local,
                early: self.early,
                number: self.record.number,
                passes: self.passes + 1,
                ticket: self.ticket,
            },
        );
    }

    async fn candidates(&mut self, target: &Target) -> Result<Candidates, Status> {
        match target::locate(target, &mut self.record, tick())? {
            Located::Peers(candidates) => Ok(candidates),
            Located::Name { host, port } => target::resolve(&self.record, &host, port).await,
        }
    }

    /// Connects to the first peer that lets us.
    async fn connect(&mut self, mut candidates: Candidates) -> Result<(Stream, Pick), Status> {
        let entry = self.record.entry.clone();
        let mut local = bind::local(&self.record, tick());
        loop {
            let started = tick();
            let mut pick = candidates.pick(&mut self.record, started)?;
            self.record.attempt(pick.name(), started);
            bind::renew(&mut local, &self.record, started);
            let connected = connect::connect(pick.address(), &entry.server, local).await;
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
        let (worker, entry) = (record.worker.clone(), record.entry.clone());
        let tunnel = Tunnel {
            client: &self.client,
            peer,
            scratch: &worker.context.scratch,
            idle: entry.server.proxy.timeout,
            half_close: entry.server.proxy.half_close,
            limits: entry.server.rates.limits(record, tick()),
            to_peer,
            to_client: Vec::new(),
        };
        let received = record.received;
        let mut relay = pin!(tunnel.run());
        let started = record.attempts.last().map(|attempt| attempt.started);
        let age = |now: Tick| started.map_or(Duration::ZERO, |started| now.since(started));
        let mut first_byte = None;
        let mut watch = pick.peer().filter(|_| entry.server.proxy.session_drop).cloned().map(Watch::new);
        let end = poll_fn(|cx| {
            if watch.as_mut().is_some_and(|watch| watch.poll_lost(cx)) {
                return Poll::Ready(None);
            }
            let relayed = relay.as_mut().poll(cx);
            if first_byte.is_none() && relay.from_peer() > 0 {
                let took = age(tick());
                first_byte = Some(took);
                pick.first_byte(took);
            }
            while let Some((direction, error)) = relay.take_fault() {
                record.account(received, &relay);
                log_fault(record, direction, &error);
            }
            relayed.map(|relayed| Some(relayed.end))
        })
        .await;
        record.account(received, &relay);
        // An end without a byte is what came first from the peer.
        if let Some(End::Closed(Direction::ToClient)) = &end {
            first_byte.get_or_insert_with(|| age(tick()));
        }
        if let Some(attempt) = record.current() {
            attempt.first_byte = first_byte;
            pick.count(attempt.sent, attempt.received);
            pick.last_byte(age(tick()));
        }
        match end {
            Some(end) => log_end(record, &end),
            None => record.log(Level::Warn, "proxying connection", format_args!("{LOST}")),
        }
    }

    async fn read_header(&mut self) -> Result<(), Status> {
        const ACTION: &str = "reading PROXY protocol";
        let limit = self.record.entry.server.session.proxy_protocol_timeout;
        let scratch = &self.record.worker.context.scratch;
        let read = tokio::time::timeout(limit, header(&self.client, scratch, &mut self.early)).await;
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
                // The first line, or what begins version 2: its signature, version and length.
                let mut parts = self.early.split(|byte| matches!(byte, b'\r' | b'\n'));
                let line = parts.next().filter(|line| !line.is_empty());
                let line = line.or(self.early.get(..16)).unwrap_or(&self.early);
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
async fn header(
    client: &Stream,
    scratch: &Scratch,
    bytes: &mut Vec<u8>,
) -> Result<(ProxyHeader, usize), HeaderProblem> {
    loop {
        match parse_proxy_header(bytes) {
            Ok(found) => return Ok(found),
            Err(ProxyProtocolError::Incomplete) if bytes.len() < HEADER_LIMIT => {}
            Err(_) => break,
        }
        match read_some(client, scratch, bytes, HEADER_LIMIT) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|cx| client.poll_read_ready(cx)).await;
            }
            Err(error) => return Err(HeaderProblem::Read(error)),
        }
    }
    Err(HeaderProblem::Broken)
}

/// A side broke its connection. What clients do is worth a line only to who asks for it.
fn log_fault(record: &Record, direction: Direction, error: &io::Error) {
    let (usual, action) = match direction {
        Direction::ToPeer => (Level::Info, "proxying and reading from client"),
        Direction::ToClient => (Level::Error, "proxying and reading from upstream"),
    };
    record.log(level(error, usual), action, format_args!("recv() failed {}", OsError(error)));
}

/// How the relay ended, in nginx's words. A connected session is never an error of the gateway.
fn log_end(record: &Record, end: &End) {
    let (error, usual, action) = match end {
        End::Closed(direction) => return log_closed(record, *direction),
        End::TimedOut => {
            let message = format_args!("connection timed out (110: Connection timed out)");
            return record.log(Level::Info, "proxying connection", message);
        }
        End::Failed(Direction::ToPeer, error) => (error, Level::Error, "proxying and sending to upstream"),
        End::Failed(Direction::ToClient, error) => (error, Level::Info, "proxying and sending to client"),
    };
    record.log(level(error, usual), action, format_args!("send() failed {}", OsError(error)));
}

fn log_closed(record: &Record, direction: Direction) {
    if !record.wants(Level::Info) {
        return;
    }
    let who = match direction {
        Direction::ToPeer => "client",
        Direction::ToClient => "upstream",
    };
    let (received, sent) = record.peer_bytes();
    record.note(format_args!(
        "{who} disconnected, bytes from/to client:{}/{}, bytes from/to upstream:{received}/{sent}",
        record.received, record.sent
    ));
}

fn unspecified(address: &Address) -> bool {
    address.ip().is_some_and(|ip| ip.is_unspecified())
}

fn local(stream: &Stream) -> Option<SocketAddr> {
    stream.local_socket()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]
mod tests;
