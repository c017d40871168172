//! How long a peer takes: the averages that `least_time` compares, and the age
//! of what is under way.
//!
//! Part of a peer's [`crate::upstream::State`], so all workers write to it and
//! reloads keep it. Atomics only: two workers that add a time at once may lose
//! neither. Written through a [`crate::upstream::Lease`].

use crate::clock::Tick;
use crate::upstream::Metric;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Times closer than this are alike, and go by turns.
const STEP: u64 = 20;
/// Peers that take five seconds or longer are equally bad.
const MOST_STEPS: u64 = 250;

#[derive(Debug, Default)]
pub struct Times {
    connect: Average,
    first_byte: Average,
    last_byte: Average,
    running: Running,
}

impl Times {
    /// The average in milliseconds; 0 while nothing is known.
    pub fn average(&self, metric: Metric) -> u64 {
        self.of(metric).millis()
    }

    /// Counts a time that was known at `at`: a twentieth, and the more the longer ago the one before
    /// it was, whose share halves for each `period` (milliseconds). So one bad time does not outlive
    /// the next one by much.
    pub(super) fn add(&self, metric: Metric, took: Duration, at: Tick, period: u64) {
        let average = self.of(metric);
        let before = Tick(average.at.fetch_max(at.0, Ordering::Relaxed));
        average.add(took, halvings(at.since(before), period));
    }

    /// When the last time was counted.
    pub(super) fn sampled(&self, metric: Metric) -> Tick {
        Tick(self.of(metric).at.load(Ordering::Relaxed))
    }

    /// A use begins that is not as far yet as `least_time` looks.
    pub(super) fn enter(&self, at: Tick) {
        self.running.0.fetch_add(Running::one(at), Ordering::Relaxed);
    }

    /// It has come so far, or has ended. `at` is when it began.
    pub(super) fn leave(&self, at: Tick) {
        self.running.0.fetch_sub(Running::one(at), Ordering::Relaxed);
    }

    /// The average, halved so many times, in steps of [`STEP`] from 1 on. With `running_at` the mean
    /// age at that tick of what is under way, if that is more.
    pub(super) fn steps(&self, metric: Metric, halvings: u64, running_at: Option<Tick>) -> u32 {
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        let average = self.average(metric).checked_shr(halvings).unwrap_or(0);
        let age = running_at.map_or(0, |now| self.running.mean_age(now));
        (average.max(age) / STEP + 1).min(MOST_STEPS) as u32
    }

    fn of(&self, metric: Metric) -> &Average {
        match metric {
            Metric::Connect => &self.connect,
            Metric::FirstByte => &self.first_byte,
            Metric::LastByte => &self.last_byte,
        }
    }
}

/// How often what is known of a peer has halved that was not heard of for `idle`.
pub(super) fn halvings(idle: Duration, period: u64) -> u64 {
    let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    if idle > period { idle / period.saturating_add(1) } else { 0 }
}

/// A moving average.
#[derive(Debug, Default)]
struct Average {
    /// In 1024ths of a millisecond, 0 for none.
    value: AtomicU64,
    /// Tick of the last time in it.
    at: AtomicU64,
}

impl Average {
    const FINENESS: u64 = 1024;

    fn add(&self, took: Duration, halvings: u64) {
        let millis = took.as_millis().min(1 << 40) as u64;
        let new = (millis * Average::FINENESS).max(1);
        // The old one has 19 parts of so many; after forty halvings nothing that could be seen.
        let parts = 20_u128 << halvings.min(40);
        let blended = |old: u64| (u128::from(old) * 19 + u128::from(new) * (parts - 19)) / parts;
        let blend = |old: u64| Some(if old == 0 { new } else { u64::try_from(blended(old)).unwrap_or(new).max(1) });
        // `blend` never declines.
        let _ = self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, blend);
    }

    fn millis(&self) -> u64 {
        self.value.load(Ordering::Relaxed) / Average::FINENESS
    }
}

