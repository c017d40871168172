//! The proxy's order of things: find the peers, take in a small body, try one
//! peer after another, pass the answer on.

use crate::body::{BodyError, Taken};
use crate::client::Client;
use crate::exchange::{Attempt as Record, Ended, Exchange};
use crate::h1::{Known, push_chunk_size};
use crate::proxy::Proxy;
use crate::proxy::attempt::{Attempt, Failure, Started};
use crate::proxy::pick::Picked;
use crate::proxy::pool::PeerConnection;
use crate::proxy::pump::Pump;
use crate::proxy::request::{self, BodyFraming};
use crate::proxy::settings::Local;
use crate::proxy::sticky;
use crate::proxy::target::{self, Destination};
use crate::proxy::transfer::{Cut, Transfer};
use crate::respond;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::Origin;
use fairlead_core::upstream::{Lease, Peer, Tried};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Answers the exchange with what a peer says.
pub(crate) async fn run(client: &mut Client, exchange: &mut Exchange, proxy: &Proxy) -> Ended {
    if exchange.body_is_gone && proxy.pass_request_body && proxy.body.is_none() {
        let message = "the request body was passed on and not kept for another peer (proxy_request_buffering)";
        exchange.log(Level::Error, format_args!("{message}"));
        return Ended::Reply(exchange.refuse(502).into());
    }
    if request::climbs(exchange, proxy) {
        let path = exchange.uri.escape_ascii();
        exchange.log(Level::Error, format_args!("\"{path}\" leads out of the URI of \"proxy_pass\""));
        return Ended::Reply(exchange.refuse(404).into());
    }
    let destination = match target::find(exchange, proxy).await {
        Ok(destination) => destination,
        Err(status) => return Ended::Reply(exchange.refuse(status).into()),
    };
    let none = match proxy.pass_request_body {
        true => exchange.without_body(),
        false => Taken::made(Vec::new(), BodyFraming::None),
    };
    let bodiless = exchange.has_no_body() && exchange.taken.is_none();
    let taken = match bodiless && proxy.body.is_none() {
        true => None,
        false => match Box::pin(take_body(client, exchange, proxy)).await {
            Ok(taken) => Some(taken),
            Err(error) => return body_failed(exchange, error),
        },
    };
    let body = taken.as_deref().unwrap_or(&none);
    let mut initial = std::mem::take(&mut exchange.to_peer);
    initial.clear();
    exchange.peer_body = body.framing;
    let uri = request::push_head(exchange, proxy, destination.uri.as_deref(), body.framing, &mut initial);
    exchange.peer_uri.clear();
    exchange.peer_uri.extend_from_slice(initial.get(uri).unwrap_or_default());
    let head_len = initial.len();
    if body.framing == BodyFraming::Chunked && !body.memory.is_empty() {
        push_chunk_size(body.memory.len(), &mut initial);
    }
    let mut run = Run {
        proxy,
        destination,
        body,
        head_len,
        local: Cell::new(None),
        tried: Tried::default(),
        tries: 0,
        session: None,
        own: Cell::new(false),
        started: tick(),
    };
    let first = exchange.attempts.len();
    if !proxy.bind_dynamic {
        // As nginx: before any peer is picked.
        run.origin(exchange);
    }
    let ended = run.tries(client, exchange, &initial).await;
    if matches!(ended, Ended::Reply(_) | Ended::Elsewhere(_)) {
        // As nginx: whatever the client gets instead, it learns where it was sent.
        let mut cookie = Vec::new();
        sticky::push_cookie(exchange, first, &mut cookie);
        if !cookie.is_empty() {
            exchange.sticky_cookies.push(cookie);
        }
    }
    exchange.to_peer = initial;
    ended
}

pub(super) struct Run<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) destination: Destination,
    body: &'a Taken,
    /// Bytes of the request before its body.
    head_len: usize,
    /// Once it was worked out: what the variables of `proxy_bind` give.
    local: Cell<Option<Option<SocketAddr>>>,
    pub(super) tried: Tried,
    /// Tries so far.
    pub(super) tries: u32,
    /// The route or the session that `sticky` found in the request, once it was looked for.
    pub(super) session: Option<Vec<u8>>,
    /// The client's connection had one to a peer for itself.
    pub(super) own: Cell<bool>,
    pub(super) started: Tick,
}

