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
    due: Due,
    armed: Tick,
    timer: Option<Timer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Never,
    /// So many milliseconds from the next poll on, which reads the clock.
    In(u64),
    At(Tick),
}

const NEVER: Tick = Tick(u64::MAX);

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline { due: Due::Never, armed: NEVER, timer: None }
    }
}

impl Deadline {
    /// `timeout` counts from the next poll. Costs a store.
    pub fn set(&mut self, timeout: Duration) {
        self.due = Due::In(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }

    pub fn clear(&mut self) {
        self.due = Due::Never;
    }

    pub fn is_set(&self) -> bool {
        self.due != Due::Never
    }

    /// Ready when the deadline has passed. Poll it in every poll of the task that waits.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Timeout> {
        let (now, at) = match self.due {
            Due::Never => return Poll::Pending,
            Due::In(wait) => {
                let now = tick();
                let at = Tick(now.0.saturating_add(wait));
                self.due = Due::At(at);
                (now, at)
            }
            Due::At(at) => (tick(), at),
        };
        if now >= at {
            return Poll::Ready(Timeout);
        }
        // A timer that fires no later than we need, and has not fired: nothing to do.
        if self.timer.is_none() || self.armed <= now || self.armed > at {
            self.arm(at, cx);
        }
        Poll::Pending
    }

    fn arm(&mut self, at: Tick, cx: &mut Context<'_>) {
        if self.timer.is_none() {
            self.timer = Timer::new();
        }
        if let Some(timer) = &self.timer {
            timer.set(at, cx);
            self.armed = at;
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
