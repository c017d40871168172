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
    /// A wait that was asked for and whose clock has not been read yet: the next poll reads it.
    wait: Option<Duration>,
    armed: Tick,
    sleep: Option<Pin<Box<Sleep>>>,
}

const NEVER: Tick = Tick(u64::MAX);

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline { at: NEVER, wait: None, armed: NEVER, sleep: None }
    }
}

impl Deadline {
    /// `timeout` counts from the next poll. Costs a store.
    pub fn set(&mut self, timeout: Duration) {
        self.wait = Some(timeout);
    }

    pub fn clear(&mut self) {
        self.wait = None;
        self.at = NEVER;
    }

    pub fn is_set(&self) -> bool {
        self.wait.is_some() || self.at != NEVER
    }

    /// Ready when the deadline has passed. Poll it in every poll of the task that waits.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Timeout> {
        if self.at == NEVER && self.wait.is_none() {
            return Poll::Pending;
        }
        let now = tick();
        if let Some(wait) = self.wait.take() {
            self.at = now.after(wait);
        }
        if now >= self.at {
            return Poll::Ready(Timeout);
        }
        // A timer that fires no later than we need, and has not fired: nothing to do.
        let running = self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed());
        if running && self.armed <= self.at {
            return Poll::Pending;
        }
        self.arm(now, cx);
        Poll::Pending
    }

    fn arm(&mut self, now: Tick, cx: &mut Context<'_>) {
        // `tick` lags the timer's clock by up to a kernel tick; firing early only arms it again.
        let until = tokio::time::Instant::now() + self.at.since(now);
        self.armed = self.at;
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(until);
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(until))),
        };
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(flavor = "current_thread")]
    async fn fires_once_its_time_has_come_however_often_it_moves() {
        let mut deadline = Deadline::default();
        let start = tick();
        deadline.set(Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
        deadline.set(Duration::from_millis(20));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
        deadline.set(Duration::from_millis(60));
        assert_eq!(poll_fn(|cx| deadline.poll(cx)).await, Timeout);
        assert!(tick().since(start) >= Duration::from_millis(60));
    }
}
