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
use fairlead_core::net::{Address, ListenerKey, ProxyHeader, ProxyProtocolError, Stream, parse_proxy_header, spawn};
use fairlead_core::worker::{Current, Ticket};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

/// Serves a connection until either side ends it.
///
/// What an idle connection costs is the size of the future that is spawned here, so all of its state is
/// in one place that the future holds once, and whatever a request needs is in a box that ends with it.
pub(crate) fn serve(
    stream: Stream,
    arrival: Arrival,
    key: Rc<ListenerKey>,
    current: Rc<Current<Worker>>,
    ticket: Ticket,
) {
    let Arrival { peer, local, early, number } = arrival;
    let client = Client::new(stream, ticket);
    let worker = current.load();
    let Some(local) = local.or_else(|| local_address(&client, &key)) else { return };
    let Some(servers) = worker.plan.servers(&key, &local).cloned() else { return };
    if !servers.default.root.tcp_nodelay {
        client.stream.set_nodelay(false);
    }
    let connection = Connection { number, client: peer, local, connected: None, proxy_header: None, started: tick() };
    let session = Session { client, key, current, requests: 0, early: Early::of(early) };
    if servers.proxy_protocol {
        return spawn(session.behind_proxy(worker, servers, connection));
    }
    let place = Place { current: session.current.clone(), worker, servers, connection: Rc::new(connection) };
    spawn(session.run(place));
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

impl Early {
    fn of(bytes: Vec<u8>) -> Option<Box<Early>> {
        (!bytes.is_empty()).then(|| Box::new(Early(bytes)))
    }
}

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
    /// Reads the PROXY header first.
    async fn behind_proxy(mut self, worker: Rc<Worker>, servers: Arc<VirtualServers>, mut connection: Connection) {
        let early = self.early.take().map(|early| early.0).unwrap_or_default();
        let read = Box::pin(read_proxy_header(&mut self.client, early, &servers)).await;
        let Some((header, rest)) = read else {
            let message = format_args!("broken header while reading PROXY protocol, client: {}", connection.client);
            servers.default.root.error_log.write(Level::Error, connection.number, message);
            return;
        };
        connection.proxy_header = Some(header);
        self.early = Early::of(rest);
        let place = Place { current: self.current.clone(), worker, servers, connection: Rc::new(connection) };
        self.run(place).await;
    }

    fn run(mut self, mut place: Place) -> impl Future<Output = ()> {
        // Most new connections bring their request along: that is found out by reading it.
        let mut is_new = true;
        let mut patience = (place.servers.default.client_header_timeout, Duration::ZERO);
        // Not an async function, whose future would hold its arguments twice.
        async move {
            loop {
                if !is_new && self.early.is_none() && !self.wait(patience).await {
                    return;
                }
                self.catch_up(&mut place);
                let early = (self.early.take(), std::mem::take(&mut is_new));
                let talked = Box::pin(place.talk(&mut self.client, &mut self.requests, early)).await;
                match (talked.after, talked.location) {
                    (After::KeepAlive, _) => patience = (talked.keepalive, talked.least),
                    (After::Linger, Some(location)) => return Box::pin(linger(&mut self.client, &location)).await,
                    (After::Close | After::Linger, _) => return,
                }
            }
        }
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

/// Longest PROXY header: version 2 with its TLVs.
const PROXY_HEADER_LIMIT: usize = 4096;

/// Gives the bytes that followed it, too.
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
    async fn talk(
        &self,
        client: &mut Client,
        requests: &mut u64,
        (early, is_new): (Option<Box<Early>>, bool),
    ) -> Talked {
        let mut memory = self.worker.take_memory();
        if let Some(early) = early {
            memory.request.buffer.extend_from_slice(&early.0);
        } else if is_new && !first_bytes(client, &mut memory.request.buffer) {
            self.worker.give_back(memory);
            let keepalive = self.servers.default.client_header_timeout;
            return Talked { after: After::KeepAlive, keepalive, least: Duration::ZERO, location: None };
        }
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

/// What a new connection has sent by now. False when that is nothing yet, its end or a fault, which the wait
/// for its request finds out.
fn first_bytes(client: &Client, bytes: &mut Vec<u8>) -> bool {
    let Client { stream, ticket, .. } = client;
    ticket.scratch().with_read(|buffer| match stream.try_read(buffer) {
        Ok(read @ 1..) => {
            bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
            true
        }
        _ => false,
    })
}

async fn read_head(client: &mut Client, request: &mut Request, limits: &Limits, worker: &Worker) -> Result<(), NoHead> {
    poll_fn(|cx| {
        if !request.buffer.is_empty() {
            if request.parse(limits).map_err(NoHead::Bad)? == Progress::Head {
                return Poll::Ready(Ok(()));
            }
            client.stream.acknowledge();
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
            client.stream.acknowledge();
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