/// How many uses are under way (the low bits) and the sum of the steps in which they began (the
/// others, which may wrap: only differences are looked at). One word, so that the two agree.
#[derive(Debug, Default)]
struct Running(AtomicU64);

impl Running {
    const COUNT_BITS: u32 = 20;
    const SUM_BITS: u32 = 64 - Running::COUNT_BITS;

    fn one(at: Tick) -> u64 {
        ((at.0 / STEP) << Running::COUNT_BITS) + 1
    }

    /// Milliseconds.
    fn mean_age(&self, now: Tick) -> u64 {
        let packed = self.0.load(Ordering::Relaxed);
        let count = packed & ((1 << Running::COUNT_BITS) - 1);
        let all_now = count.wrapping_mul(now.0 / STEP);
        let ages = all_now.wrapping_sub(packed >> Running::COUNT_BITS) & ((1 << Running::SUM_BITS) - 1);
        // What another worker began a moment after this `now`.
        let negative = ages >> (Running::SUM_BITS - 1) == 1;
        if negative { 0 } else { ages.checked_div(count).unwrap_or(0).saturating_mul(STEP) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_time_counts_the_more_the_older_the_last_one_is() {
        for (later, expected) in [(9_000, 4_750), (11_000, 2_375), (21_000, 1_187), (1_000_000, 0), (u64::MAX - 1, 0)] {
            let times = Times::default();
            times.add(Metric::Connect, millis(5_000), Tick(1), 10_000);
            times.add(Metric::Connect, millis(0), Tick(1 + later), 10_000);
            assert_eq!(times.average(Metric::Connect), expected, "after {later} ms");
        }
    }

    #[test]
    fn the_first_time_counts_whole_and_each_later_one_a_twentieth() {
        let times = Times::default();
        assert_eq!(times.average(Metric::Connect), 0);
        times.add(Metric::Connect, millis(100), Tick(1), 10_000);
        assert_eq!(times.average(Metric::Connect), 100);
        times.add(Metric::Connect, millis(500), Tick(1), 10_000);
        assert_eq!(times.average(Metric::Connect), 120);
        for _ in 0..400 {
            times.add(Metric::Connect, millis(7), Tick(1), 10_000);
        }
        assert_eq!(times.average(Metric::Connect), 7, "small times do not get stuck above");
        assert_eq!(times.average(Metric::LastByte), 0);
        times.add(Metric::LastByte, Duration::MAX, Tick(1), 10_000);
        assert_eq!(times.steps(Metric::LastByte, 0, None), 250);
    }

    #[test]
    fn times_count_in_steps_of_20_ms_and_halve() {
        for (took, halvings, steps) in [(0, 0, 1), (19, 0, 1), (20, 0, 2), (400, 0, 21), (400, 1, 11), (400, 64, 1)] {
            let times = Times::default();
            times.add(Metric::FirstByte, millis(took), Tick(1), 10_000);
            assert_eq!(times.steps(Metric::FirstByte, halvings, None), steps, "{took} ms halved {halvings} times");
        }
    }

    #[test]
    fn the_mean_age_is_that_of_a_plain_list() {
        for seed in 0..256_u64 {
            let (times, mut list, mut now) = (Times::default(), Vec::new(), 1_000_000 + seed * 77_777_777_777);
            let mut dice = seed;
            for step in 0..400 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                now += dice >> 56;
                if dice >> 40 & 3 == 0 && !list.is_empty() {
                    let began: u64 = list.swap_remove((dice >> 20) as usize % list.len());
                    times.leave(Tick(began));
                } else {
                    list.push(now);
                    times.enter(Tick(now));
                }
                let ages: u64 = list.iter().map(|began| now / STEP - began / STEP).sum();
                let mean = ages / list.len().max(1) as u64 * STEP;
                assert_eq!(times.running.mean_age(Tick(now)), mean, "seed {seed}, step {step}");
            }
            // A worker whose clock was read a moment before the uses began.
            let behind = list.iter().min().map_or(0, |first| first - STEP);
            assert_eq!(times.running.mean_age(Tick(behind)), 0, "seed {seed}");
        }
    }
}