/// Schemes that authenticate a connection, not a request.
fn asks_for_own(exchange: &Exchange) -> bool {
    let value = exchange.request.known(Known::Authorization).unwrap_or_default();
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}

impl Run<'_> {
    async fn tries(&mut self, client: &mut Client, exchange: &mut Exchange, initial: &[u8]) -> Ended {
        loop {
            let mut lease = match self.pick(client, exchange).await {
                Picked::Peer(lease) => lease,
                Picked::Nobody => return Ended::Reply(exchange.refuse(502).into()),
                Picked::ClientGone => return abandoned(exchange, 499),
            };
            self.tries += 1;
            let remade = self.proxy.request_dynamic.then(|| self.remake(exchange, initial));
            let pump = Pump::new(remade.as_deref().unwrap_or(initial), self.body);
            let may_retry = self.may_go_on();
            let mut attempt = Attempt::new(self.proxy, pump, may_retry);
            let failure = match self.one(client, exchange, &mut lease, &mut attempt).await {
                Ok(Answered::Ended(ended)) => return ended,
                Ok(Answered::Sending(mut transfer)) => {
                    drop(lease);
                    let sent = transfer.finish(client, exchange, self.proxy).await;
                    return sent_all(client, exchange, &mut transfer, sent).await;
                }
                Err(failure) => failure,
            };
            self.close_record(exchange, &attempt, failure);
            exchange.body_is_gone |= attempt.pump.streamed;
            match failure {
                Failure::ClientGone => {
                    self.learn(exchange, &lease.peer, false);
                    lease.succeed(tick());
                    return abandoned(exchange, 499);
                }
                Failure::Body(error) => {
                    lease.succeed(tick());
                    return body_failed(exchange, error);
                }
                Failure::Status(403 | 404) => {}
                Failure::Ours => lease.succeed(tick()),
                _ if lease.fail(tick()) => {
                    let doing = attempt.doing;
                    let message = format_args!("upstream server temporarily disabled while {doing} upstream");
                    exchange.log(Level::Warn, message);
                }
                _ => {}
            }
            if failure == Failure::Timeout {
                let doing = attempt.doing;
                let message = format_args!("upstream timed out (110: Connection timed out) while {doing} upstream");
                exchange.log(Level::Error, message);
            }
            drop(lease);
            // Time may have run out meanwhile; an answer that was given up for the next peer is gone.
            let may_retry = may_retry && (matches!(failure, Failure::Status(_)) || self.may_go_on());
            if !may_retry || !self.wants_next(exchange, failure, &attempt) {
                let status = match failure {
                    Failure::Timeout => 504,
                    Failure::Ours => 500,
                    _ => 502,
                };
                return Ended::Reply(exchange.refuse(status).into());
            }
        }
    }

    /// The answer has come so far: `sticky learn` may look at it.
    fn learn(&self, exchange: &Exchange, peer: &Peer, header: bool) {
        let group = self.destination.group;
        if let Some(sticky) = group.and_then(|group| exchange.worker.plan.sticky.get(group)).and_then(Option::as_ref) {
            let session = self.session.as_deref().unwrap_or_default();
            sticky.learn(exchange, (&self.destination.balancer.group, peer), session, header);
        }
    }

    /// One peer, its kept connection first; a kept connection that turns out closed is no failure.
    async fn one(
        &self,
        client: &mut Client,
        exchange: &mut Exchange,
        lease: &mut Lease,
        attempt: &mut Attempt<'_>,
    ) -> Result<Answered, Failure> {
        if !self.allows(exchange) {
            exchange.log(Level::Error, format_args!("access to upstream denied while connecting to upstream"));
            return Err(Failure::Denied);
        }
        if let Some(mut peer) = self.pooled().and_then(|group| self.idle(exchange, group, &lease.peer)) {
            attempt.reused = true;
            record(exchange, |record| record.connect_time = Some(0));
            match attempt.run(client, exchange, &mut peer).await {
                Err(Failure::Stale) if attempt.may_repeat(exchange) => attempt.restart(),
                Err(Failure::Stale) => return Err(Failure::Error),
                other => return self.answer(client, exchange, lease, attempt, peer, other?).await,
            }
        }
        let origin = self.origin(exchange);
        let mut peer = attempt.connect(client, exchange, (&lease.peer.address, &origin)).await?;
        record(exchange, |record| record.connect_time = Some(millis_since(record.started)));
        lease.connected(since_pick(exchange));
        let started = attempt.run(client, exchange, &mut peer).await?;
        self.answer(client, exchange, lease, attempt, peer, started).await
    }

    #[allow(clippy::too_many_arguments, reason = "the two ends, and what became of the request between them")]
    async fn answer(
        &self,
        client: &mut Client,
        exchange: &mut Exchange,
        lease: &mut Lease,
        attempt: &mut Attempt<'_>,
        mut peer: PeerConnection,
        started: Started,
    ) -> Result<Answered, Failure> {
        lease.succeed(tick());
        lease.first_byte(since_pick(exchange));
        self.learn(exchange, &lease.peer, true);
        let mut transfer = match started {
            Started::Body(transfer) => transfer,
            Started::Instead(ended) => {
                lease.last_byte(since_pick(exchange));
                record(exchange, |record| {
                    record.response_time = Some(millis_since(record.started));
                    record.bytes_sent = attempt.pump.sent;
                });
                exchange.body_is_gone |= attempt.pump.streamed;
                self.learn(exchange, &lease.peer, false);
                return Ok(Answered::Ended(ended));
            }
            Started::Upgrade(early) => {
                let ended = super::upgrade::run(client, exchange, self.proxy, peer, early).await;
                lease.last_byte(since_pick(exchange));
                self.learn(exchange, &lease.peer, false);
                return Ok(Answered::Ended(ended));
            }
        };
        if transfer.chain.is_some() && !Box::pin(transfer.begin(client, exchange)).await {
            return Ok(Answered::Ended(Ended::Broken));
        }
        let mut passed = transfer.run(client, &mut peer, exchange, attempt).await;
        let lost = matches!(passed, Err(Cut::ClientGone | Cut::ClientTimedOut)) && transfer.give_up_client(client);
        if lost {
            let stored = transfer.run(client, &mut peer, exchange, attempt).await;
            passed = stored.and(Err(Cut::ClientGone));
        }
        if let Some(store) = transfer.store.take().filter(|_| transfer.is_read() && (lost || passed.is_ok())) {
            Box::pin(store.finish(exchange)).await;
        }
        peer.long = transfer.is_long();
        self.learn(exchange, &lease.peer, false);
        record(exchange, |record| {
            record.response_time = Some(millis_since(record.started));
            record.bytes_sent = attempt.pump.sent;
            record.response_length = transfer.received;
            record.bytes_received += transfer.later;
        });
        if let Some(surplus) = transfer.surplus {
            exchange.log(Level::Warn, format_args!("upstream sent {surplus} while reading upstream"));
        }
        lease.peer.state.bytes_sent.add(attempt.pump.sent);
        lease.peer.state.bytes_received.add(transfer.received);
        let whole = match passed {
            Ok(reusable) => {
                lease.last_byte(since_pick(exchange));
                reusable
            }
            Err(cut) => return Ok(Answered::Ended(sent_all(client, exchange, &mut transfer, Err(cut)).await)),
        };
        let kept = exchange.response.keepalive && self.proxy.http11 && !self.proxy.says_close;
        let reusable = whole && kept && attempt.is_sent(exchange);
        match self.pooled().filter(|_| reusable) {
            Some(group) if self.has_own(exchange) => {
                exchange.worker.pool.give_own(group, exchange.connection.number, &lease.peer, peer);
            }
            Some(group) => exchange.worker.pool.give(group, (&lease.peer, self.tag()), peer),
            None => {}
        }
        if !transfer.is_out(client) && !client.is_muted() {
            return Ok(Answered::Sending(transfer));
        }
        Ok(Answered::Ended(sent_all(client, exchange, &mut transfer, Ok(())).await))
    }

    /// The whole request once more, with what the variables say of the peer that was picked.
    fn remake(&self, exchange: &Exchange, initial: &[u8]) -> Vec<u8> {
        let mut remade = Vec::with_capacity(initial.len());
        request::push_head(exchange, self.proxy, self.destination.uri.as_deref(), self.body.framing, &mut remade);
        remade.extend_from_slice(initial.get(self.head_len..).unwrap_or_default());
        remade
    }

    /// `proxy_allow_upstream`: whether the peer of the last attempt may be asked.
    fn allows(&self, exchange: &Exchange) -> bool {
        self.proxy.allow.iter().all(|condition| {
            let mut value = Vec::new();
            exchange.render(condition, &mut value);
            !value.is_empty() && value != b"0"
        })
    }

    /// The group whose kept connections this request may use. One that starts where variables say is
    /// for this request alone: it may be another client's address.
    fn pooled(&self) -> Option<usize> {
        let variable = matches!(&self.proxy.bind, Some(bind) if matches!(bind.local, Local::Variable(_)));
        self.destination.group.filter(|_| !variable)
    }

    /// An idle connection to the peer that this request may use.
    fn idle(&self, exchange: &Exchange, group: usize, peer: &Peer) -> Option<PeerConnection> {
        let pool = &exchange.worker.pool;
        if self.own.get() {
            return pool.take_own(group, exchange.connection.number, peer);
        }
        pool.take(group, peer, self.tag())
    }

    /// Names the location among those of the plan.
    fn tag(&self) -> usize {
        std::ptr::from_ref(self.proxy).addr()
    }

    /// `ntlm`: whether the client's connection has one to its peer for itself, from this request on.
    fn has_own(&self, exchange: &Exchange) -> bool {
        self.own.get() || (self.destination.balancer.group.ntlm && asks_for_own(exchange))
    }

    /// Where connections to peers start.
    fn origin(&self, exchange: &Exchange) -> Origin {
        let Some(bind) = &self.proxy.bind else {
            return self.proxy.origin;
        };
        let local = match &bind.local {
            Local::Fixed(address) => Some(*address),
            Local::Variable(_) if !self.proxy.bind_dynamic && self.local.get().is_some() => self.local.get().flatten(),
            Local::Variable(template) => {
                let mut text = Vec::new();
                exchange.render(template, &mut text);
                let address = std::str::from_utf8(&text).ok().and_then(Origin::parse);
                if address.is_none() && !text.is_empty() {
                    exchange.log(Level::Error, format_args!("invalid local address \"{}\"", text.escape_ascii()));
                }
                self.local.set(Some(address));
                address
            }
        };
        Origin { local, transparent: bind.transparent, ..self.proxy.origin }
    }

    /// More peers may be tried after this one.
    fn may_go_on(&self) -> bool {
        let next = &self.proxy.next;
        let peers = u32::try_from(self.destination.balancer.group.usable()).unwrap_or(u32::MAX);
        let tries = if next.tries == 0 { peers } else { next.tries.min(peers) };
        self.tries < tries
    }

    /// `proxy_next_upstream` sends this request to another peer after this failure.
    fn wants_next(&self, exchange: &Exchange, failure: Failure, attempt: &Attempt<'_>) -> bool {
        let next = &self.proxy.next;
        let named = match failure {
            Failure::Error | Failure::Stale => next.error,
            Failure::Timeout => next.timeout,
            Failure::Denied => next.denied,
            Failure::InvalidHeader => next.invalid_header,
            Failure::Status(_) => true,
            Failure::ClientGone | Failure::Body(_) | Failure::Ours => false,
        };
        named && attempt.may_repeat(exchange)
    }

    fn close_record(&self, exchange: &mut Exchange, attempt: &Attempt<'_>, failure: Failure) {
        let said = exchange.response.status;
        record(exchange, |record| {
            record.response_time = Some(millis_since(record.started));
            record.bytes_sent = attempt.pump.sent;
            record.status = match failure {
                Failure::Timeout => 504,
                Failure::Ours => 500,
                Failure::Status(status) => status,
                // What it had said so far.
                Failure::ClientGone | Failure::Body(_) => said,
                _ => 502,
            };
        });
    }
}

