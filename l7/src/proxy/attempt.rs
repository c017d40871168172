//! One try at one peer: connect, send the request, read the response's head.
//!
//! Decides nothing about other peers: says what went wrong, the caller chooses.

use crate::body::BodyError;
use crate::client::Client;
use crate::exchange::{Ended, Exchange};
use crate::filter;
use crate::h1::{Framing, Response, Version};
use crate::proxy::pool::PeerConnection;
use crate::proxy::pump::{Pump, PumpError};
use crate::proxy::store::Store;
use crate::proxy::trailers::Trailers;
use crate::proxy::transfer::{Cut, Transfer};
use crate::proxy::{Proxy, accel, hold, instead, response};
use crate::respond;
use crate::throttle::{self, Throttle};
use fairlead_core::clock::tick;
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{Address, NotConnected, Origin, Stream};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

/// So much of what comes is read for the head of a response that is expected to be long.
const HEAD_READ: usize = 4 << 10;

/// Why this peer gave no answer that the client could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Error,
    Timeout,
    /// `proxy_allow_upstream` does not allow it.
    Denied,
    /// Something of ours, which no other peer would mend.
    Ours,
    InvalidHeader,
    /// A status that `proxy_next_upstream` names.
    Status(u16),
    /// A kept connection that the peer had closed in the meantime: not the peer's fault.
    Stale,
    /// The client went away.
    ClientGone,
    Body(BodyError),
}

/// The client's head is on its way.
pub(super) enum Started {
    Body(Box<Transfer>),
    /// 101: both sides now speak another protocol; bytes that came behind the head go first.
    Upgrade(Vec<u8>),
    /// Nothing is: something else becomes of the request.
    Instead(Ended),
}

pub(super) struct Attempt<'a> {
    pub proxy: &'a Proxy,
    pub pump: Pump<'a>,
    /// Another peer may be asked when this one answers with a status `proxy_next_upstream` names.
    pub may_retry: bool,
    /// The request to the peer is a HEAD: its answer has no body.
    head: bool,
    pub reused: bool,
    /// What goes on with the peer, as nginx says it in its log: "upstream" follows.
    pub doing: &'static str,
    watching: bool,
    /// Interim answers so far.
    interim: u32,
    /// The last read took all it was allowed to.
    filled: bool,
    /// Bytes of 103 so far.
    hints: usize,
    /// The answer's head is whole and waits for its body.
    held: bool,
}

/// More than this many are no answer any more: they would keep the worker busy for ever.
const MOST_INTERIM: u32 = 64;

const CONNECTING: &str = "connecting to";
const SENDING: &str = "sending request to";
const READING: &str = "reading response header from";
const READING_BODY: &str = "reading";

