//! `proxy_upload_rate` and `proxy_download_rate` of datagrams: whether the next
//! one of a session may pass, or when. Pure: time is an argument.
//!
//! As in nginx a datagram is never cut, is paid for by a rest as long as its
//! bytes take at the rate, and of the whole session no more passes than the rate
//! gives for every second begun, the first datagram included, which never waits.
//! Unlike in nginx the rest may be owed for an eighth of a second: a client that
//! sends a few small datagrams at once, on average below its rate, loses none.
//! Called by the session, which drops what comes from a client in a rest; what
//! comes from a peer waits in its socket.

use crate::record::Record;
use fairlead_core::clock::Tick;
use fairlead_core::net::Rate;
use std::time::Duration;

/// How much of a rest may be owed.
const CREDIT: Duration = Duration::from_millis(125);

/// The longest a datagram can be.
const LONGEST: u64 = 64 * 1024;

/// The rates of one session; a session without any has no pace.
pub(crate) struct Pace {
    pub upload: Option<Way>,
    pub download: Option<Way>,
}

/// One direction.
pub(crate) struct Way {
    rate: Rate,
    /// Bytes that have passed since the session got its peer.
    passed: u64,
    /// When all of them are paid for, since tick 0.
    paid: Duration,
}

impl Pace {
    /// Of a session that has just got its peer.
    pub fn of(record: &Record, now: Tick) -> Option<Box<Pace>> {
        let limits = record.entry.server.rates.limits(record, now);
        let way = |rate: Option<Rate>| rate.map(Way::new);
        let pace = Pace { upload: way(limits.to_peer), download: way(limits.to_client) };
        (pace.upload.is_some() || pace.download.is_some()).then(|| Box::new(pace))
    }

    /// When neither direction rests any more.
    pub fn rested(&self) -> Tick {
        let ways = [&self.upload, &self.download].into_iter().flatten();
        ways.map(Way::rested).max().unwrap_or(Tick(0))
    }
}

impl Way {
    fn new(rate: Rate) -> Way {
        Way { rate, passed: 0, paid: Duration::ZERO }
    }

    /// Whether a datagram of the client may pass; it is counted if so, and lost if not.
    pub fn lets_pass(&mut self, bytes: usize, now: Tick) -> bool {
        let owed = self.owed(now);
        let fits = owed.is_zero() || owed + self.time(bytes as u64) <= CREDIT;
        let passes = fits && self.is_granted(now);
        if passes {
            self.took(bytes as u64, now);
        }
        passes
    }

    /// How many datagrams may be read from the peer at once, `most` at most.
    ///
    /// # Errors
    /// None yet: when to come back.
    pub fn appetite(&mut self, most: usize, now: Tick) -> Result<usize, Tick> {
        let owed = self.owed(now);
        if owed > CREDIT {
            // Half of it is left to owe then: a session comes back a dozen times a second at most.
            return Err(later(now, owed - CREDIT / 2));
        }
        if !self.is_granted(now) {
            return Err(self.rested());
        }
        let least = self.rate.limit.saturating_mul((CREDIT - owed).as_millis() as u64) / 1000 / LONGEST;
        Ok(usize::try_from(least).unwrap_or(most).saturating_add(1).min(most))
    }

    /// So many bytes have passed.
    pub fn took(&mut self, bytes: u64, now: Tick) {
        self.passed = self.passed.saturating_add(bytes);
        self.paid = self.paid.max(since_zero(now)).saturating_add(self.time(bytes));
    }

    /// What every second begun grants is not used up; it is waited for if it is.
    fn is_granted(&mut self, now: Tick) -> bool {
        match self.rate.allowance(self.passed, now) {
            Ok(_) => true,
            Err(wait) => {
                self.paid = self.paid.max(since_zero(now).saturating_add(wait));
                false
            }
        }
    }

    fn owed(&self, now: Tick) -> Duration {
        self.paid.saturating_sub(since_zero(now))
    }

    fn rested(&self) -> Tick {
        later(Tick(0), self.paid)
    }

    fn time(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.rate.limit.max(1))
    }
}

fn since_zero(now: Tick) -> Duration {
    Duration::from_millis(now.0)
}

