//! What is ready on this thread: its sockets and the tasks that wait for them.
//!
//! One epoll instance a thread, edge-triggered, each socket registered once for all events, an
//! accepted one when first somebody has to wait for it, and forgotten by closing it. It turns inside
//! tokio's current-thread runtime, as one of its tasks
//! that waits for one descriptor, ours; so timers, name lookups and signals stay tokio's, and a
//! stream costs neither a registration nor a task of the runtime. Made when a thread first asks
//! for it, gone with the runtime it was made in. Only [`crate::net::Stream`] and
//! [`crate::net::Acceptor`] register sockets.

mod epoll;
mod slots;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;

use crate::clock::{Tick, tick};
use epoll::Epoll;
pub(super) use epoll::{Event, Events};
use slots::{Key, Slots};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tasks::Tasks;
use timers::Timers;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, Sleep, sleep_until};

/// Rounds of events and tasks before tokio gets its turn.
const ROUNDS: usize = 8;

const NEVER: Tick = Tick(u64::MAX);

/// After a round of so many events it pays to look again at once rather than by way of tokio.
const BUSY: usize = 8;

/// How long a socket that nobody waits for in earnest is left unregistered.
const PATIENCE: Duration = Duration::from_millis(20);

thread_local! {
    static HERE: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

struct Reactor {
    epoll: Epoll,
    watched: RefCell<Slots<Rc<Watched>>>,
    tasks: Tasks,
    timers: RefCell<Timers>,
    /// Sockets to register if they are still open then, the earliest first.
    later: RefCell<VecDeque<(Tick, Key)>>,
    /// The runtime's timer for the earliest of ours, and when it fires.
    alarm: RefCell<Option<Pin<Box<Sleep>>>>,
    alarm_at: Cell<Tick>,
    /// Reads and writes that the running task may still do before the others' turn.
    budget: Cell<u32>,
}

/// Reads and writes of a task that never has to wait, before others get their turn.
const BUDGET: u32 = 64;

/// Runs `future` on this thread until it ends. A task that waits costs its own size; it is polled
/// between events, and only when something woke it.
/// Where there is no reactor, for want of a descriptor, it is a task of tokio's.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    match here() {
        Ok(reactor) => reactor.tasks.spawn(Box::pin(future)),
        Err(_) => drop(tokio::task::spawn_local(future)),
    }
}

/// The thread's reactor, made on first use.
fn here() -> io::Result<Rc<Reactor>> {
    HERE.with_borrow_mut(|here| {
        if let Some(reactor) = here {
            return Ok(reactor.clone());
        }
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return Err(io::Error::other("the runtime has many threads"));
        }
        let reactor = Reactor {
            epoll: Epoll::new()?,
            watched: RefCell::default(),
            tasks: Tasks::default(),
            timers: RefCell::new(Timers::new(tick())),
            later: RefCell::default(),
            alarm: RefCell::default(),
            alarm_at: Cell::new(NEVER),
            budget: Cell::new(BUDGET),
        };
        let reactor = Rc::new(reactor);
        // Every task of ours would be charged to the one budget that tokio gives to a task of its own.
        runtime.spawn(tokio::task::unconstrained(Driver));
        Ok(here.insert(reactor).clone())
    })
}

/// The runtime's task that turns the reactor of its thread.
struct Driver;

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(reactor) = HERE.with_borrow(Clone::clone) {
            reactor.turn(cx);
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    /// The runtime ends, and our tasks with it.
    fn drop(&mut self) {
        let reactor = HERE.try_with(|here| here.try_borrow_mut().ok()?.take());
        if let Ok(Some(reactor)) = reactor {
            reactor.tasks.clear();
        }
    }
}

