//! A timeout that costs a store to move: the timer behind it is only touched
//! when it fires or when the deadline comes nearer than it.

use crate::clock::{Tick, tick};
use crate::net::reactor::Timer;
use std::task::{Context, Poll};
use std::time::Duration;

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout;

/// One per connection, moved for each step of its life.
pub struct Deadline {
    at: Tick,
    /// A wait that was asked for and whose clock has not been read yet: the next poll reads it.
    wait: Option<Duration>,
    armed: Tick,
    timer: Option<Timer>,
}

const NEVER: Tick = Tick(u64::MAX);

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline { at: NEVER, wait: None, armed: NEVER, timer: None }
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
        if self.timer.is_none() || self.armed <= now || self.armed > self.at {
            self.arm(cx);
        }
        Poll::Pending
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        if self.timer.is_none() {
            self.timer = Timer::new();
        }
        if let Some(timer) = &self.timer {
            timer.set(self.at, cx);
            self.armed = self.at;
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