/// After `now`, and never before `wait` is over.
fn later(now: Tick, wait: Duration) -> Tick {
    now.after(wait + Duration::from_micros(999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    const START: Tick = Tick(10_000);

    /// A session that began with a datagram of `before` bytes.
    fn begun(limit: u64, before: u64) -> Way {
        Way::new(Rate { limit, since: START, before })
    }

    fn after(milliseconds: u64) -> Tick {
        Tick(START.0 + milliseconds)
    }

    #[test]
    fn a_datagram_as_long_as_an_eighth_of_a_second_is_followed_by_a_rest() {
        let mut way = begun(1000, 100);
        assert!(way.lets_pass(200, START), "the first rest is after this one");
        assert!(!way.lets_pass(200, START));
        assert!(!way.lets_pass(200, after(199)));
        assert!(way.lets_pass(200, after(200)));
        assert_eq!(way.rested(), after(400));
    }

    #[test]
    fn small_ones_may_come_at_once() {
        let mut way = begun(10_000, 100);
        let passed = (0..100).filter(|_| way.lets_pass(100, START)).count();
        assert_eq!(passed, 12, "an eighth of 10,000 bytes");
        assert!(way.lets_pass(100, after(10)), "and one for each rest that is over");
        assert!(!way.lets_pass(100, after(10)));
    }

    #[test]
    fn the_first_datagram_counts_by_the_second() {
        let mut way = begun(1000, 3000);
        assert!(!way.lets_pass(100, after(500)));
        assert!(!way.lets_pass(100, after(2499)));
        assert!(way.lets_pass(100, after(3000)), "4000 bytes are granted");
    }

    #[test]
    fn a_peer_is_read_again_when_half_an_eighth_is_owed() {
        let mut way = begun(1000, 0);
        assert_eq!(way.appetite(8, START), Ok(1));
        way.took(500, START);
        let Err(again) = way.appetite(8, START) else { panic!("rests") };
        assert_eq!(again, after(438));
        assert_eq!(way.appetite(8, again), Ok(1));
        assert_eq!(begun(1 << 40, 0).appetite(8, START), Ok(8), "what is fast is read by the batch");
    }

    #[test]
    fn any_numbers_will_do() {
        for limit in [1, u64::MAX] {
            for now in [Tick(0), START, Tick(u64::MAX)] {
                let mut way = begun(limit, u64::MAX);
                way.took(u64::MAX, now);
                way.lets_pass(usize::MAX, now);
                let _ = (way.appetite(usize::MAX, now), way.rested());
            }
        }
    }

    /// Whatever comes, at most the rate passes, an eighth of a second and one datagram aside, and of what
    /// comes faster than the rate no less than two thirds of it.
    #[test]
    fn over_time_the_rate_is_kept() {
        for seed in 0..256_u64 {
            let mut dice = Dice::new(seed);
            let mut next = move |below: u64| dice.roll(below);
            let limit = 20_000 + next(1 << 20);
            let longest = (limit / 40 + next(limit / 10)).min(LONGEST);
            let (mut up, mut down) = (begun(limit, 0), begun(limit, 0));
            let (mut sent, mut read, mut wake) = (0, 0, START);
            for ms in 0..10_000 {
                // Twice as much as may pass, in bursts.
                let mut burst = if ms % 10 == 0 { limit / 50 } else { 0 };
                while burst > 0 {
                    let bytes = (1 + next(longest)).min(burst);
                    burst -= bytes;
                    sent += if up.lets_pass(bytes as usize, after(ms)) { bytes } else { 0 };
                }
                while after(ms) >= wake {
                    match down.appetite(8, after(ms)) {
                        Err(again) => {
                            assert!(again > after(ms), "seed {seed}: comes back at once");
                            // The wheel is late by less than a grain.
                            wake = again.after(Duration::from_millis(next(16)));
                        }
                        Ok(most) => (0..most).for_each(|_| {
                            let bytes = 1 + next(longest);
                            down.took(bytes, after(ms));
                            read += bytes;
                        }),
                    }
                }
            }
            for (bytes, least) in [(sent, limit * 20 / 3), (read, limit * 98 / 10)] {
                let most = limit * 10 + limit / 8 + LONGEST;
                assert!((least..=most).contains(&bytes), "seed {seed}: {bytes} of {limit} a second");
            }
        }
    }
}
