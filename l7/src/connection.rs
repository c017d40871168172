//! One client connection: waits for requests, hands each to an exchange.
//!
//! Between requests it owns no buffer and takes the newest generation with the
//! next request, so that a reload closes nothing.

use crate::access_log;
use crate::client::Client;
use crate::exchange::{After, Connection, Exchange};
use crate::h1::{BadRequest, Limits, Progress, Request};
use crate::plan::{Lingering, Location, VirtualServers};
use crate::stats::Doing;
use crate::worker::Worker;
use fairlead_core::clock::tick;
use fairlead_core::log::Level;
use fairlead_core::net::{Address, ListenerKey, ProxyHeader, ProxyProtocolError, Stream, parse_proxy_header};
use fairlead_core::worker::{Current, Ticket};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

/// Serves a connection until either side ends it.
///
/// What an idle connection costs is the size of this future, so all of its state is in one place
/// that the future holds once, and whatever a request needs is in a box that ends with it.
pub(crate) fn serve(
    stream: Stream,
    arrival: Arrival,
    key: Rc<ListenerKey>,
    current: Rc<Current<Worker>>,
    ticket: Ticket,
) -> impl Future<Output = ()> {
    let mut session = Session { client: Client::new(stream, ticket), key, current, requests: 0, early: None };
    // In a box of its own, which is gone when the connection is idle.
    let arrival = Box::new(arrival);
    async move {
        if let Some(mut place) = Box::pin(session.open(*arrival)).await {
            session.run(&mut place).await;
        }
    }
}

/// How a connection came here.
pub(crate) struct Arrival {
    pub peer: Address,
    /// The address it was passed to, when another listener accepted it.
    pub local: Option<Address>,
    /// What that listener read of it.
    pub early: Vec<u8>,
    pub number: u64,
}

struct Session {
    client: Client,
    key: Rc<ListenerKey>,
    current: Rc<Current<Worker>>,
    requests: u64,
    /// What came behind a PROXY header, or with the connection.
    early: Option<Box<Early>>,
}

/// Behind one pointer, since most of the time there is none.
struct Early(Vec<u8>);

/// A keepalive shorter than this is not stretched by waiting warm first.
const SHORTEST_WARM: Duration = Duration::from_secs(5);

/// What serves the connection.
struct Place {
    current: Rc<Current<Worker>>,
    worker: Rc<Worker>,
    servers: Arc<VirtualServers>,
    connection: Rc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.pool.forget(self.connection.number);
    }
}

impl Session {
    async fn open(&mut self, mut arrival: Arrival) -> Option<Place> {
        let worker = self.current.load();
        let local = arrival.local.take().or_else(|| local_address(&self.client, &self.key))?;
        let servers = worker.plan.servers(&self.key, &local)?.clone();
        let (connection, early) = open(&mut self.client, arrival, local, &servers).await?;
        self.early = (!early.is_empty()).then(|| Box::new(Early(early)));
        Some(Place { current: self.current.clone(), worker, servers, connection })
    }

    async fn run(&mut self, place: &mut Place) {
        let mut patience = (place.servers.default.client_header_timeout, Duration::ZERO);
        if self.early.is_none() {
            self.early = self.first_bytes();
        }
        loop {
            if self.early.is_none() && !self.wait(patience).await {
                return;
            }
            self.catch_up(place);
            let talked = Box::pin(place.talk(&mut self.client, &mut self.requests, self.early.take())).await;
            match (talked.after, talked.location) {
                (After::KeepAlive, _) => patience = (talked.keepalive, talked.least),
                (After::Linger, Some(location)) => return Box::pin(linger(&mut self.client, &location)).await,
                (After::Close | After::Linger, _) => return,
            }
        }
    }

    /// What a new connection has sent by now: most bring their request along.
    fn first_bytes(&self) -> Option<Box<Early>> {
        let Client { stream, ticket, .. } = &self.client;
        ticket.scratch().with_read(|buffer| match stream.try_read(buffer) {
            Ok(read @ 1..) => buffer.get(..read).map(|bytes| Box::new(Early(bytes.to_vec()))),
            // Nothing yet, its end or a fault, which the wait for its request finds out.
            _ => None,
        })
    }

    /// What changed since the last request holds for the next one.
    fn catch_up(&self, place: &mut Place) {
        let newest = self.current.load();
        if Rc::ptr_eq(&newest, &place.worker) {
            return;
        }
        // A listener that is gone: its connections stay with the generation that accepted them.
        if let Some(found) = newest.plan.servers(&self.key, &place.connection.local) {
            (place.servers, place.worker) = (found.clone(), newest);
        }
    }