/// How far an answer has come when nothing more is to be had of the peer.
enum Answered {
    Ended(Ended),
    /// The client has not taken all of it yet.
    Sending(Box<Transfer>),
}

/// The end of a response that a peer has given.
async fn sent_all(
    client: &mut Client,
    exchange: &mut Exchange,
    transfer: &mut Transfer,
    sent: Result<(), Cut>,
) -> Ended {
    if !transfer.trailers.lines.is_empty() && transfer.to_client.chunked {
        exchange.sent_trailers.get_mut().push(b'\n');
        exchange.sent_trailers.get_mut().extend_from_slice(&transfer.trailers.lines);
    }
    exchange.upstream_trailers = std::mem::take(&mut transfer.trailers.came);
    let filtered = transfer.chain.is_some();
    exchange.completed = sent.is_ok() && (!filtered || Box::pin(transfer.complete(client, exchange)).await);
    exchange.packed = transfer.packed();
    exchange.body_bytes_sent = client.sent.saturating_sub(exchange.sent_head.len() as u64);
    if let Err(cut) = sent {
        log_cut(exchange, &cut);
    }
    if !exchange.completed {
        return Ended::Broken;
    }
    Ended::Sent(respond::settle(client, exchange, transfer.to_client.keep).await)
}

fn record(exchange: &mut Exchange, change: impl FnOnce(&mut Record)) {
    if let Some(record) = exchange.attempts.last_mut() {
        change(record);
    }
}