impl Reactor {
    fn turn(&self, cx: &mut Context<'_>) {
        self.tasks.begin(cx.waker());
        self.wake_the_due(tick());
        let mut look = false;
        for _ in 0..ROUNDS {
            let happened = if look { self.epoll.take(|event| self.raise(event)) } else { self.poll_events(cx) };
            self.tasks.run(|| self.budget.set(BUDGET));
            look = happened.is_some_and(|count| count >= BUSY);
            if happened.is_none() && self.tasks.are_idle() {
                self.set_alarm(cx);
                return self.tasks.end();
            }
        }
        // There may be more, once tokio has looked at its timers and its own events.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }

    /// `None` when nothing has happened; the task of `cx` is then woken when something does.
    fn poll_events(&self, cx: &mut Context<'_>) -> Option<usize> {
        self.epoll.poll(cx, |event| self.raise(event))
    }

    fn wake_the_due(&self, now: Tick) {
        // Not in the condition of a loop, where the borrow would last while a waker runs.
        let due = || self.timers.borrow_mut().due(now);
        while let Some(waker) = due() {
            waker.wake();
        }
        let late = || self.later.borrow_mut().pop_front_if(|(at, _)| *at <= now);
        while let Some((_, key)) = late() {
            let watched = self.watched.borrow().get(key).cloned();
            if let Some(watched) = watched {
                watched.hurry();
            }
        }
    }

    /// The runtime wakes the driver when the next timer may be due.
    fn set_alarm(&self, cx: &mut Context<'_>) {
        let alarm = &mut *self.alarm.borrow_mut();
        if alarm.as_ref().is_none_or(|alarm| alarm.is_elapsed()) {
            self.alarm_at.set(NEVER);
        }
        let late = self.later.borrow().front().map(|(at, _)| *at);
        let Some(next) = self.timers.borrow().next().into_iter().chain(late).min() else { return };
        // Most timers are never due: an alarm that is too early stays, finds nothing to do, and is set again.
        if self.alarm_at.get() <= next {
            return;
        }
        self.alarm_at.set(next);
        let until = Instant::now() + next.since(tick());
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        alarm.as_mut().reset(until);
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn look_later(&self, key: Key) {
        let at = tick().after(PATIENCE);
        self.later.borrow_mut().push_back((at, key));
        if at < self.alarm_at.get() {
            self.tasks.wake_driver();
        }
    }

    fn raise(&self, event: Event) {
        let watched = self.watched.borrow().get(event.key).cloned();
        // None: it was closed while the event was under way.
        if let Some(watched) = watched {
            watched.raise(event.events);
        }
    }
}

/// Somebody who waits for a time to come, of the reactor of its thread.
pub(super) struct Timer {
    reactor: Rc<Reactor>,
    number: u32,
}

impl Timer {
    /// `None` where there is no reactor, and so no stream that anybody could wait for.
    pub fn new() -> Option<Timer> {
        let reactor = here().ok()?;
        let number = reactor.timers.borrow_mut().number();
        Some(Timer { reactor, number })
    }

    /// Wakes the task of `cx` once, when `at` has passed, and late by less than 20 ms; instead of
    /// what was set before.
    pub fn set(&self, at: Tick, cx: &mut Context<'_>) {
        self.reactor.timers.borrow_mut().set(self.number, at, cx.waker());
        if at < self.reactor.alarm_at.get() {
            self.reactor.tasks.wake_driver();
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.reactor.timers.borrow_mut().forget(self.number);
    }
}

/// A socket's registration; dropping it makes the reactor forget the socket, which the owner
/// closes next.
pub(super) struct Watch {
    watched: Rc<Watched>,
    reactor: Rc<Reactor>,
    key: Key,
}

/// What is known of a socket, and who waits for it.
struct Watched {
    events: Cell<Events>,
    known: Cell<Known>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

/// What the kernel has been told of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    No,
    /// No, and somebody would like to hear of it if that takes long.
    Later,
    /// No, and that has taken long.
    Due,
    Yes,
}

impl Watch {
    /// Registers `socket` for good. `assumed` holds until the first event or a call says otherwise.
    ///
    /// # Errors
    /// Those of `epoll_create1` (the thread's first) and `epoll_ctl`.
    pub fn new(socket: impl AsFd, assumed: Events) -> io::Result<Watch> {
        let watch = Watch::unregistered(here()?, assumed);
        watch.reactor.epoll.add(socket.as_fd(), watch.key)?;
        watch.watched.known.set(Known::Yes);
        Ok(watch)
    }

    /// For another socket on the same reactor, which is registered when first somebody waits for it: one that is
    /// served and closed before costs the kernel nothing but the reads and writes.
    pub fn beside(&self, assumed: Events) -> Watch {
        Watch::unregistered(self.reactor.clone(), assumed)
    }

    fn unregistered(reactor: Rc<Reactor>, assumed: Events) -> Watch {
        let (events, known) = (Cell::new(assumed), Cell::new(Known::No));
        let watched = Rc::new(Watched { events, known, reader: Cell::default(), writer: Cell::default() });
        let key = reactor.watched.borrow_mut().insert(watched.clone());
        Watch { watched, reactor, key }
    }

    /// Registers `socket` if it is not yet. What it was good for by then is told as an event.
    pub fn register(&self, socket: BorrowedFd<'_>) {
        if self.watched.known.replace(Known::Yes) == Known::Yes {
            return;
        }
        if self.reactor.epoll.add(socket, self.key).is_err() {
            // Nobody would ever hear of it again (out of memory, or of the user's watches): it ends here, and
            // reading and writing say so.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
            self.set(Events::READABLE.with(Events::WRITABLE).with(Events::ENDING));
        }
    }

    /// Takes the registration back from the kernel: for a socket that others hold open too, which
    /// closing does not do for.
    pub fn withdraw(&self, socket: impl AsFd) {
        self.reactor.epoll.remove(socket.as_fd());
    }

    pub fn events(&self) -> Events {
        self.watched.events.get()
    }

    pub fn set(&self, events: Events) {
        self.watched.events.set(self.events().with(events));
    }

    pub fn clear(&self, events: Events) {
        self.watched.events.set(self.events().without(events));
    }

    /// Ready while the task may go on, with what costs as much as so many reads; a task that has had its
    /// turn is woken for the next one.
    pub fn poll_turn(&self, cx: &mut Context<'_>, cost: u32) -> Poll<()> {
        let left = self.reactor.budget.get();
        if left > 0 {
            self.reactor.budget.set(left.saturating_sub(cost));
            return Poll::Ready(());
        }
        self.reactor.budget.set(BUDGET);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub fn poll_readable(&self, socket: impl AsFd, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(socket.as_fd(), Events::READABLE, cx)
    }

    pub fn poll_writable(&self, socket: impl AsFd, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(socket.as_fd(), Events::WRITABLE, cx)
    }

    /// As `poll_readable`, for somebody who need not know at once: a socket that is not registered yet may tell
    /// late, by [`PATIENCE`].
    pub fn poll_readable_soon(&self, socket: impl AsFd, cx: &mut Context<'_>) -> Poll<()> {
        match self.watched.known.get() {
            _ if self.events().has(Events::READABLE) => return Poll::Ready(()),
            Known::Yes | Known::Due => return self.poll_readable(socket, cx),
            Known::Later => {}
            Known::No => {
                self.watched.known.set(Known::Later);
                self.reactor.look_later(self.key);
            }
        }
        wait(&self.watched.reader, cx);
        Poll::Pending
    }

    fn poll(&self, socket: BorrowedFd<'_>, wanted: Events, cx: &mut Context<'_>) -> Poll<()> {
        if self.events().has(wanted) {
            return Poll::Ready(());
        }
        self.register(socket);
        // Registering may have failed.
        if self.events().has(wanted) {
            return Poll::Ready(());
        }
        let waiting = if wanted == Events::READABLE { &self.watched.reader } else { &self.watched.writer };
        wait(waiting, cx);
        Poll::Pending
    }
}

fn wait(waiting: &Cell<Option<Waker>>, cx: &mut Context<'_>) {
    match waiting.take() {
        Some(waker) if waker.will_wake(cx.waker()) => waiting.set(Some(waker)),
        _ => waiting.set(Some(cx.waker().clone())),
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reactor.watched.borrow_mut().remove(self.key);
    }
}

impl Watched {
    /// What [`Watch::poll_readable_soon`] has put off is due.
    fn hurry(&self) {
        if self.known.get() == Known::Later {
            self.known.set(Known::Due);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    fn raise(&self, events: Events) {
        self.events.set(self.events.get().with(events));
        if events.has(Events::READABLE)
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        if events.has(Events::WRITABLE)
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }
}