    /// Waits until the client sends something. False when the wait ends the connection.
    ///
    /// A worker that ends closes it, but not before the second of both times.
    fn wait(&mut self, (patience, least): (Duration, Duration)) -> impl Future<Output = bool> {
        self.client.deadline.set(patience);
        let mut kept = (!least.is_zero()).then(|| tick().after(least));
        poll_fn(move |cx| {
            let client = &mut self.client;
            if client.stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready(true);
            }
            if self.requests > 0 && client.ticket.draining() {
                match kept.take().map(|kept| kept.since(tick())).filter(|left| !left.is_zero()) {
                    // No longer than it would have been kept anyway.
                    Some(left) => client.deadline.set(left.min(patience)),
                    None if least.is_zero() => return Poll::Ready(false),
                    None => {}
                }
            }
            if client.deadline.poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            client.ticket.watch(cx.waker());
            Poll::Pending
        })
    }
}

/// The address the client used: the listener's own, unless that is a wildcard.
fn local_address(client: &Client, key: &ListenerKey) -> Option<Address> {
    match &key.address {
        Address::Ip(address) if address.ip().is_unspecified() => client.stream.local_address(),
        address => Some(address.clone()),
    }
}

/// Reads the PROXY header where the listener asks for one; gives the bytes that followed it.
async fn open(
    client: &mut Client,
    arrival: Arrival,
    local: Address,
    servers: &VirtualServers,
) -> Option<(Rc<Connection>, Vec<u8>)> {
    let Arrival { peer, early, number, .. } = arrival;
    if !servers.default.root.tcp_nodelay {
        client.stream.set_nodelay(false);
    }
    let (proxy_header, early) = match servers.proxy_protocol {
        false => (None, early),
        true => match read_proxy_header(client, early, servers).await {
            Some((header, rest)) => (Some(header), rest),
            None => {
                let log = &servers.default.root.error_log;
                log.write(
                    Level::Error,
                    number,
                    format_args!("broken header while reading PROXY protocol, client: {peer}"),
                );
                return None;
            }
        },
    };
    Some((Rc::new(Connection { number, client: peer, local, connected: None, proxy_header, started: tick() }), early))
}

/// Longest PROXY header: version 2 with its TLVs.
const PROXY_HEADER_LIMIT: usize = 4096;

async fn read_proxy_header(
    client: &mut Client,
    mut bytes: Vec<u8>,
    servers: &VirtualServers,
) -> Option<(ProxyHeader, Vec<u8>)> {
    client.deadline.set(servers.default.client_header_timeout);
    loop {
        match parse_proxy_header(&bytes) {
            Ok((header, length)) => return Some((header, bytes.get(length..).unwrap_or_default().to_vec())),
            Err(ProxyProtocolError::Incomplete) if bytes.len() < PROXY_HEADER_LIMIT => {}
            Err(_) => return None,
        }
        let mut part = [0; 512];
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = client.stream.poll_read(cx, &mut part) {
                return Poll::Ready(read.unwrap_or(0));
            }
            client.deadline.poll(cx).map(|_| 0)
        });
        match read.await {
            0 => return None,
            read => bytes.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
}

/// How a run of requests ended.
struct Talked {
    after: After,
    /// How long to wait for the next one.
    keepalive: Duration,
    /// How long it is not closed without need.
    least: Duration,
    /// Says how to linger.
    location: Option<Arc<Location>>,
}

/// Why no request head could be had.
enum NoHead {
    Bad(BadRequest),
    Gone,
    TimedOut,
}

impl Place {
    /// A run of requests: from the first byte until the client has nothing more to say.
    async fn talk(&self, client: &mut Client, requests: &mut u64, early: Option<Box<Early>>) -> Talked {
        let mut memory = self.worker.take_memory();
        memory.request.buffer.extend_from_slice(early.as_deref().map_or(&[][..], |early| &early.0));
        let mut exchange =
            Exchange::new(self.worker.clone(), self.connection.clone(), &self.servers, *requests, memory);
        loop {
            *requests += 1;
            exchange.begin(*requests, &self.connection);
            let after = self.one(client, &mut exchange).await;
            client.counted.now(Doing::Waiting);
            let keepalive = exchange.location.keepalive_timeout;
            exchange.renew();
            let goes_on = after == After::KeepAlive
                && (!exchange.request.buffer.is_empty() || self.stays_warm(client, keepalive, &exchange).await);
            if !goes_on {
                let least = exchange.location.keepalive_min_timeout;
                let location = (after == After::Linger).then(|| exchange.location.clone());
                self.worker.give_back(exchange.into_memory());
                return Talked { after, keepalive, least, location };
            }
        }
    }

