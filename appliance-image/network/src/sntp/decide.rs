//! What to do with the clock, out of what several servers say: who is believed, whether the clock
//! steps or is led, when to ask again. Pure; nobody's clock is read here.

use crate::sntp::packet::Sample;
use fairlead_core::clock::Tick;
use std::time::Duration;

/// More than this is no drift but a wrong clock: it steps.
const STEP: i64 = 128_000_000;
/// What answers may differ by beside half their delays: clocks of servers differ a little.
const SLACK: i64 = 10_000_000;
/// Between rounds, in seconds, from a clock that is not trusted to one that is.
const SHORTEST: u64 = 64;
const LONGEST: u64 = 1024;
/// Nobody answered: again soon, then less so.
const FIRST_RETRY: u64 = 2;
/// The clock is steady below this, and unsteady above four times of it.
const STEADY: i64 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// At once, by so many nanoseconds.
    Step(i64),
    /// Bit by bit, so that no time is left out or comes twice. The next look is after `interval`.
    Lead { offset: i64, interval: Duration },
}

/// What is thought of the clock.
#[derive(Clone, Debug)]
pub struct Judge {
    interval: u64,
    retry: u64,
    /// The clock was right once.
    set: bool,
    /// A step was wanted a round ago: the servers may have meant it.
    doubt: Option<i64>,
}

impl Default for Judge {
    fn default() -> Judge {
        Judge { interval: SHORTEST, retry: FIRST_RETRY, set: false, doubt: None }
    }
}

/// A round judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub adjust: Option<Adjust>,
    /// Place of the sample that was believed.
    pub believed: Option<usize>,
    pub next: Tick,
}

impl Judge {
    /// After each server was asked once: `samples` are the answers.
    pub fn judge(&mut self, samples: &[Sample], now: Tick) -> Verdict {
        let Some(best) = believed(samples) else {
            let next = now.after(Duration::from_secs(self.retry));
            self.retry = (self.retry * 2).min(if self.set { LONGEST } else { SHORTEST });
            return Verdict { adjust: None, believed: None, next };
        };
        self.retry = FIRST_RETRY;
        let offset = samples.get(best).map_or(0, |sample| sample.offset);
        let adjust = self.adjust(offset);
        let wait = match adjust {
            // In doubt, they are asked again before anything is done.
            None => FIRST_RETRY * 2,
            _ => self.interval,
        };
        Verdict { adjust, believed: Some(best), next: now.after(Duration::from_secs(wait)) }
    }

    fn adjust(&mut self, offset: i64) -> Option<Adjust> {
        if offset.saturating_abs() > STEP {
            self.interval = SHORTEST;
            // A clock that was right does not jump because one round says so.
            let sure = !self.set || self.doubt.is_some_and(|before| before.abs_diff(offset) < STEP.unsigned_abs());
            if !sure {
                self.doubt = Some(offset);
                return None;
            }
            (self.set, self.doubt) = (true, None);
            return Some(Adjust::Step(offset));
        }
        (self.set, self.doubt) = (true, None);
        if offset.abs() < STEADY {
            self.interval = (self.interval * 2).min(LONGEST);
        } else if offset.abs() > STEADY * 4 {
            self.interval = (self.interval / 2).max(SHORTEST);
        }
        Some(Adjust::Lead { offset, interval: Duration::from_secs(self.interval) })
    }
}

