//! The UDP side of one listener and worker: takes datagrams in batches, finds
//! or begins their sessions, carries replies back, ends what is over.
//!
//! The table belongs to the socket, so a reload does not touch it; each session
//! holds the generation it began with. No task and no timer per session, and
//! nothing allocated per datagram. From clients to peers: `requests`; back:
//! `replies`; what happens when there is no room: `room`.

mod batch;
mod calls;
pub mod flows;
mod headers;
mod links;
mod pace;
mod pile;
mod queue;
mod readiness;
mod replies;
mod requests;
mod resting;
mod room;
mod session;
mod settings;
mod spans;
mod stand_ins;
mod waiting;

use crate::worker::Worker;
use batch::{BATCH, Batch};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::{ErrorLog, Level, OsError};
use fairlead_core::net::ListenerKey;
use fairlead_core::worker::Current;
use flows::{Flows, Id};
use links::{Link, Links};
use pile::Pile;
use readiness::Ready;
use replies::Outbox;
use room::Complaint;
use session::{End, Session};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use waiting::Waiting;

pub(crate) use settings::{DIRECTIVES, Settings};

/// Looks at what is ready before the worker's other tasks get their turn.
const ROUNDS: usize = 4;

/// Batches of clients' datagrams in one of them.
const BATCHES: usize = 2;

/// How long replies that may be on their way are waited for once nothing new comes to a session:
/// its listener is gone, or its client goes on with another peer.
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
    socket: OwnedFd,
    /// It may have more to read.
    readable: bool,
    /// It is of UDP, not a Unix socket.
    is_udp: bool,
    kernel_cuts_segments: bool,
    key: ListenerKey,
    current: Rc<Current<Worker>>,
    flows: Flows<Session>,
    links: Links,
    ready: Vec<Ready>,
    pile: Pile,
    outbox: Outbox,
    waiting: Waiting,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires; `None` while it is not set.
    armed: Option<Tick>,
    /// When the listener was dropped.
    closed: Option<Tick>,
    full: Complaint,
    evicting: Complaint,
}

impl Engine {
    fn new(socket: OwnedFd, key: ListenerKey, current: Rc<Current<Worker>>) -> io::Result<Engine> {
        let ip = key.address.ip();
        // It has several addresses: datagrams tell which they came to.
        if ip.is_some_and(|ip| ip.is_unspecified()) {
            calls::ask_destination(socket.as_fd(), &key.address)?;
        }
        if ip.is_some() {
            calls::merge_datagrams(socket.as_fd());
        }
        let now = tick();
        let links = Links::new(now)?;
        links.readiness().watch(socket.as_fd(), Link::OTHER)?;
        Ok(Engine {
            socket,
            readable: false,
            is_udp: ip.is_some(),
            kernel_cuts_segments: calls::kernel_cuts_segments(),
            key,
            current,
            // The bound is the configuration's, put there whenever a session begins.
            flows: Flows::new(0, now),
            links,
            ready: Vec::new(),
            pile: Pile::default(),
            outbox: Outbox::default(),
            waiting: Waiting::default(),
            timer: None,
            armed: None,
            closed: None,
            full: Complaint::default(),
            evicting: Complaint::default(),
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
            Some(_) if self.flows.is_empty() && self.waiting.is_empty() => Poll::Ready(()),
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
        self.read_on(batch, now);
        let mut ready = std::mem::take(&mut self.ready);
        let mut rounds = 0;
        let more = loop {
            match self.links.readiness().poll(cx, &mut ready) {
                Poll::Ready(Ok(())) => self.serve(&ready, batch, now),
                Poll::Ready(Err(error)) => {
                    self.log(Level::Alert, format_args!("epoll_wait() failed {}", OsError(&error)));
                    break false;
                }
                Poll::Pending if self.readable && self.closed.is_none() => self.serve(&[], batch, now),
                Poll::Pending => break false,
            }
            rounds += 1;
            if rounds == ROUNDS {
                break true;
            }
        };
        self.ready = ready;
        more
    }

    /// Replies first: whoever waits for one has waited longer than whoever asks.
    fn serve(&mut self, ready: &[Ready], batch: &mut Batch, now: Tick) {
        for event in ready {
            match event.token {
                Link::OTHER => self.readable = true,
                _ => self.take_replies(*event, batch, now),
            }
        }
        self.send_replies(batch, now);
        for _ in 0..BATCHES {
            if self.readable && self.closed.is_none() {
                self.read_clients(batch, now);
            }
        }
    }

    fn read_clients(&mut self, batch: &mut Batch, now: Tick) {
        match batch.receive_requests(self.socket.as_fd(), self.is_udp) {
            Ok(taken) => {
                // A batch that is not full has drained the socket: the next one needs a new event.
                self.readable = taken == BATCH;
                self.take_requests(batch, taken, now);
            }
            Err(error) => {
                self.readable = false;
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.log(Level::Alert, format_args!("recvmsg() failed {}", OsError(&error)));
                }
            }
        }
    }

    fn end(&mut self, id: Id, end: End, now: Tick) {
        if let Some(flow) = self.flows.close(id) {
            let sound = end != End::Unreachable && self.closed.is_none();
            self.links.release(flow.session.link, sound, now);
            session::finish(flow, end, now);
        }
    }

    fn expire(&mut self, now: Tick) {
        while let Some(id) = self.flows.expired(now) {
            let rested = self.flows.flow(id).and_then(|flow| flow.session.rested());
            if !rested.is_some_and(|rested| self.flows.prolong(id, rested, now)) {
                self.end(id, End::Silent, now);
            }
        }
        self.links.sweep(now);
    }

    /// The listener was dropped: what waits for no reply ends now, as in nginx.
    fn close(&mut self, now: Tick) {
        self.closed = Some(now);
        self.links.readiness().forget(self.socket.as_fd());
        self.end_all(now, |awaits| !awaits);
    }

    /// Ends the sessions for which `whether` says so, told if a reply may be on its way.
    fn end_all(&mut self, now: Tick, whether: fn(bool) -> bool) {
        for id in self.flows.ids() {
            if self.flows.flow(id).is_some_and(|flow| whether(flow.awaits())) {
                self.end(id, End::Shutdown, now);
            }
        }
    }

    /// One timer for all sessions, moved only when it has to fire earlier or has fired.
    fn arm(&mut self, cx: &mut Context<'_>, now: Tick) {
        let grace = self.closed.map(|at| at.after(GRACE));
        loop {
            let expiry = self.flows.next_expiry().into_iter().chain(self.links.next_sweep());
            let Some(at) = expiry.chain(grace).min() else { return };
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