/// How long ago the peer of the last attempt was picked.
fn since_pick(exchange: &Exchange) -> Duration {
    exchange.attempts.last().map_or(Duration::ZERO, |record| tick().since(record.started))
}

fn millis_since(start: Tick) -> u64 {
    u64::try_from(tick().since(start).as_millis()).unwrap_or(u64::MAX)
}

/// What goes to the peer as the request's body.
async fn take_body(client: &mut Client, exchange: &mut Exchange, proxy: &Proxy) -> Result<Rc<Taken>, BodyError> {
    let passes = proxy.pass_request_body && proxy.body.is_none();
    let streams = passes && !proxy.request_buffering && (proxy.http11 || !exchange.body.is_chunked());
    let taken = match streams {
        true => exchange.take_early(client).await?,
        false => exchange.take_in(client).await?,
    };
    Ok(match &proxy.body {
        None if passes => taken,
        None => Rc::new(Taken::made(Vec::new(), BodyFraming::None)),
        Some(body) => {
            let mut text = Vec::new();
            exchange.render(body, &mut text);
            let length = text.len() as u64;
            Rc::new(Taken::made(text, BodyFraming::Length(length)))
        }
    })
}

/// How a request ends whose body cannot be had.
pub(crate) fn body_failed(exchange: &mut Exchange, error: BodyError) -> Ended {
    match error {
        BodyError::Gone => {
            exchange.log(Level::Info, format_args!("client prematurely closed connection"));
            abandoned(exchange, 400)
        }
        BodyError::TimedOut => {
            exchange.log(
                Level::Info,
                format_args!("client timed out (110: Connection timed out) while reading client request body"),
            );
            abandoned(exchange, 408)
        }
        BodyError::Unwritten => Ended::Reply(exchange.refuse(500).into()),
        BodyError::Broken => {
            exchange.log(Level::Info, format_args!("client sent invalid chunked body"));
            Ended::Reply(exchange.refuse(400).into())
        }
        BodyError::TooLarge => {
            exchange.log(
                Level::Error,
                format_args!("client intended to send too large chunked body: {} bytes", exchange.body_length),
            );
            Ended::Reply(exchange.refuse(413).into())
        }
    }
}

