//! `proxy_upload_rate` and `proxy_download_rate`: when a direction may read
//! again, and how much. Pure: time is an argument.
//!
//! Two rules hold, as in nginx. After each read the direction rests for as long
//! as these bytes take at its rate; and of the whole session no more is read
//! than the rate gives for every second begun, the running one included.

use crate::clock::Tick;
use std::time::Duration;

/// A limit for one direction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second; 0 is no limit.
    pub limit: u64,
    /// Since when bytes are counted.
    pub since: Tick,
    /// Bytes that were read before the relay began, and count.
    pub before: u64,
}

impl Rate {
    /// Bytes that may be read now, the relay itself having read `read` so far.
    ///
    /// # Errors
    /// None yet: how long to wait.
    pub fn allowance(&self, read: u64, now: Tick) -> Result<u64, Duration> {
        let begun = now.since(self.since).as_secs().saturating_add(1);
        let granted = self.limit.saturating_mul(begun);
        let taken = self.before.saturating_add(read);
        match granted.checked_sub(taken) {
            Some(left @ 1..) => Ok(left),
            _ => Err(self.time(taken.saturating_sub(granted)) + Duration::from_millis(1)),
        }
    }

    /// How long to rest after a read of `count` bytes.
    pub fn rest(&self, count: u64) -> Duration {
        self.time(count)
    }

    /// Bytes worth reading at once: what an eighth of a second brings, so that a fast direction does not
    /// stop for every buffer and a slow one does not move in jolts.
    pub fn portion(&self) -> u64 {
        self.limit / 8
    }

    fn time(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.limit.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const RATE: Rate = Rate { limit: 1000, since: Tick(5000), before: 0 };

    #[test]
    fn every_second_begun_grants_its_bytes() {
        assert_eq!(RATE.allowance(0, Tick(5000)), Ok(1000));
        assert_eq!(RATE.allowance(999, Tick(5999)), Ok(1));
        assert_eq!(RATE.allowance(1000, Tick(5999)), Err(Duration::from_millis(1)));
        assert_eq!(RATE.allowance(1000, Tick(6000)), Ok(1000));
        assert_eq!(RATE.allowance(1500, Tick(5000)), Err(Duration::from_millis(501)));
    }

    #[test]
    fn bytes_read_before_the_relay_count() {
        let rate = Rate { before: 400, ..RATE };
        assert_eq!(rate.allowance(0, Tick(5000)), Ok(600));
        assert_eq!(rate.allowance(700, Tick(5000)), Err(Duration::from_millis(101)));
    }

    #[test]
    fn a_read_is_paid_for_in_time() {
        assert_eq!(RATE.rest(250), Duration::from_millis(250));
        assert_eq!(Rate { limit: 1 << 30, ..RATE }.rest(16384), Duration::ZERO);
        assert_eq!(Rate { limit: u64::MAX, ..RATE }.allowance(u64::MAX, Tick(u64::MAX)), Err(Duration::from_millis(1)));
    }

    /// Whatever the chunks, a session never gets more than its rate for every second begun, and with
    /// bytes at hand it gets all but one second's worth.
    #[test]
    fn over_time_the_rate_is_kept() {
        for seed in 0..256_u64 {
            let mut dice = Dice::new(seed);
            let mut next = move |below: u64| dice.roll(below);
            let rate = Rate { limit: 1 + next(1 << 20), since: Tick(next(10_000)), before: next(2000) };
            let (mut now, mut read) = (rate.since, 0);
            let end = rate.since.after(Duration::from_secs(10));
            while now < end {
                match rate.allowance(read, now) {
                    Ok(most) => {
                        let count = 1 + next(most.min(16 << 10));
                        read += count;
                        now = now.after(rate.rest(count));
                        now.0 += u64::from(rate.rest(count).is_zero() && next(8) == 0);
                    }
                    Err(wait) => now = now.after(wait),
                }
                let granted = rate.limit * (now.since(rate.since).as_secs() + 1);
                assert!(rate.before.min(granted) + read <= granted + rate.before, "seed {seed}: too fast");
            }
            assert!(read + rate.before + 2 * rate.limit >= rate.limit * 10 / 2, "seed {seed}: {read} is too slow");
        }
    }
}
