//! The deadlines of one thread's tasks: a wheel, and who waits for which number. Setting one and
//! taking it back costs a few stores; the runtime is asked for one timer, the earliest.
//!
//! Pure: the reactor says what time it is and wakes who is due.

use crate::clock::Tick;
use crate::clock::wheel::Wheel;
use std::task::Waker;

pub(super) struct Timers {
    wheel: Wheel,
    waiting: Vec<Option<(Tick, Waker)>>,
    free: Vec<u32>,
}

impl Timers {
    pub fn new(now: Tick) -> Timers {
        Timers { wheel: Wheel::new(now), waiting: Vec::new(), free: Vec::new() }
    }

    /// A number for somebody who will wait.
    pub fn number(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            // One for each task that waits, of which memory holds fewer than 2^32.
            (self.waiting.len() - 1) as u32
        })
    }

    /// Wakes `waker` once, when `at` has passed; instead of what the number waited for before.
    pub fn set(&mut self, number: u32, at: Tick, waker: &Waker) {
        let Some(waiting) = self.waiting.get_mut(number as usize) else { return };
        if waiting.replace((at, waker.clone())).is_some() {
            self.wheel.remove(number);
        }
        self.wheel.insert(number, at);
    }

    /// Takes the number back.
    pub fn forget(&mut self, number: u32) {
        if let Some(waiting) = self.waiting.get_mut(number as usize) {
            if waiting.take().is_some() {
                self.wheel.remove(number);
            }
            self.free.push(number);
        }
    }

    /// One that is due.
    pub fn due(&mut self, now: Tick) -> Option<Waker> {
        loop {
            let number = self.wheel.take(now)?;
            match self.waiting.get_mut(number as usize)? {
                // Further away than the wheel goes round.
                Some((at, _)) if *at > now => self.wheel.insert(number, *at),
                waiting => return waiting.take().map(|(_, waker)| waker),
            }
        }
    }

    /// When the next one may be due.
    pub fn next(&self) -> Option<Tick> {
        self.wheel.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::wheel::GRAIN;
    use crate::dice::Dice;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    /// Counts its wakes.
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_number_is_woken_once_when_its_time_has_come_and_not_before() {
        for seed in 0..256u64 {
            let mut dice = Dice::new(seed);
            let mut draw = |below: u64| dice.roll(below);
            let mut now = Tick(draw(1_000_000));
            let mut timers = Timers::new(now);
            let mut waiting: HashMap<u32, (Tick, Arc<Count>)> = HashMap::new();
            for _ in 0..300 {
                match draw(4) {
                    0 | 1 => {
                        let number = timers.number();
                        let (at, count) = (Tick(now.0 + draw(40_000)), Arc::new(Count(AtomicU64::new(0))));
                        timers.set(number, at, &Waker::from(count.clone()));
                        assert!(waiting.insert(number, (at, count)).is_none(), "seed {seed}: {number} given twice");
                    }
                    2 => {
                        if let Some(number) = waiting.keys().min().copied() {
                            match draw(2) {
                                0 => {
                                    timers.forget(number);
                                    waiting.remove(&number);
                                }
                                _ => {
                                    let at = Tick(now.0 + draw(40_000));
                                    let (due, count) = waiting.get_mut(&number).unwrap();
                                    timers.set(number, at, &Waker::from(count.clone()));
                                    *due = at;
                                }
                            }
                        }
                    }
                    _ => now = Tick(now.0 + draw(9_000)),
                }
                let next = timers.next();
                let earliest = waiting.values().map(|(at, _)| at.0).min();
                assert!(next.map(|next| next.0) <= earliest.map(|at| at + GRAIN), "seed {seed}: {next:?} is late");
                while let Some(waker) = timers.due(now) {
                    waker.wake();
                }
                waiting.retain(|number, (at, count)| {
                    let woken = count.0.load(Ordering::Relaxed);
                    assert!(woken == 0 || *at <= now && woken == 1, "seed {seed}: {number} at {now:?}");
                    assert!(woken == 1 || at.0 + GRAIN > now.0, "seed {seed}: {number} at {now:?} is late");
                    if woken == 1 {
                        timers.forget(*number);
                    }
                    woken == 0
                });
            }
        }
    }
}
