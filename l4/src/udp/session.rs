//! One UDP session: its peer, what is known of it, and its end.

use crate::bind;
use crate::outcomes::Status;
use crate::plan::Server;
use crate::proxy::HeaderVersion;
use crate::record::{Record, level};
use crate::session_drop::LOST;
use crate::target::{CONNECTING, Candidates, Pick};
use crate::udp::flows::{Flow, Limits};
use crate::udp::links::{Failure, Link, Links};
use crate::udp::pace::Pace;
use fairlead_core::clock::Tick;
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{write_proxy_v1, write_proxy_v2};
use fairlead_core::worker::Ticket;
use socket2::Socket;
use std::io::{self, IoSlice};
use std::time::Duration;

pub(crate) struct Session {
    pub record: Record,
    pub link: Link,
    pub segments: Segments,
    /// What `proxy_upload_rate` and `proxy_download_rate` say, if they say anything.
    pace: Option<Box<Pace>>,
    pick: Pick,
    /// What had happened in the peer's group when it was last looked at.
    changes: u64,
    _ticket: Ticket,
}

/// Longest datagrams that go along with others in one message; 0: each goes alone.
#[derive(Clone, Copy, Default)]
pub(crate) struct Segments {
    pub to_peer: usize,
    pub to_client: usize,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every reply that was expected came.
    Done,
    /// Nothing moved for `proxy_timeout`.
    Silent,
    /// The peer's host says that nobody is there, or sending to it is impossible.
    Unreachable,
    /// The peer is gone, and the client goes on with another.
    Moved,
    /// The peer is gone, and `proxy_session_drop` lets it say no more.
    Dropped,
    /// It made room for another.
    Evicted,
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
    pub fn open(
        mut record: Record,
        mut candidates: Candidates,
        ticket: Ticket,
        (links, now): (&mut Links, Tick),
    ) -> Option<Session> {
        match connect(&mut record, &mut candidates, links, now) {
            Ok((link, pick)) => {
                let pace = Pace::of(&record, now);
                let segments = Segments::default();
                Some(Session { record, link, segments, pace, pick, changes: u64::MAX, _ticket: ticket })
            }
            Err(status) => {
                record.finish(status, now);
                None
            }
        }
    }

    /// The peer left its group, is known to be ill, or failed while others have not.
    pub fn has_lost_its_peer(&mut self, now: Tick) -> bool {
        let Pick::Lease(lease) = &self.pick else { return false };
        let changes = lease.peer.state.changes();
        if std::mem::replace(&mut self.changes, changes) == changes {
            return false;
        }
        lease.peer.is_lost() || (lease.peer.has_failed(now) && lease.has_alternative(now))
    }

    /// What the peer says does not count any more: `proxy_session_drop`, and it is lost.
    pub fn is_dropped(&self) -> bool {
        match &self.pick {
            Pick::Lease(lease) => self.record.entry.server.proxy.session_drop && lease.peer.is_lost(),
            Pick::Address(_) => false,
        }
    }

    /// Each datagram of the client has to be judged alone.
    pub fn is_judged(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.upload.is_some())
    }

    /// Whether a datagram of the client may pass, as far as `proxy_upload_rate` goes.
    pub fn lets_pass(&mut self, bytes: usize, now: Tick) -> bool {
        let upload = self.pace.as_mut().and_then(|pace| pace.upload.as_mut());
        upload.is_none_or(|upload| upload.lets_pass(bytes, now))
    }

    /// How many datagrams may be read from the peer at once, `most` at most.
    ///
    /// # Errors
    /// None yet because of `proxy_download_rate`: when to come back.
    pub fn appetite(&mut self, most: usize, now: Tick) -> Result<usize, Tick> {
        let download = self.pace.as_mut().and_then(|pace| pace.download.as_mut());
        download.map_or(Ok(most), |download| download.appetite(most, now))
    }

    /// Datagrams of these lengths were read from the peer.
    pub fn read(&mut self, lengths: impl Iterator<Item = usize>, now: Tick) {
        if let Some(download) = self.pace.as_mut().and_then(|pace| pace.download.as_mut()) {
            download.took(lengths.sum::<usize>() as u64, now);
        }
    }

    /// When neither direction rests for its rate any more.
    pub fn rested(&self) -> Option<Tick> {
        self.pace.as_ref().map(|pace| pace.rested())
    }

    /// Sends one datagram to the peer; the first of a session carries our PROXY header.
    ///
    /// # Errors
    /// Those of `send`, among them what ICMP said about the peer.
    pub fn send(&mut self, socket: &Socket, bytes: &[u8], first: bool) -> io::Result<()> {
        let version = self.record.entry.server.proxy.header.filter(|_| first);
        let sent = match version {
            None => socket.send(bytes)?,
            Some(version) => {
                let header = self.header(version);
                socket.send_vectored(&[IoSlice::new(&header), IoSlice::new(bytes)])?
            }
        };
        self.sent(bytes.len(), sent);
        Ok(())
    }

    /// So many bytes came from the client, and so many went to the peer.
    pub fn sent(&mut self, received: usize, sent: usize) {
        self.record.received += received as u64;
        if let Some(attempt) = self.record.current() {
            attempt.sent += sent as u64;
        }
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

    /// Bytes came from the peer.
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
        End::Done | End::Shutdown | End::Moved => Status::Ok,
        End::Dropped => {
            session.record.log(Level::Warn, "proxying connection", format_args!("{LOST}"));
            Status::Ok
        }
        End::Silent if unanswered => {
            let message = format_args!("upstream timed out (110: Connection timed out)");
            session.record.log(Level::Error, "proxying connection", message);
            Status::BadGateway
        }
        End::Evicted if responses == 0 => Status::Unavailable,
        End::Silent | End::Evicted => Status::Ok,
        End::Unreachable => Status::BadGateway,
    };
    match end {
        // It is not the peer's fault, and says nothing good of it.
        End::Moved | End::Dropped | End::Evicted => {}
        _ if status == Status::BadGateway => session.pick.fail(&session.record, now),
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
        End::Moved => "udp moved to another peer",
        End::Evicted => "udp made room for another session",
        End::Shutdown => "disconnected on shutdown",
        End::Silent | End::Unreachable | End::Dropped => "",
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

/// nginx's line about it, for who asks for such lines.
fn note_connected(record: &Record, socket: Option<&Socket>) {
    if !record.wants(Level::Info) {
        return;
    }
    let local = socket.and_then(|socket| socket.local_addr().ok()).and_then(|local| local.as_socket());
    if let (Some(local), Some(attempt)) = (local, record.attempts.last()) {
        record.note(format_args!("udp proxy {local} connected to {}", attempt.peer.as_str()));
    }
}

fn connect(
    record: &mut Record,
    candidates: &mut Candidates,
    links: &mut Links,
    now: Tick,
) -> Result<(Link, Pick), Status> {
    let entry = record.entry.clone();
    let mut local = bind::local(record, now);
    loop {
        let mut pick = candidates.pick(record, now)?;
        record.attempt(pick.name(), now);
        bind::renew(&mut local, record, now);
        match links.open(pick.address(), &entry.server, local, now) {
            Ok(link) => {
                if let Some(attempt) = record.current() {
                    attempt.connect = Some(Duration::ZERO);
                }
                pick.connected(Duration::ZERO);
                note_connected(record, links.socket(link));
                return Ok((link, pick));
            }
            Err(Failure::Local(call, error)) => {
                if links.may_complain(&error, now) {
                    record.log(Level::Crit, CONNECTING, format_args!("{call} failed {}", OsError(&error)));
                }
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
