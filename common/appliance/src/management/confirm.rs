//! Commit-confirm: what was changed stays only if somebody says so in time. Pure; the desk writes
//! and the machine obeys.

use crate::store::Number;
use fairlead_core::clock::Tick;
use std::time::Duration;

/// A version that is in force for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    pub number: Number,
    /// What is served again when nobody confirms; `None` is what a machine without a configuration does.
    pub back_to: Option<Number>,
    pub until: Tick,
    pub window: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// What is served is what a restart serves.
    #[default]
    Settled,
    Waiting(Trial),
}

impl Confirm {
    /// `number` is in force from `now` and has this long to be confirmed. One that is tried while
    /// another waits takes its place: what nobody confirmed is never gone back to.
    pub fn begin(&mut self, number: Number, settled: Option<Number>, window: Duration, now: Tick) {
        let back_to = self.trial().map_or(settled, |waiting| waiting.back_to);
        *self = Confirm::Waiting(Trial { number, back_to, until: now.after(window), window });
    }

    pub fn trial(&self) -> Option<Trial> {
        match self {
            Confirm::Settled => None,
            Confirm::Waiting(trial) => Some(*trial),
        }
    }

    /// The trial that is over, for good or because another version was settled on.
    pub fn end(&mut self) -> Option<Trial> {
        let trial = self.trial();
        *self = Confirm::Settled;
        trial
    }

    /// The trial whose time has run out, once.
    pub fn expire(&mut self, now: Tick) -> Option<Trial> {
        self.trial().filter(|trial| trial.until <= now)?;
        self.end()
    }
}

/// As people write it: `5m`, `90s`, `1m30s`.
pub fn words(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_nobody_confirms_ends_once_and_on_time() {
        let mut confirm = Confirm::default();
        assert_eq!(confirm.expire(Tick(u64::MAX)), None);
        confirm.begin(Number(7), Some(Number(6)), MINUTE, Tick(1000));
        assert_eq!(confirm.expire(Tick(60_999)), None);
        let trial = confirm.expire(Tick(61_000)).unwrap();
        assert_eq!((trial.number, trial.back_to), (Number(7), Some(Number(6))));
        assert_eq!(confirm.expire(Tick(61_000)), None);
    }

    #[test]
    fn what_is_confirmed_stays() {
        let mut confirm = Confirm::default();
        confirm.begin(Number(7), None, MINUTE, Tick(0));
        assert_eq!(confirm.end().unwrap().number, Number(7));
        assert_eq!((confirm.expire(Tick(u64::MAX)), confirm.end()), (None, None));
    }

    /// Whatever is begun, confirmed and waited for: what is gone back to was confirmed, always.
    #[test]
    fn only_what_was_confirmed_is_gone_back_to() {
        for seed in 0..256_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let (mut confirm, mut settled, mut now) = (Confirm::default(), None, Tick(0));
            for number in 1..200 {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                now = now.after(Duration::from_secs(dice % 50));
                match dice >> 32 & 3 {
                    0 => settled = confirm.end().map(|trial| trial.number).or(settled),
                    1 => {
                        let over = confirm.expire(now);
                        assert!(over.is_none_or(|trial| trial.back_to == settled && trial.until <= now), "seed {seed}");
                    }
                    _ => confirm.begin(Number(number), settled, MINUTE, now),
                }
                assert!(confirm.trial().is_none_or(|trial| trial.back_to == settled), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_window_is_written_as_people_do() {
        let texts = [30, 60, 90, 300].map(|seconds| words(Duration::from_secs(seconds)));
        assert_eq!(texts, ["30s", "1m", "1m30s", "5m"]);
    }
}