    /// Waits a moment for the next request with everything at hand: a busy client is served without
    /// taking and giving back memory each time. False when it does not come at once, or when a new
    /// generation has.
    async fn stays_warm(&self, client: &mut Client, keepalive: Duration, exchange: &Exchange) -> bool {
        if keepalive < SHORTEST_WARM || !exchange.is_small() || !client.ticket.warm_up() {
            return false;
        }
        let round = client.ticket.round();
        let came = poll_fn(|cx| {
            if client.stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready(true);
            }
            if client.ticket.draining() || client.ticket.round() != round {
                return Poll::Ready(false);
            }
            client.ticket.watch_warm(cx.waker());
            Poll::Pending
        });
        let came = came.await;
        client.ticket.cooled();
        came && Rc::ptr_eq(&self.current.load(), &self.worker)
    }

    async fn one(&self, client: &mut Client, exchange: &mut Exchange) -> After {
        client.counted.now(Doing::Reading);
        client.deadline.set(self.servers.default.client_header_timeout);
        let limits = self.servers.default.limits;
        match read_head(client, &mut exchange.request, &limits, &self.worker).await {
            Ok(()) => {
                client.counted.now(Doing::Writing);
                exchange.run(client, &self.servers).await
            }
            Err(NoHead::Bad(bad)) => exchange.run_refused(client, &self.servers, bad).await,
            Err(NoHead::Gone) if exchange.request.buffer.is_empty() => {
                client.counted.none_came();
                After::Close
            }
            Err(NoHead::Gone) => {
                exchange.log(
                    Level::Info,
                    format_args!("client prematurely closed connection while reading client request line"),
                );
                self.abandon(exchange, 400)
            }
            Err(NoHead::TimedOut) => {
                exchange.log(
                    Level::Info,
                    format_args!("client timed out (110: Connection timed out) while reading client request headers"),
                );
                let after = self.abandon(exchange, 408);
                exchange.reset_when_closed(client);
                after
            }
        }
    }

    /// Ends a request that nobody waits for any more: logged, not answered.
    fn abandon(&self, exchange: &mut Exchange, status: u16) -> After {
        exchange.fall_back(&self.servers);
        exchange.status = status;
        exchange.request_length = exchange.request.sound_len();
        access_log::write(exchange);
        After::Close
    }
}

async fn read_head(client: &mut Client, request: &mut Request, limits: &Limits, worker: &Worker) -> Result<(), NoHead> {
    poll_fn(|cx| {
        if !request.buffer.is_empty() && request.parse(limits).map_err(NoHead::Bad)? == Progress::Head {
            return Poll::Ready(Ok(()));
        }
        loop {
            let read = worker.context.scratch.with_read(|buffer| {
                let read = ready!(client.stream.poll_read(cx, buffer)).unwrap_or(0);
                request.buffer.extend_from_slice(buffer.get(..read).unwrap_or_default());
                Poll::Ready(read)
            });
            match read {
                Poll::Ready(0) => return Poll::Ready(Err(NoHead::Gone)),
                Poll::Ready(_) => {}
                Poll::Pending => return client.deadline.poll(cx).map(|_| Err(NoHead::TimedOut)),
            }
            if request.parse(limits).map_err(NoHead::Bad)? == Progress::Head {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

/// Ends our direction and reads what the client still sends, within bounds of time: closing at once
/// would reset the connection and could take our answer with it.
async fn linger(client: &mut Client, location: &Location) {
    if location.lingering == Lingering::Off {
        return;
    }
    client.stream.shutdown_write();
    let end = tick().after(location.lingering_time);
    loop {
        let wait = location.lingering_timeout.min(end.since(tick()));
        if wait.is_zero() {
            return;
        }
        client.deadline.set(wait);
        let read = poll_fn(|cx| {
            let Client { stream, ticket, deadline, .. } = &mut *client;
            if let Poll::Ready(read) = ticket.scratch().with_read(|discarded| stream.poll_read(cx, discarded)) {
                return Poll::Ready(read.unwrap_or(0));
            }
            deadline.poll(cx).map(|_| 0)
        });
        if read.await == 0 {
            return;
        }
    }
}