/// Nobody is left to answer: only the log hears of it.
fn abandoned(exchange: &mut Exchange, status: u16) -> Ended {
    exchange.status = status;
    Ended::Broken
}

fn log_cut(exchange: &Exchange, cut: &Cut) {
    match cut {
        Cut::PeerClosed => {
            exchange.log(Level::Error, format_args!("upstream prematurely closed connection while reading upstream"))
        }
        Cut::PeerFailed(error) => {
            exchange.log(Level::Error, format_args!("recv() failed {} while reading upstream", OsError(error)));
        }
        Cut::PeerTimedOut => exchange
            .log(Level::Error, format_args!("upstream timed out (110: Connection timed out) while reading upstream")),
        Cut::PeerBroken => {
            exchange.log(Level::Error, format_args!("upstream sent invalid chunked response while reading upstream"))
        }
        Cut::FileFailed(error) => {
            exchange.log(Level::Crit, format_args!("pread() failed {} while sending to client", OsError(error)));
        }
        Cut::Unfiltered(why) => exchange.log(Level::Error, format_args!("{why} while sending to client")),
        Cut::ClientGone => exchange.log(Level::Info, format_args!("client closed connection while sending to client")),
        Cut::ClientTimedOut => exchange
            .log(Level::Info, format_args!("client timed out (110: Connection timed out) while sending to client")),
    }
}

impl Attempt<'_> {
    /// The peer has all of the request.
    fn is_sent(&self, exchange: &Exchange) -> bool {
        self.pump.is_idle() && exchange.body.is_done()
    }

    /// Once more from the start, on a new connection.
    fn restart(&mut self) {
        self.reused = false;
        self.pump.restart();
    }
}
