//! The UDP side of one listener and worker: takes datagrams in batches, finds
//! or begins their sessions, carries replies back, ends what is over.
//!
//! The table belongs to the socket, so a reload does not touch it; each session
//! holds the generation it began with. No task and no timer per session, and
//! nothing allocated per datagram.

mod batch;
mod flows;
mod readiness;
mod session;
mod waiting;
mod wheel;

use crate::outcomes::Status;
use crate::plan::Content;
use crate::record::Record;
use crate::target::{self, Located};
use crate::variables::Variable;
use crate::worker::{Entry, Worker};
use crate::{pass, phases, returns};
use batch::{BATCH, Batch, Datagram, Source};
use fairlead_conf::Template;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{ErrorLog, Level, OsError};
use fairlead_core::net::ListenerKey;
use fairlead_core::worker::{Current, next_connection_number};
use flows::{Flows, Id, Key, Verdict};
use readiness::{Readiness, Ready};
use session::{End, Session};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep};
use waiting::Waiting;

/// Sessions of one listener on one worker; `worker_connections` is the bound meant to be reached first.
const MAX_SESSIONS: usize = 1 << 20;

/// Batches of clients and of peers before the worker's other tasks get their turn.
const ROUNDS: usize = 4;

/// How long replies that are still expected are waited for once the listener is gone: nothing
/// else can come to its address until the socket is closed.
const GRACE: Duration = Duration::from_secs(5);

thread_local! {
    static BUFFER: RefCell<Batch> = RefCell::new(Batch::new());
}

/// Whether the listener is still wanted: shared by `serve`, whose drop closes it, and the engine.
#[derive(Default)]
struct Gate {
    closed: Cell<bool>,
    /// The engine's task, which has one waker all its life.
    waker: OnceCell<Waker>,
}