impl<'a> Attempt<'a> {
    pub fn new(proxy: &'a Proxy, pump: Pump<'a>, may_retry: bool) -> Attempt<'a> {
        let head = pump.is_head();
        Attempt {
            proxy,
            pump,
            may_retry,
            head,
            reused: false,
            doing: CONNECTING,
            watching: !proxy.ignore_client_abort && proxy.store.is_none(),
            interim: 0,
            filled: false,
            hints: 0,
            held: false,
        }
    }

    pub async fn connect(
        &mut self,
        client: &mut Client,
        exchange: &Exchange,
        (address, origin): (&Address, &Origin),
    ) -> Result<PeerConnection, Failure> {
        self.doing = CONNECTING;
        client.deadline.set(self.proxy.connect_timeout);
        let mut connecting = pin!(Stream::connect_from(address, origin));
        let connected = poll_fn(|cx| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(connected.map_err(Some));
            }
            if self.client_left(cx, client, exchange) {
                return Poll::Ready(Err(None));
            }
            let timed_out =
                || NotConnected { call: "connect()".into(), error: io::ErrorKind::TimedOut.into(), ours: false };
            client.deadline.poll(cx).map(|_| Err(Some(timed_out())))
        });
        match connected.await {
            Ok(stream) => Ok(PeerConnection::new(stream)),
            Err(None) => Err(Failure::ClientGone),
            Err(Some(failed)) if failed.error.kind() == io::ErrorKind::TimedOut => Err(Failure::Timeout),
            Err(Some(failed)) => {
                let level = if failed.is_grave() { Level::Crit } else { Level::Error };
                let NotConnected { call, error, ours } = failed;
                exchange.log(level, format_args!("{call} failed {} while connecting to upstream", OsError(&error)));
                Err(if ours { Failure::Ours } else { Failure::Error })
            }
        }
    }

    /// Sends the request and reads up to the end of the response's head, which it sends on.
    pub async fn run(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        peer: &mut PeerConnection,
    ) -> Result<Started, Failure> {
        exchange.upstream_head.clear();
        exchange.response.status = 0;
        self.doing = SENDING;
        client.deadline.set(self.proxy.send_timeout);
        let mut sent = false;
        poll_fn(|cx| {
            if !sent {
                match self.poll_send(cx, client, exchange, peer) {
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Ready(Ok(())) => {
                        sent = true;
                        client.deadline.set(self.proxy.read_timeout);
                    }
                    Poll::Pending => {}
                }
            }
            loop {
                match self.poll_head(cx, client, exchange, peer) {
                    Poll::Ready(Some(done)) => return Poll::Ready(done),
                    Poll::Ready(None) => {}
                    Poll::Pending => break,
                }
            }
            // While the body streams, reading it shows that the client left.
            if sent && self.client_left(cx, client, exchange) {
                return Poll::Ready(Err(Failure::ClientGone));
            }
            client.deadline.poll(cx).map(|_| Err(self.timed_out(sent)))
        })
        .await
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        peer: &mut PeerConnection,
    ) -> Poll<Result<(), Failure>> {
        let before = self.pump.sent;
        let step = self.pump.poll(cx, client, peer, exchange);
        if self.pump.sent != before {
            client.deadline.set(self.proxy.send_timeout);
        }
        step.map_err(|error| match error {
            PumpError::Client(error) => Failure::Body(error),
            // What it said before it closed may be an answer: reading tells.
            PumpError::Peer(_) if self.reused => Failure::Stale,
            PumpError::Peer(error) => {
                exchange.log(
                    Level::Error,
                    format_args!("writev() failed {} while sending request to upstream", OsError(&error)),
                );
                Failure::Error
            }
        })
    }

    /// Reads once; ready with `None` when more is needed and may be there already.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        peer: &mut PeerConnection,
    ) -> Poll<Option<Result<Started, Failure>>> {
        let worker = exchange.worker.clone();
        worker.context.scratch.with_read(|buffer| {
            // A long body is better left in the socket, from where it goes on uncopied.
            let room = if peer.long { HEAD_READ.min(buffer.len()) } else { buffer.len() };
            let buffer = buffer.get_mut(..room).unwrap_or_default();
            let polled = peer.stream.poll_read(cx, buffer);
            if polled.is_ready() {
                self.doing = READING;
            }
            let read = match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(self.closed(exchange)))),
                Poll::Ready(Ok(read)) => read,
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(self.failed(exchange, &error)))),
            };
            self.filled = read == room;
            if let Some(attempt) = exchange.attempts.last_mut() {
                attempt.bytes_received += read as u64;
            }
            let bytes = buffer.get_mut(..read).unwrap_or_default();
            if exchange.upstream_head.is_empty() {
                return Poll::Ready(self.take_head(cx, client, exchange, bytes));
            }
            // The head came in pieces: the pieces are put together first.
            let mut all = std::mem::take(&mut exchange.upstream_head);
            all.extend_from_slice(bytes);
            Poll::Ready(self.take_head(cx, client, exchange, &mut all))
        })
    }

    fn take_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        mut bytes: &mut [u8],
    ) -> Option<Result<Started, Failure>> {
        // A loop, however many interim answers there are: they are as many as the peer likes.
        loop {
            let whole = match self.parse_head(exchange, bytes) {
                Ok(whole) => whole,
                Err(failure) => return Some(Err(failure)),
            };
            if !whole {
                exchange.upstream_head.extend_from_slice(bytes);
                return None;
            }
            let Response { status, head_len, .. } = exchange.response;
            let (head, rest) = bytes.split_at_mut_checked(head_len).unwrap_or_default();
            if !(100..200).contains(&status) || status == 101 {
                if rest.is_empty() && hold::waits_for_body(exchange, self) {
                    self.hold(client, exchange, head);
                    return None;
                }
                return Some(self.begin(cx, client, exchange, head, rest));
            }
            // But for hints they are not passed on.
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                let message = "upstream sent too many interim responses while reading response header from upstream";
                exchange.log(Level::Error, format_args!("{message}"));
                return Some(Err(Failure::InvalidHeader));
            }
            if status == 103 && self.pass_hints(cx, client, exchange, head).is_err() {
                return Some(Err(Failure::ClientGone));
            }
            if rest.is_empty() {
                return None;
            }
            bytes = rest;
        }
    }

    /// Whether a head that may be passed on is whole.
    fn parse_head(&self, exchange: &mut Exchange, bytes: &[u8]) -> Result<bool, Failure> {
        let parsed = exchange.response.parse(bytes, self.head);
        if parsed == Ok(true) && !self.held {
            tell_duplicates(exchange, bytes);
        }
        let tell = |why: &dyn std::fmt::Display| {
            exchange.log(Level::Error, format_args!("{why} while reading response header from upstream"));
        };
        match parsed {
            Ok(true) if exchange.response.head_len <= self.proxy.buffer_size => return Ok(true),
            Ok(false) if bytes.len() < self.proxy.buffer_size => return Ok(false),
            Ok(_) => tell(&"upstream sent too big header"),
            Err(bad) => tell(&bad.0),
        }
        Err(Failure::InvalidHeader)
    }

    /// `early_hints`: a client of HTTP/1.1 gets them as they come, up to `proxy_buffer_size` of them.
    fn pass_hints(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &Exchange,
        head: &[u8],
    ) -> io::Result<()> {
        self.hints = self.hints.saturating_add(head.len());
        if self.hints > self.proxy.buffer_size {
            exchange.log(Level::Info, format_args!("upstream sent too big early hints"));
            return Ok(());
        }
        if exchange.is_subrequest() || exchange.request.version < Version::Http11 || !exchange.takes_hints() {
            return Ok(());
        }
        let mut out = Vec::new();
        response::push_early_hints(exchange, self.proxy, head, &mut out);
        client.send(cx, [&out, b"", b"", b""])?;
        // Only the final response is counted.
        client.sent = 0;
        Ok(())
    }

    /// Keeps the head until a byte of the body comes.
    fn hold(&mut self, client: &mut Client, exchange: &mut Exchange, head: &[u8]) {
        self.held = true;
        note_head(exchange);
        exchange.upstream_head.clear();
        exchange.upstream_head.extend_from_slice(head);
        client.deadline.set(self.proxy.read_timeout);
    }

    /// The head is whole: it goes to the client with the body bytes that came along.
    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        head: &[u8],
        rest: &mut [u8],
    ) -> Result<Started, Failure> {
        let status = exchange.response.status;
        note_head(exchange);
        if self.may_retry && self.proxy.next.status(status) && self.may_repeat(exchange) {
            return Err(Failure::Status(status));
        }
        if status == 101 && !exchange.request.upgrade {
            exchange.log(
                Level::Error,
                format_args!(
                    "upstream sent 101 response while not upgrading, while reading response header from upstream"
                ),
            );
            return Err(Failure::InvalidHeader);
        }
        exchange.upstream_head.clear();
        exchange.upstream_head.extend_from_slice(head);
        accel::heed(exchange, self.proxy, head);
        if let Some(ended) = instead::instead(exchange, self.proxy, head) {
            return Ok(Started::Instead(ended));
        }
        exchange.status = exchange.answer_status.unwrap_or(status);
        let mut to_client = response::to_client(exchange);
        let mut out = std::mem::take(&mut exchange.sent_head);
        out.clear();
        response::push_head(exchange, self.proxy, head, &to_client, &mut out);
        exchange.sent_head = out;
        if filter::enter_slices(exchange).is_err() {
            return Ok(Started::Instead(Ended::Broken));
        }
        let muted = client.is_muted();
        let ranges = self.proxy.force_ranges && !muted && exchange.slices.get_mut().is_none();
        if self.proxy.force_ranges {
            filter::forget_ranges(exchange);
        }
        let chain = if muted { None } else { filter::apply(exchange, false, &mut to_client.keep) };
        let arranged = match ranges {
            true => filter::arrange_range(exchange, chain),
            false => filter::arrange_slices(exchange, chain),
        };
        let chain = match arranged {
            Ok(chain) => chain,
            Err(filter::OutOfRange(whole)) => {
                let mut reply = exchange.refuse(416);
                if ranges {
                    reply.headers = response::fields_without_body(exchange, self.proxy, head);
                }
                reply.headers.push(("Content-Range".into(), format!("bytes */{whole}").into_bytes()));
                return Ok(Started::Instead(Ended::Reply(reply.into())));
            }
        };
        throttle::begin(client, exchange);
        let mut out = std::mem::take(&mut exchange.sent_head);
        let head_len = out.len();
        client.leave_out(head_len);
        let mut framing = exchange.response.framing;
        if to_client.bodiless && framing != Framing::None {
            // Nobody wants it: what comes of it goes down with the connection.
            (framing, exchange.response.keepalive) = (Framing::None, false);
        }
        let mut transfer = Box::new(Transfer::new(framing, to_client, chain));
        transfer.limit = self.limit(exchange);
        transfer.store = Store::begin(exchange, self.proxy);
        transfer.last = respond::last_push(exchange, to_client.keep);
        transfer.is_at_hand = self.filled && exchange.server.root.tcp_nodelay;
        transfer.trailers = Trailers::new(self.proxy);
        let started = self.send_head(cx, client, exchange, &out, rest, transfer);
        out.truncate(head_len);
        exchange.sent_head = out;
        started
    }

    /// `proxy_limit_rate`
    fn limit(&self, exchange: &Exchange) -> Option<Box<Throttle>> {
        let buffers = exchange.buffering.unwrap_or(self.proxy.buffering);
        let rate = if buffers { self.proxy.limit_rate.of(exchange) } else { 0 };
        (rate > 0).then(|| Box::new(Throttle::new(rate, 0, tick())))
    }

    fn send_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        out: &[u8],
        rest: &mut [u8],
        mut transfer: Box<Transfer>,
    ) -> Result<Started, Failure> {
        if exchange.response.status == 101 {
            client.send(cx, [out, b"", b"", b""]).map_err(|_| Failure::ClientGone)?;
            return Ok(Started::Upgrade(rest.to_vec()));
        }
        let extra = transfer.pass(cx, client, out, rest).map_err(|cut| match cut {
            Cut::PeerBroken => {
                exchange
                    .log(Level::Error, format_args!("upstream sent invalid chunked response while reading upstream"));
                Failure::InvalidHeader
            }
            _ => Failure::ClientGone,
        })?;
        exchange.response.keepalive &= !extra;
        Ok(Started::Body(transfer))
    }

    /// Looks once in a while whether the client has gone, unless it has sent more already.
    fn client_left(&mut self, cx: &mut Context<'_>, client: &mut Client, exchange: &Exchange) -> bool {
        if !self.watching || !client.may_leave() || client.stream.poll_read_ready_soon(cx).is_pending() {
            return false;
        }
        if client.stream.is_ended() {
            let doing = self.doing;
            let message =
                "epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too";
            exchange.log(Level::Info, format_args!("{message} while {doing} upstream"));
            return true;
        }
        self.watching = false;
        false
    }

    fn reading(&self) -> &'static str {
        if self.held { READING_BODY } else { READING }
    }

    fn closed(&self, exchange: &Exchange) -> Failure {
        if self.reused && exchange.upstream_head.is_empty() {
            return Failure::Stale;
        }
        exchange.log(
            Level::Error,
            format_args!("upstream prematurely closed connection while {} upstream", self.reading()),
        );
        Failure::Error
    }

    fn failed(&self, exchange: &Exchange, error: &io::Error) -> Failure {
        if self.reused && exchange.upstream_head.is_empty() {
            return Failure::Stale;
        }
        exchange.log(Level::Error, format_args!("recv() failed {} while {} upstream", OsError(error), self.reading()));
        Failure::Error
    }

    /// Whether sending the request once more is safe, possible and in time.
    pub fn may_repeat(&self, exchange: &Exchange) -> bool {
        let idempotent = !matches!(exchange.request.method_bytes(), b"POST" | b"LOCK" | b"PATCH");
        let safe = idempotent || self.pump.sent == 0 || self.proxy.next.non_idempotent;
        let in_time = || {
            let first = exchange.attempts.iter().rposition(|attempt| attempt.anew).unwrap_or(0);
            let started = exchange.attempts.get(first).map(|attempt| attempt.started);
            started.is_some_and(|started| tick().since(started) < self.proxy.next.time)
        };
        !self.pump.streamed && safe && (self.proxy.next.time.is_zero() || in_time())
    }

    /// The caller tells the log, once the peer has been judged.
    fn timed_out(&mut self, sent: bool) -> Failure {
        if !sent && self.pump.is_idle() {
            return Failure::Body(BodyError::TimedOut);
        }
        if sent {
            self.doing = self.reading();
        }
        Failure::Timeout
    }
}

/// What the log says of an answer once its head is whole.
fn note_head(exchange: &mut Exchange) {
    let status = exchange.response.status;
    if let Some(attempt) = exchange.attempts.last_mut() {
        let time = u64::try_from(tick().since(attempt.started).as_millis()).unwrap_or(0);
        attempt.status = status;
        attempt.header_time.get_or_insert(time);
    }
}

fn tell_duplicates(exchange: &Exchange, head: &[u8]) {
    for (again, first) in &exchange.response.duplicates {
        let (again, first) = (again.shown(head), first.shown(head));
        let message =
            format_args!("upstream sent duplicate header line: \"{again}\", previous value: \"{first}\", ignored");
        exchange.log(Level::Warn, format_args!("{message} while {READING} upstream"));
    }
}
