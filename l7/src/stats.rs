//! How many connections there were and what those that are open do: what `stub_status` shows and
//! what the worker process says when it ends.
//!
//! Each thread adds to numbers of its own, which nobody else writes, so that counting costs no
//! thread the cache line of another. Who asks adds them up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection does, in nginx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing: a request may come.
    Waiting,
    /// Its request's head comes.
    Reading,
    /// Its request is served.
    Writing,
}

/// A connection while it is counted: dropped, it is open no more. `None` is not counted.
#[derive(Debug)]
pub(crate) struct Counted(Option<Doing>);

/// Sums over all threads, those that ended too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Those of them that were served: not so when `worker_connections` were in use.
    pub handled: u64,
    /// Requests whose head began to come.
    pub requests: u64,
    /// Open connections, by what they do; all of them are active.
    pub waiting: u64,
    pub reading: u64,
    pub writing: u64,
}

/// One thread's part.
#[derive(Debug, Default)]
struct Numbers {
    accepted: AtomicU64,
    handled: AtomicU64,
    requests: AtomicU64,
    doing: [AtomicU64; 3],
}

/// A list that only grows, by one for each thread there ever was, so that nobody has to be locked out.
struct Link {
    numbers: &'static Numbers,
    next: OnceLock<Box<Link>>,
}

static ALL: OnceLock<Box<Link>> = OnceLock::new();

thread_local! {
    static OWN: &'static Numbers = enlist();
}

fn enlist() -> &'static Numbers {
    let numbers: &Numbers = Box::leak(Box::default());
    let mut link = Box::new(Link { numbers, next: OnceLock::new() });
    let mut last = &ALL;
    while let Err(not_taken) = last.set(link) {
        link = not_taken;
        let Some(taken) = last.get() else { break };
        last = &taken.next;
    }
    numbers
}

/// Adds to a number that this thread alone writes.
fn add(number: &AtomicU64, by: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// Nothing is counted while the thread is being taken down.
fn count(with: impl FnOnce(&Numbers)) {
    let _ = OWN.try_with(|numbers| with(numbers));
}

/// A connection came for which there is no place.
pub(crate) fn turned_away() {
    count(|numbers| add(&numbers.accepted, 1));
}

impl Counted {
    /// A connection that is to be served.
    pub fn new() -> Counted {
        count(|numbers| {
            add(&numbers.accepted, 1);
            add(&numbers.handled, 1);
            add(numbers.doing(Doing::Waiting), 1);
        });
        Counted(Some(Doing::Waiting))
    }

    /// No connection of a client.
    pub fn none() -> Counted {
        Counted(None)
    }

    pub fn now(&mut self, doing: Doing) {
        let Some(before) = self.0.replace(doing) else {
            self.0 = None;
            return;
        };
        count(|numbers| {
            if doing == Doing::Reading {
                add(&numbers.requests, 1);
            }
            if before != doing {
                add(numbers.doing(before), u64::MAX);
                add(numbers.doing(doing), 1);
            }
        });
    }
}

impl Counted {
    /// The request that seemed to begin was the client's goodbye.
    pub fn none_came(&mut self) {
        if self.0 == Some(Doing::Reading) {
            count(|numbers| add(&numbers.requests, u64::MAX));
            self.now(Doing::Waiting);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(doing) = self.0 {
            count(|numbers| add(numbers.doing(doing), u64::MAX));
        }
    }
}

impl Numbers {
    fn doing(&self, doing: Doing) -> &AtomicU64 {
        let [waiting, reading, writing] = &self.doing;
        match doing {
            Doing::Waiting => waiting,
            Doing::Reading => reading,
            Doing::Writing => writing,
        }
    }
}

impl Stats {
    pub fn now() -> Stats {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut sum = Stats::default();
        for numbers in std::iter::successors(ALL.get(), |link| link.next.get()).map(|link| link.numbers) {
            sum.accepted += load(&numbers.accepted);
            sum.handled += load(&numbers.handled);
            sum.requests += load(&numbers.requests);
            sum.waiting += load(numbers.doing(Doing::Waiting));
            sum.reading += load(numbers.doing(Doing::Reading));
            sum.writing += load(numbers.doing(Doing::Writing));
        }
        sum
    }

    pub fn active(&self) -> u64 {
        self.waiting + self.reading + self.writing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_while_they_last() {
        let own = || OWN.with(|own| [&own.doing[0], &own.doing[1], &own.doing[2]].map(|n| n.load(Ordering::Relaxed)));
        let (mut one, two) = (Counted::new(), Counted::new());
        assert_eq!(own(), [2, 0, 0]);
        one.now(Doing::Reading);
        one.now(Doing::Writing);
        one.now(Doing::Reading);
        assert_eq!(own(), [1, 1, 0]);
        drop(two);
        turned_away();
        assert_eq!(own(), [0, 1, 0]);
        drop(one);
        assert_eq!(own(), [0, 0, 0]);
        OWN.with(|own| {
            let numbers = [&own.accepted, &own.handled, &own.requests].map(|n| n.load(Ordering::Relaxed));
            assert_eq!(numbers, [3, 2, 2]);
        });
        assert!(Stats::now().handled >= 2);
    }
}