struct Opener(Rc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.closed.set(true);
        if let Some(waker) = self.0.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// Serves until dropped; replies still expected then are carried for a moment more.
pub(crate) async fn serve(socket: OwnedFd, key: ListenerKey, current: Rc<Current<Worker>>) {
    let gate = Rc::new(Gate::default());
    let _opener = Opener(gate.clone());
    match Engine::new(socket, key.clone(), current.clone()) {
        Ok(mut engine) => {
            let engine = async move { poll_fn(|cx| engine.poll(cx, &gate)).await };
            // A task of its own, so that it can outlive this future.
            let _ = tokio::task::spawn_local(engine).await;
        }
        Err(error) => {
            let entry = current.load().entry(&key);
            let none = ErrorLog::default();
            let log = entry.as_ref().map_or(&none, |entry| &entry.server.error_log);
            log.write(Level::Alert, 0, format_args!("epoll_create1() failed {}", OsError(&error)));
        }
    }
}

struct Engine {
    socket: UdpSocket,
    source: Source,
    key: ListenerKey,
    current: Rc<Current<Worker>>,
    flows: Flows<Session>,
    peers: Readiness,
    ready: Vec<Ready>,
    waiting: Waiting,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires; `None` while it is not set.
    armed: Option<Tick>,
    /// When the listener was dropped.
    closed: Option<Tick>,
    /// The last second in which a full table was complained about.
    complained: Option<u64>,
}

impl Engine {
    fn new(socket: OwnedFd, key: ListenerKey, current: Rc<Current<Worker>>) -> io::Result<Engine> {
        let wildcard = key.address.ip().is_some_and(|ip| ip.is_unspecified());
        if wildcard {
            batch::ask_destination(socket.as_fd(), &key.address)?;
        }
        Ok(Engine {
            socket: UdpSocket::from_std(socket.into())?,
            source: Source::Clients { wildcard },
            key,
            current,
            flows: Flows::new(MAX_SESSIONS, tick()),
            peers: Readiness::new()?,
            ready: Vec::new(),
            waiting: Waiting::default(),
            timer: None,
            armed: None,
            closed: None,
            complained: None,
        })
    }

    /// Ready when the listener was dropped and nothing is left to carry.
    fn poll(&mut self, cx: &mut Context<'_>, gate: &Gate) -> Poll<()> {
        let now = tick();
        gate.waker.get_or_init(|| cx.waker().clone());
        if gate.closed.get() && self.closed.is_none() {
            self.close(now);
        }
        self.waiting.watch(cx.waker());
        let more = BUFFER.with_borrow_mut(|batch| self.turn(cx, batch, now));
        if more {
            cx.waker().wake_by_ref();
        }
        self.expire(now);
        match self.closed {
            Some(_) if self.flows.len() == 0 && self.waiting.is_empty() => Poll::Ready(()),
            Some(at) if now.since(at) >= GRACE => {
                self.end_all(now, |_| true);
                Poll::Ready(())
            }
            _ => {
                self.arm(cx, now);
                Poll::Pending
            }
        }
    }

    /// Moves what can be moved; true when there may be more.
    fn turn(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Tick) -> bool {
        self.begin_resolved(now);
        for _ in 0..ROUNDS {
            let clients = self.closed.is_none() && self.poll_clients(cx, batch, now).is_ready();
            let peers = self.poll_peers(cx, batch, now).is_ready();
            if !clients && !peers {
                return false;
            }
        }
        true
    }

    fn poll_clients(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Tick) -> Poll<()> {
        if ready!(self.socket.poll_recv_ready(cx)).is_err() {
            return Poll::Pending;
        }
        let mut taken = 0;
        let received = self.socket.try_io(Interest::READABLE, || {
            taken = batch.receive(self.socket.as_fd(), self.source, BATCH)?;
            // A batch that is not full has drained the socket: the next one needs a new event.
            if taken < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        for datagram in (0..taken).filter_map(|index| batch.datagram(index)) {
            self.take_request(&datagram, now);
        }
        if let Some(error) = received.err().filter(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.log(Level::Alert, format_args!("recvmsg() failed {}", OsError(&error)));
        }
        Poll::Ready(())
    }

    fn take_request(&mut self, datagram: &Datagram<'_>, now: Tick) {
        let Some(client) = datagram.client else { return };
        let key = Key { client, local: datagram.local };
        if let Some(id) = self.flows.find(&key)
            && self.forward(id, datagram.bytes, now)
        {
            return;
        }
        // No session, or one whose peer turned out to be gone: then this datagram goes to another.
        if !self.waiting.add(&key, datagram.bytes) {
            self.begin(key, datagram.bytes, now);
        }
    }

    /// Sends a datagram to a session's peer. False when the peer turned out to be gone, which ends
    /// the session.
    fn forward(&mut self, id: Id, bytes: &[u8], now: Tick) -> bool {
        let Some(flow) = self.flows.flow(id) else { return false };
        let first = flow.requests == 0;
        match flow.session.send(bytes, first) {
            Ok(()) => {
                if self.flows.request(id, now) == Verdict::Done {
                    self.end(id, End::Done, now);
                }
                true
            }
            Err(error) => match error.raw_os_error() {
                // As on any full queue of the network, a datagram is lost; the session is fine.
                Some(libc::EAGAIN | libc::ENOBUFS) => true,
                Some(libc::EMSGSIZE) => {
                    flow.session.peer_failed("send()", &error);
                    true
                }
                _ => {
                    flow.session.peer_failed("send()", &error);
                    self.end(id, End::Unreachable, now);
                    first
                }
            },
        }
    }

    /// A datagram that no session takes begins one.
    fn begin(&mut self, key: Key, bytes: &[u8], now: Tick) {
        let worker = self.current.load();
        // A listener that the newest generation does not have is about to be dropped.
        let Some(entry) = worker.entry(&self.key) else { return };
        let Some(ticket) = worker.context.admit().filter(|_| self.flows.has_room()) else {
            return self.overflow(&worker, &entry);
        };
        let mut record = Record::new(next_connection_number(), worker, entry, now);
        record.client = Some(key.client);
        record.local = key.local.zip(self.key.address.port()).map(Into::into);
        if record.wants(Level::Info) {
            record.note(format_args!("udp client {} connected to {}", key.client, record.entry.name));
        }
        if let Err(status) = phases::enter(&mut record) {
            return record.finish(status, now);
        }
        let entry = record.entry.clone();
        let target = match &entry.server.content {
            Content::Proxy(target) => target,
            Content::Return(text) => return self.answer(text, &key, bytes, record),
            Content::Pass(_) => {
                record.log(Level::Error, pass::ACTION, format_args!("cannot pass udp connection"));
                return record.finish(Status::InternalError, now);
            }
        };
        match target::locate(target, &mut record, now) {
            Ok(Located::Peers(candidates)) => {
                if let Some(session) = Session::open(record, candidates, ticket, now) {
                    self.start(key, session, &[bytes], now);
                }
            }
            Ok(Located::Name { host, port }) => self.waiting.resolve(key, record, ticket, (host, port), bytes),
            Err(status) => record.finish(status, now),
        }
    }

    /// `return`: the session is this one exchange.
    fn answer(&self, text: &Template<Variable>, key: &Key, bytes: &[u8], mut record: Record) {
        let (mut answer, now) = (Vec::new(), tick());
        record.received += bytes.len() as u64;
        record.render(text, now, &mut answer);
        let sent = match answer.is_empty() {
            true => Ok(0),
            false => batch::reply(self.socket.as_fd(), &answer, key.client, key.local),
        };
        let status = match sent {
            Ok(sent) => {
                record.sent += sent as u64;
                Status::Ok
            }
            Err(error) if returns::is_lost(&error) => Status::Ok,
            Err(error) => {
                record.log(Level::Alert, returns::ACTION, format_args!("sendmsg() failed {}", OsError(&error)));
                Status::InternalError
            }
        };
        record.finish(status, now);
    }

    /// Sessions whose peer's name has been resolved.
    fn begin_resolved(&mut self, now: Tick) {
        while let Some((answer, datagrams)) = self.waiting.resolved() {
            let mut record = answer.record;
            match answer.outcome {
                Ok(candidates) => {
                    if let Some(session) = Session::open(record, candidates, answer.ticket, now) {
                        let datagrams: Vec<&[u8]> = datagrams.iter().map(|bytes| &**bytes).collect();
                        self.start(answer.key, session, &datagrams, now);
                    }
                }
                Err(status) => record.finish(status, now),
            }
        }
    }

    fn start(&mut self, key: Key, session: Session, datagrams: &[&[u8]], now: Tick) {
        let limits = session::limits(&session.record.entry.server);
        let (worker, entry) = (session.record.worker.clone(), session.record.entry.clone());
        let Ok(id) = self.flows.open(key, limits, session, now) else {
            return self.overflow(&worker, &entry);
        };
        let Some(flow) = self.flows.flow(id) else { return };
        if let Err(error) = self.peers.watch(flow.session.peer.as_fd(), id) {
            flow.session.record.log(
                Level::Alert,
                target::CONNECTING,
                format_args!("epoll_ctl() failed {}", OsError(&error)),
            );
            return self.end(id, End::Unreachable, now);
        }
        for bytes in datagrams {
            if !self.forward(id, bytes, now) {
                break;
            }
        }
    }

    fn overflow(&mut self, worker: &Worker, entry: &Entry) {
        entry.server.outcomes.overflows.add(1);
        // A flood must not become a flood of log lines.
        let second = tick().0 / 1000;
        if self.complained != Some(second) {
            self.complained = Some(second);
            let limit = worker.context.connections.active();
            entry.server.error_log.write(Level::Alert, 0, format_args!("{limit} worker_connections are not enough"));
        }
    }

    fn poll_peers(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Tick) -> Poll<()> {
        let mut ready = std::mem::take(&mut self.ready);
        let polled = self.peers.poll(cx, &mut ready);
        for event in &ready {
            self.take_replies(*event, batch, now);
        }
        self.ready = ready;
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                self.log(Level::Alert, format_args!("epoll_wait() failed {}", OsError(&error)));
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads a session's peer until it is drained.
    fn take_replies(&mut self, event: Ready, batch: &mut Batch, now: Tick) {
        // Most peers send one datagram at a time.
        const WANT: usize = 4;
        while let Some(flow) = self.flows.flow(event.id) {
            let taken = match batch.receive(flow.session.peer.as_fd(), Source::Peer, WANT) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    flow.session.peer_failed("recv()", &error);
                    return self.end(event.id, End::Unreachable, now);
                }
            };
            for datagram in (0..taken).filter_map(|index| batch.datagram(index)) {
                self.reply(event.id, datagram.bytes, now);
            }
            if taken < WANT && !event.error {
                return;
            }
        }
    }

    fn reply(&mut self, id: Id, bytes: &[u8], now: Tick) {
        let Some(flow) = self.flows.flow(id) else { return };
        let key = *flow.key();
        let first = flow.responses == 0;
        flow.session.received(bytes.len(), first, now);
        match batch::reply(self.socket.as_fd(), bytes, key.client, key.local) {
            Ok(sent) => flow.session.record.sent += sent as u64,
            // As on any full queue of the network, a datagram is lost.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => flow.session.record.log(
                Level::Alert,
                "proxying and sending to client",
                format_args!("sendmsg() failed {}", OsError(&error)),
            ),
        }
        if self.flows.response(id, now) == Verdict::Done {
            self.end(id, End::Done, now);
        }
    }

    fn end(&mut self, id: Id, end: End, now: Tick) {
        if let Some(flow) = self.flows.close(id) {
            session::finish(flow, end, now);
        }
    }

    fn expire(&mut self, now: Tick) {
        while let Some(id) = self.flows.expired(now) {
            self.end(id, End::Silent, now);
        }
    }

    /// The listener was dropped: what waits for no reply ends now, as in nginx.
    fn close(&mut self, now: Tick) {
        self.closed = Some(now);
        self.end_all(now, |session| !session);
    }

    /// Ends the sessions for which `whether` says so, told if replies are still expected.
    fn end_all(&mut self, now: Tick, whether: fn(bool) -> bool) {
        for id in self.flows.ids() {
            if self.flows.flow(id).is_some_and(|flow| whether(flow.unanswered())) {
                self.end(id, End::Shutdown, now);
            }
        }
    }

    /// One timer for all sessions, moved only when it has to fire earlier or has fired.
    fn arm(&mut self, cx: &mut Context<'_>, now: Tick) {
        let grace = self.closed.map(|at| at.after(GRACE));
        loop {
            let expiry = self.flows.next_expiry();
            let Some(at) = expiry.into_iter().chain(grace).min() else { return };
            if self.armed.is_none_or(|armed| at < armed) {
                self.armed = Some(at);
                // One millisecond over: the runtime's clock is finer than `tick`'s.
                let deadline = Instant::now() + at.since(now) + Duration::from_millis(1);
                match &mut self.timer {
                    Some(timer) => timer.as_mut().reset(deadline),
                    none => *none = Some(Box::pin(tokio::time::sleep_until(deadline))),
                }
            }
            let Some(timer) = &mut self.timer else { return };
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.armed = None;
            self.expire(tick());
        }
    }

    fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        if let Some(entry) = self.current.load().entry(&self.key) {
            entry.server.error_log.write(level, 0, message);
        }
    }
}

#[cfg(test)]
mod tests;
