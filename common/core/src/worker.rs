//! One worker thread's own state: connections in progress, shared buffers,
//! log buffers. Nothing here is shared with another thread.

mod handover;

pub use handover::{Door, Handover, Passed};

use crate::limit::Held;
use crate::log::Writer;
use crate::net::Pipes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

/// What every connection of a worker thread can reach.
pub struct Context {
    /// 0-based number of the thread.
    pub id: usize,
    pub connections: Connections,
    pub scratch: Scratch,
    pub logs: Writer,
    pub handover: Handover,
}

/// The newest generation's state of a plane on this worker.
pub struct Current<T>(RefCell<Rc<T>>);

impl<T> Current<T> {
    pub fn new(value: Rc<T>) -> Current<T> {
        Current(RefCell::new(value))
    }

    pub fn load(&self) -> Rc<T> {
        self.0.borrow().clone()
    }

    pub fn replace(&self, value: Rc<T>) {
        self.0.replace(value);
    }
}

/// Number of a connection, unique in the process: `*7` in logs, `$connection`.
pub fn next_connection_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The worker's connections: their number is bounded by `worker_connections`,
/// and all are woken when the worker starts to drain.
#[derive(Default)]
pub struct Connections {
    limit: Cell<usize>,
    active: Cell<usize>,
    draining: Cell<bool>,
    places: RefCell<Vec<Place>>,
    /// Counts the rounds of [`Connections::cool`].
    round: Cell<u32>,
    warm: Cell<usize>,
    free: RefCell<Vec<usize>>,
}

/// Who to wake about one connection.
#[derive(Default)]
struct Place {
    waker: Option<Waker>,
    /// It holds memory that it gives back when nothing comes for a while.
    warm: bool,
}

/// How many connections may keep the memory of their last request at hand: enough for the busiest,
/// too few to be felt.
const MOST_WARM: usize = 64;

/// How long a connection that was just busy keeps its memory, at most.
const WARM: Duration = Duration::from_millis(250);

/// Behind one pointer, since most connections have none.
#[derive(Default)]
struct Places(Vec<Held>);

/// One counted connection; dropping it frees its place.
pub struct Ticket {
    place: usize,
    context: Rc<Context>,
    /// What listeners that passed the connection on have counted it in.
    held: Option<Box<Places>>,
}

impl Context {
    /// Of a thread that has just begun, and serves nobody before its limit is set.
    pub fn new(id: usize) -> Rc<Context> {
        Rc::new(Context {
            id,
            connections: Connections::default(),
            scratch: Scratch::default(),
            logs: Writer::default(),
            handover: Handover::default(),
        })
    }

    /// A place for one more connection, or `None` when `worker_connections` are in use.
    pub fn admit(self: &Rc<Self>) -> Option<Ticket> {
        let connections = &self.connections;
        if connections.active.get() >= connections.limit.get() {
            return None;
        }
        connections.active.set(connections.active.get() + 1);
        let mut places = connections.places.borrow_mut();
        let place = connections.free.borrow_mut().pop().unwrap_or_else(|| {
            places.push(Place::default());
            places.len() - 1
        });
        Some(Ticket { place, context: self.clone(), held: None })
    }
}

impl Connections {
    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    pub fn active(&self) -> usize {
        self.active.get()
    }

    /// A graceful stop has begun: finish what runs, keep nothing idle.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins to drain and wakes every connection that asked for it.
    pub fn drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    /// Wakes every connection, so that idle ones look at what has changed.
    pub fn wake_all(&self) {
        for place in self.places.borrow_mut().iter_mut() {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    /// Every quarter of a second tells the connections that wait with their memory at hand to give
    /// it back. One walk for all is cheaper than a timer for each, moved with every request.
    pub async fn cool(&self) {
        loop {
            tokio::time::sleep(WARM).await;
            self.round.set(self.round.get().wrapping_add(1));
            for place in self.places.borrow_mut().iter_mut().filter(|place| place.warm) {
                place.warm = false;
                if let Some(waker) = place.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    pub fn round(&self) -> u32 {
        self.round.get()
    }
}

impl Ticket {
    /// Takes places in limit zones along: they are given back with the connection's own.
    pub fn hold(&mut self, places: Vec<Held>) {
        if !places.is_empty() {
            self.held.get_or_insert_default().0.extend(places);
        }
    }

    pub fn scratch(&self) -> &Scratch {
        &self.context.scratch
    }

    /// The worker has begun to drain.
    pub fn draining(&self) -> bool {
        self.context.connections.draining()
    }

    /// Wakes `waker`'s task once when the worker drains or changes its generation.
    pub fn watch(&self, waker: &Waker) {
        self.register(waker, false);
    }

    /// The same, and once when the worker's next round of cooling comes.
    pub fn watch_warm(&self, waker: &Waker) {
        self.register(waker, true);
    }

    fn register(&self, waker: &Waker, warm: bool) {
        if let Some(place) = self.context.connections.places.borrow_mut().get_mut(self.place) {
            place.warm = warm;
            match &place.waker {
                Some(old) if old.will_wake(waker) => {}
                _ => place.waker = Some(waker.clone()),
            }
        }
    }

    /// Takes one of the places for connections that keep memory while they wait; `cooled` gives it
    /// back. False when all are taken.
    pub fn warm_up(&self) -> bool {
        let warm = &self.context.connections.warm;
        let free = warm.get() < MOST_WARM;
        warm.set(warm.get() + usize::from(free));
        free
    }

    pub fn cooled(&self) {
        let warm = &self.context.connections.warm;
        warm.set(warm.get().saturating_sub(1));
    }

    /// The worker's round of cooling: when it changes, memory held for the next request goes back.
    pub fn round(&self) -> u32 {
        self.context.connections.round()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let connections = &self.context.connections;
        connections.active.set(connections.active.get() - 1);
        if let Some(place) = connections.places.borrow_mut().get_mut(self.place) {
            *place = Place::default();
        }
        connections.free.borrow_mut().push(self.place);
    }
}

/// Buffers that a worker lends for the time between two awaits.
pub struct Scratch {
    read: RefCell<Box<[u8]>>,
    flat: RefCell<Vec<u8>>,
    /// Buffers in the kernel; what is stuck in one may stay there.
    pub pipes: Pipes,
}

/// Size of the buffer that every read of the worker goes through.
pub const READ_BUFFER: usize = 64 * 1024;

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            read: RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()),
            flat: RefCell::default(),
            pipes: Pipes::default(),
        }
    }
}

impl Scratch {
    /// Lends the shared read buffer. `use_it` cannot await, so nobody else can want it meanwhile.
    pub fn with_read<R>(&self, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
        use_it(&mut self.read.borrow_mut())
    }

    /// Lends an empty buffer to put small pieces together in: one plain send of a copy is cheaper
    /// than a vectored one.
    pub fn with_flat<R>(&self, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut flat = self.flat.borrow_mut();
        flat.clear();
        use_it(&mut flat)
    }
}
