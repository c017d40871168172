//! The tasks of one thread: who is to be polled, in the order they were woken.
//!
//! A waker is a number, not a pointer: cloning and dropping one costs nothing, and one that
//! outlives its task wakes nobody, or at worst somebody for nothing. On its own thread waking is a
//! push to a queue; from elsewhere it goes through a list under a lock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct Tasks {
    number: u16,
    shared: Arc<Shared>,
    state: RefCell<State>,
    /// The runtime's task that polls ours.
    driver: RefCell<Waker>,
    /// The driver runs, or was woken.
    awake: Cell<bool>,
}

#[derive(Default)]
struct State {
    places: Vec<Place>,
    free: Vec<u32>,
    queue: VecDeque<u32>,
}

struct Place {
    /// Elsewhere while it is polled.
    task: Option<Task>,
    generation: u16,
    queued: bool,
}

/// What other threads reach.
struct Shared {
    driver: Mutex<Waker>,
    woken: Mutex<Vec<Name>>,
    any: AtomicBool,
}

/// A task as its waker names it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    thread: u16,
    generation: u16,
    index: u32,
}

/// Each thread's, at its number.
static THREADS: Mutex<Vec<Option<Arc<Shared>>>> = Mutex::new(Vec::new());

impl Default for Tasks {
    fn default() -> Tasks {
        let shared =
            Shared { driver: Mutex::new(Waker::noop().clone()), woken: Mutex::default(), any: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let mut threads = lock(&THREADS);
        let number = threads.iter().position(Option::is_none).unwrap_or_else(|| {
            threads.push(None);
            threads.len() - 1
        });
        if let Some(place) = threads.get_mut(number) {
            *place = Some(shared.clone());
        }
        // A process has far fewer than 2^16 threads that serve; were there more, two of them would
        // wake each other's tasks for nothing and their own from elsewhere not at all.
        let number = number as u16;
        let driver = RefCell::new(Waker::noop().clone());
        Tasks { number, shared, state: RefCell::default(), driver, awake: Cell::new(true) }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(place) = lock(&THREADS).get_mut(usize::from(self.number)) {
            *place = None;
        }
    }
}

impl Tasks {
    pub fn spawn(&self, task: Task) {
        {
            let state = &mut *self.state.borrow_mut();
            let index = state.free.pop().unwrap_or_else(|| {
                state.places.push(Place { task: None, generation: 0, queued: false });
                // Memory ends before 2^32 tasks.
                (state.places.len() - 1) as u32
            });
            let Some(place) = state.places.get_mut(index as usize) else { return };
            place.task = Some(task);
            place.queued = true;
            state.queue.push_back(index);
        }
        self.wake_driver();
    }

    /// The driver has been woken and begins.
    pub fn begin(&self, driver: &Waker) {
        self.awake.set(true);
        if !self.driver.borrow().will_wake(driver) {
            self.driver.replace(driver.clone());
            *lock(&self.shared.driver) = driver.clone();
        }
        if self.shared.any.swap(false, Ordering::Acquire) {
            let woken = std::mem::take(&mut *lock(&self.shared.woken));
            woken.into_iter().for_each(|name| self.wake(name));
        }
    }

    /// The driver waits from now on.
    pub fn end(&self) {
        self.awake.set(false);
    }

    pub fn are_idle(&self) -> bool {
        self.state.borrow().queue.is_empty()
    }

    /// Polls those that are woken now, each after `before`; who is woken meanwhile is next.
    pub fn run(&self, before: impl Fn()) {
        let woken = self.state.borrow().queue.len();
        for _ in 0..woken {
            if let Some((name, task)) = self.next() {
                before();
                self.poll(name, task);
            }
        }
    }

    /// `None` for one that ended while it was queued.
    fn next(&self) -> Option<(Name, Task)> {
        let state = &mut *self.state.borrow_mut();
        let index = state.queue.pop_front()?;
        let place = state.places.get_mut(index as usize).filter(|place| place.queued)?;
        place.queued = false;
        Some((Name { thread: self.number, generation: place.generation, index }, place.task.take()?))
    }

    fn poll(&self, name: Name, mut task: Task) {
        let waker = name.waker();
        let waits = task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        // Outside of the borrow: what an ended task owns may wake and spawn others as it goes.
        let task = waits.then_some(task);
        let state = &mut *self.state.borrow_mut();
        let Some(place) = state.places.get_mut(name.index as usize) else { return };
        if task.is_none() {
            place.generation = place.generation.wrapping_add(1);
            place.queued = false;
            state.free.push(name.index);
        }
        place.task = task;
    }

    /// Drops every task.
    pub fn clear(&self) {
        // Not while it is borrowed: what goes may wake others.
        let state = self.state.take();
        drop(state);
    }

    fn wake(&self, name: Name) {
        {
            let state = &mut *self.state.borrow_mut();
            let Some(place) = state.places.get_mut(name.index as usize) else { return };
            if place.queued || place.generation != name.generation {
                return;
            }
            place.queued = true;
            state.queue.push_back(name.index);
        }
        self.wake_driver();
    }

    /// The driver looks again at what there is to do, if it waits.
    pub fn wake_driver(&self) {
        if !self.awake.replace(true) {
            self.driver.borrow().wake_by_ref();
        }
    }
}

impl Name {
    fn waker(self) -> Waker {
        let bits = u64::from(self.thread) << 48 | u64::from(self.generation) << 32 | u64::from(self.index);
        let data = std::ptr::without_provenance(bits as usize);
        waker(RawWaker::new(data, &VTABLE))
    }

    fn of(data: *const ()) -> Name {
        let bits = data.addr() as u64;
        Name { thread: (bits >> 48) as u16, generation: (bits >> 32) as u16, index: bits as u32 }
    }

    fn wake(self) {
        // The thread's own value may be gone already as the thread ends, or be busy being made.
        let woken = super::HERE.try_with(|here| {
            let here = here.try_borrow().ok()?;
            let reactor = here.as_ref().filter(|reactor| reactor.tasks.number == self.thread)?;
            reactor.tasks.wake(self);
            Some(())
        });
        if !matches!(woken, Ok(Some(()))) {
            self.wake_from_elsewhere();
        }
    }

    fn wake_from_elsewhere(self) {
        let shared = lock(&THREADS).get(usize::from(self.thread)).cloned().flatten();
        let Some(shared) = shared else { return };
        lock(&shared.woken).push(self);
        if !shared.any.swap(true, Ordering::Release) {
            let driver = lock(&shared.driver).clone();
            driver.wake();
        }
    }
}

const _: () = assert!(size_of::<usize>() == 8, "a waker's number takes 64 bits");

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| Name::of(data).wake(),
    |data| Name::of(data).wake(),
    |_| {},
);

#[allow(unsafe_code)]
fn waker(raw: RawWaker) -> Waker {
    // SAFETY: the data is a number that is never followed, so cloning copies it, dropping does
    // nothing, and `Name::wake` works from any thread.
    unsafe { Waker::from_raw(raw) }
}

/// Nothing that holds these locks can panic half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
