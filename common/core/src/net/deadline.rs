//! A timeout that costs a store to move: the timer behind it is only touched
//! when it fires or when the deadline comes nearer than it.

use crate::clock::{Tick, tick};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout;

/// One per connection, moved for each step of its life.
pub struct Deadline {
    at: Tick,
    armed: Tick,
    sleep: Option<Pin<Box<Sleep>>>,
}

const NEVER: Tick = Tick(u64::MAX);

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline { at: NEVER, armed: NEVER, sleep: None }
    }
}

impl Deadline {
    pub fn set(&mut self, timeout: Duration) {
        self.at = tick().after(timeout);
    }

    pub fn clear(&mut self) {
        self.at = NEVER;
    }

    /// Ready when the deadline has passed. Poll it in every poll of the task that waits.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Timeout> {
        if self.at == NEVER {
            return Poll::Pending;
        }
        let now = tick();
        if now >= self.at {
            return Poll::Ready(Timeout);
        }
        // A timer that fires no later than we need, and has not fired: nothing to do.
        if self.armed > now && self.armed <= self.at {
            return Poll::Pending;
        }
        self.arm(now, cx);
        Poll::Pending
    }

    fn arm(&mut self, now: Tick, cx: &mut Context<'_>) {
        // One millisecond over: the timer's clock is finer than `tick`'s.
        let wait = self.at.since(now) + Duration::from_millis(1);
        self.armed = now.after(wait);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                let until = sleep.deadline().max(tokio::time::Instant::now());
                let _ = until;
                sleep.as_mut().reset(tokio::time::Instant::now() + wait);
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep(wait))),
        };
        // Just armed for the future: polling it registers the task and cannot be ready.
        let _ = sleep.as_mut().poll(cx);
    }
}