/// The answer that agrees with most others; of several such, the one that can be least wrong. One
/// that the majority of those who answered does not share is not believed.
fn believed(samples: &[Sample]) -> Option<usize> {
    let half = |sample: &Sample| sample.delay / 2 + sample.distance + SLACK;
    let agree = |one: &Sample, other: &Sample| {
        let apart = i64::try_from(one.offset.abs_diff(other.offset)).unwrap_or(i64::MAX);
        apart <= half(one).saturating_add(half(other))
    };
    let supporters = |one: &Sample| samples.iter().filter(|other| agree(one, other)).count();
    let places = samples.iter().enumerate();
    let best = places.max_by_key(|(_, sample)| (supporters(sample), -(sample.delay + sample.distance)))?;
    (supporters(best.1) * 2 > samples.len()).then_some(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    const MS: i64 = 1_000_000;

    fn sample(offset: i64, delay: i64) -> Sample {
        Sample { offset, delay, distance: 0, at: Tick(0) }
    }

    #[test]
    fn a_majority_is_believed_and_the_nearest_of_it() {
        let liar = sample(3_600_000 * MS, MS);
        let all = [liar, sample(5 * MS, 40 * MS), sample(7 * MS, 10 * MS), sample(-MS, 30 * MS)];
        assert_eq!(believed(&all), Some(2));
        assert_eq!(believed(&all[..2]), None, "one against one");
        assert_eq!(believed(&all[..1]), Some(0));
        assert_eq!(believed(&[]), None);
    }

    #[test]
    fn the_clock_steps_at_first_and_is_led_after_that() {
        let mut judge = Judge::default();
        let first = judge.judge(&[sample(50_000 * MS, MS)], Tick(0));
        assert_eq!(first.adjust, Some(Adjust::Step(50_000 * MS)));
        let second = judge.judge(&[sample(2 * MS, MS)], Tick(0));
        assert!(matches!(second.adjust, Some(Adjust::Lead { offset, .. }) if offset == 2 * MS));
        // A round that says something wild is asked again, and done when it stays with it.
        let wild = judge.judge(&[sample(9_000 * MS, MS)], Tick(0));
        assert_eq!((wild.adjust, wild.next), (None, Tick(4_000)));
        assert!(judge.clone().judge(&[sample(MS, MS)], Tick(0)).adjust.is_some());
        let again = judge.judge(&[sample(9_001 * MS, MS)], Tick(0));
        assert_eq!(again.adjust, Some(Adjust::Step(9_001 * MS)));
    }

    #[test]
    fn a_steady_clock_is_asked_about_less_and_nobody_is_asked_in_a_loop() {
        let mut judge = Judge::default();
        let next = |judge: &mut Judge, samples: &[Sample]| judge.judge(samples, Tick(0)).next.0 / 1000;
        assert_eq!([2, 4, 8, 16, 32, 64, 64], [(); 7].map(|()| next(&mut judge, &[])));
        assert_eq!([128, 256, 512, 1024, 1024], [(); 5].map(|()| next(&mut judge, &[sample(MS, MS)])));
        assert_eq!(next(&mut judge, &[sample(100 * MS, MS)]), 512);
    }

    /// A clock that drifts and was wrong, three servers of which one may lie, a way that wobbles.
    #[test]
    fn a_drifting_clock_is_brought_to_the_time_and_held() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let mut judge = Judge::default();
            let (mut error, drift) = (dice.roll(2_000_000) as i64 * MS - 1_000_000 * MS, dice.roll(100) as i64 - 50);
            let liar = dice.roll(4) as usize;
            let (mut now, mut steps) = (0, 0);
            for round in 0..200 {
                let samples: Vec<Sample> = (0..3_usize)
                    .filter_map(|server| {
                        let (there, back) = (dice.roll(20) as i64 * MS, dice.roll(20) as i64 * MS);
                        let lie = if server == liar { 7_000 * MS } else { 0 };
                        let lost = dice.roll(10) == 0 && server != (liar + 1) % 3;
                        (!lost).then(|| sample(-error + (there - back) / 2 + lie, there + back))
                    })
                    .collect();
                let verdict = judge.judge(&samples, Tick(now));
                match verdict.adjust {
                    Some(Adjust::Step(by)) => (error, steps) = (error + by, steps + 1),
                    Some(Adjust::Lead { offset, .. }) => error += offset,
                    None => {}
                }
                let passed = verdict.next.0 - now;
                (now, error) = (verdict.next.0, error + passed as i64 * drift);
                let bound = 20 * MS + 1_200 * 1000 * 50;
                assert!(round < 8 || error.abs() < bound, "seed {seed}, round {round}: off by {} ms", error / MS);
            }
            assert!(steps <= 2, "seed {seed}: {steps} steps");
            assert!(now > 100 * 200_000, "seed {seed}: asked too often");
        }
    }
}
