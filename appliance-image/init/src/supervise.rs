//! When `fairlead` is started again after it ended, and when a system on trial has proved bad. Pure:
//! time comes in, a verdict goes out.

use std::collections::VecDeque;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// It has recovered when it ran this long.
const STEADY: Duration = Duration::from_secs(60);
/// This many ends within [`WINDOW`] say that this system does not work.
const CRASHES: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// Milliseconds since boot.
pub type Now = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running {
        pid: u32,
        since: Now,
    },
    Waiting {
        until: Now,
    },
    /// The machine goes down, or somebody asked for it.
    Stopped,
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is started again after this.
    Again(Duration),
    /// It was on trial: the machine goes back to the system before.
    GiveUp,
    /// The end was wanted.
    Wanted,
}

#[derive(Debug)]
pub struct Supervisor {
    state: State,
    pause: Duration,
    ends: VecDeque<Now>,
    /// Ends since boot that nobody asked for.
    pub crashes: u64,
}

impl Supervisor {
    /// Wants to be started at once.
    pub fn new(now: Now) -> Supervisor {
        Supervisor { state: State::Waiting { until: now }, pause: FIRST_PAUSE, ends: VecDeque::new(), crashes: 0 }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn pid(&self) -> Option<u32> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Waiting { .. } | State::Stopped => None,
        }
    }

    /// Whether it is to be started now.
    pub fn is_due(&self, now: Now) -> bool {
        matches!(self.state, State::Waiting { until } if until <= now)
    }

    /// When to look again.
    pub fn next(&self) -> Option<Now> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Running { .. } | State::Stopped => None,
        }
    }

    pub fn started(&mut self, pid: u32, now: Now) {
        self.state = State::Running { pid, since: now };
    }

    /// No further start.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
    }

    /// Start soon, whatever happened before: a new configuration is there.
    pub fn hurry(&mut self, now: Now) {
        if let State::Waiting { .. } | State::Stopped = self.state {
            self.pause = FIRST_PAUSE;
            self.state = State::Waiting { until: now };
        }
    }

    /// It ended, or could not be started; `on_trial` says whether this system is not committed yet.
    pub fn ended(&mut self, now: Now, on_trial: bool) -> Verdict {
        let ran = match self.state {
            State::Running { since, .. } => now.saturating_sub(since),
            State::Waiting { .. } => 0,
            State::Stopped => return Verdict::Wanted,
        };
        self.crashes += 1;
        if ran >= millis(STEADY) {
            self.pause = FIRST_PAUSE;
        }
        self.ends.push_back(now);
        while self.ends.front().is_some_and(|&end| now.saturating_sub(end) > millis(WINDOW)) {
            self.ends.pop_front();
        }
        if on_trial && self.ends.len() >= CRASHES {
            self.state = State::Stopped;
            return Verdict::GiveUp;
        }
        // What crashes on a committed system crashes for ever if nobody changes something: a bounded
        // number of ends is kept.
        self.ends.truncate(CRASHES);
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        self.state = State::Waiting { until: now.saturating_add(millis(pause)) };
        Verdict::Again(pause)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_started_again_after_growing_pauses() {
        let mut one = Supervisor::new(0);
        let mut now = 0;
        let mut pauses = Vec::new();
        for pid in 1..9 {
            assert!(one.is_due(now));
            one.started(pid, now);
            now += 10;
            let Verdict::Again(pause) = one.ended(now, false) else { panic!("it goes on for ever") };
            assert!(!one.is_due(now));
            now += millis(pause);
            pauses.push(millis(pause));
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(one.crashes, 8);
    }

    #[test]
    fn a_minute_of_work_is_a_recovery() {
        let mut one = Supervisor::new(0);
        one.started(1, 0);
        one.ended(1, false);
        one.started(2, 101);
        assert_eq!(one.ended(61_000, false), Verdict::Again(FIRST_PAUSE));
    }

    #[test]
    fn five_ends_within_a_minute_condemn_a_system_on_trial_and_no_other() {
        for (every, on_trial, verdict) in [(10_000, true, true), (10_000, false, false), (20_000, true, false)] {
            let mut one = Supervisor::new(0);
            let mut last = Verdict::Wanted;
            for round in 1..=5 {
                one.started(round, u64::from(round) * every - 1);
                last = one.ended(u64::from(round) * every, on_trial);
            }
            assert_eq!(last == Verdict::GiveUp, verdict, "every {every} ms, on trial: {on_trial}");
        }
    }

    #[test]
    fn a_wanted_end_is_no_crash_and_a_new_configuration_starts_at_once() {
        let mut one = Supervisor::new(0);
        one.started(1, 0);
        one.stop();
        assert_eq!((one.ended(5, true), one.crashes, one.next()), (Verdict::Wanted, 0, None));
        one.hurry(7);
        assert!(one.is_due(7));
    }
}
