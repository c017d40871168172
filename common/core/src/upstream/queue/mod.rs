//! `queue`: requests that wait for a peer below its `max_conns`.
//!
//! One line for all workers and generations of a group, first come, first served.
//! Whoever gives a peer back calls the first; that one picks with its own worker's
//! balancer, and if it cannot use what became free (it has tried that peer already)
//! it passes the call on. Does not pick, and keeps no time: who waits brings both.
//! A lock is held for the writes of one entry, and asked for only while somebody waits.

mod line;
#[cfg(test)]
mod tests;

use crate::stats::Counter;
use crate::upstream::Queueing;
use line::Line;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A generation's rules for the line of its group.
#[derive(Debug)]
pub struct Queue {
    /// 0 when `queue` is no longer written: who waits still is called, and nobody joins.
    most: usize,
    timeout: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
    overflows: Counter,
}

#[derive(Debug, Default)]
struct Waiters {
    line: Line,
    /// By place; of those who wait.
    wakers: Vec<Option<Waker>>,
}

/// Somebody's place in the line; dropping it gives it up.
pub struct Place {
    shared: Arc<Shared>,
    at: u32,
}

impl Queue {
    /// A line as `settings` say, with those who wait in `previous`; `None` where there is none.
    pub(super) fn over(settings: Option<Queueing>, previous: Option<&Arc<Queue>>) -> Option<Arc<Queue>> {
        if settings.is_none() && previous.is_none_or(|previous| previous.is_empty()) {
            return None;
        }
        let shared = previous.map(|previous| previous.shared.clone()).unwrap_or_default();
        let Queueing { most, timeout } = settings.unwrap_or(Queueing { most: 0, timeout: Duration::ZERO });
        Some(Arc::new(Queue { most, timeout, shared }))
    }

    /// How long a request may wait; `None` when none may.
    pub fn patience(&self) -> Option<Duration> {
        (self.most > 0).then_some(self.timeout)
    }

    /// Requests that wait now.
    pub fn len(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Whether nobody has to be let by first.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn most(&self) -> usize {
        self.most
    }

    /// Requests that found the line full.
    pub fn overflows(&self) -> &Counter {
        &self.shared.overflows
    }

    /// A place behind all others; `None` when the line is full. `choosy` says that not every peer will
    /// do. The first is called at once: what it waits for may have become free by now.
    pub fn join(&self, choosy: bool) -> Option<Place> {
        let mut waiters = self.shared.lock();
        let Some(at) = waiters.line.join(self.most, choosy) else {
            drop(waiters);
            self.shared.overflows.add(1);
            return None;
        };
        self.shared.waiting.store(waiters.line.len(), Ordering::Relaxed);
        if waiters.wakers.len() <= at as usize {
            waiters.wakers.resize(at as usize + 1, None);
        }
        let first = waiters.line.first();
        let call = first.filter(|first| *first == at || waiters.line.has_choosy());
        let waker = waiters.call(call);
        drop(waiters);
        waker.into_iter().for_each(Waker::wake);
        // Pairs with the one in `freed`: either who gives a peer back sees that somebody waits, or the
        // one who waits sees what was given back.
        fence(Ordering::SeqCst);
        Some(Place { shared: self.shared.clone(), at })
    }

    /// A peer was given back: the first in line may pick.
    pub(super) fn freed(&self) {
        fence(Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let waker = {
            let mut waiters = self.shared.lock();
            let first = waiters.line.first();
            waiters.call(first)
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    /// Whom to wake.
    fn call(&mut self, at: Option<u32>) -> Option<Waker> {
        let at = at?;
        self.line.call(at);
        self.wakers.get_mut(at as usize).and_then(Option::take)
    }
}

impl Place {
    /// Ready when the one who waits has been called and should pick.
    pub fn poll_called(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.shared.lock();
        if waiters.line.answer(self.at) {
            return Poll::Ready(());
        }
        if let Some(waker) = waiters.wakers.get_mut(self.at as usize) {
            match waker {
                Some(known) if known.will_wake(cx.waker()) => {}
                _ => *waker = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }

    /// Nobody stands before.
    pub fn is_first(&self) -> bool {
        self.shared.lock().line.first() == Some(self.at)
    }

    /// What became free was no use here: the next one may try.
    pub fn pass_on(&self) {
        let waker = {
            let mut waiters = self.shared.lock();
            let behind = waiters.line.behind(self.at);
            waiters.call(behind)
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waker = {
            let mut waiters = self.shared.lock();
            let next = waiters.line.leave(self.at);
            if let Some(waker) = waiters.wakers.get_mut(self.at as usize) {
                *waker = None;
            }
            self.shared.waiting.store(waiters.line.len(), Ordering::Relaxed);
            waiters.call(next)
        };
        waker.into_iter().for_each(Waker::wake);
    }
}
