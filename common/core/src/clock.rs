//! The one place that reads clocks. Everything below the edge takes a [`Tick`].
//!
//! `tick` is the kernel's coarse monotonic clock: a few nanoseconds a call, as
//! fine as the kernel's timer (1 to 4 ms), which is what nginx logs too.

use std::cell::RefCell;
use std::time::Duration;

mod local;
pub mod wheel;

pub use local::{
    local_offset, push_time_error, push_time_iso8601, push_time_iso8601_ms, push_time_local, push_time_syslog,
};

/// Milliseconds on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    pub fn after(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Zero when `earlier` is later.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Now, on the coarse monotonic clock.
pub fn tick() -> Tick {
    let time = read(libc::CLOCK_MONOTONIC_COARSE);
    Tick(millis(time))
}

/// Milliseconds since 1970.
pub fn unix_millis() -> u64 {
    millis(read(libc::CLOCK_REALTIME_COARSE))
}

fn millis(time: libc::timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}

#[allow(unsafe_code)]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the kernel to fill, and the clock ids are constants
    // every Linux since 2.6.32 knows, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}

thread_local! {
    static DATE: RefCell<(u64, [u8; 29])> = const { RefCell::new((u64::MAX, [0; 29])) };
}

/// Appends the time of an HTTP `Date` header (RFC 9110 section 5.6.7), formatted once a second.
pub fn push_http_date(out: &mut Vec<u8>) {
    let seconds = unix_millis() / 1000;
    DATE.with_borrow_mut(|(at, text)| {
        if *at != seconds {
            *at = seconds;
            *text = http_date(seconds);
        }
        out.extend_from_slice(text);
    });
}

/// The HTTP date of `seconds` since 1970 (RFC 9110 section 5.6.7), which has no years of five digits.
///
/// By hand: it is written for each file that is served, and the general formatter costs more than all else
/// of such a head.
pub fn http_date(seconds: u64) -> [u8; 29] {
    const DAYS: [[u8; 3]; 7] = [*b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed"];
    const MONTHS: [[u8; 3]; 12] =
        [*b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct", *b"Nov", *b"Dec"];
    let seconds = seconds.min(LAST_SECOND);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let [a, b, c] = *DAYS.get((days % 7) as usize).unwrap_or(&DAYS[0]);
    let [d, e, f] = *MONTHS.get(month as usize).unwrap_or(&MONTHS[0]);
    let two = |number: u64| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    let ([g, h], [i, j], [k, l]) = (two(day), two(year / 100), two(year));
    let ([m, n], [o, p], [q, r]) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
    [
        a, b, c, b',', b' ', g, h, b' ', d, e, f, b' ', i, j, k, l, b' ', m, n, b':', o, p, b':', q, r, b' ', b'G',
        b'M', b'T',
    ]
}

/// 23:59:59 on the last day of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// Year, month from 0 and day from 1 of the Gregorian calendar. Years are counted from March, so that the
/// day that comes and goes is the last of one.
fn date_of(days: u64) -> (u64, u64, u64) {
    // From 1 March of the year 0; an era has 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    (era * 400 + year + u64::from(month >= 10), (month + 2) % 12, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use std::time::UNIX_EPOCH;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let known = |seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        let ours = |seconds| String::from_utf8(http_date(seconds).to_vec()).unwrap();
        // Every day up to the year 2400, and any second at all.
        (0..157_000).for_each(|day| assert_eq!(ours(day * 86_400), known(day * 86_400)));
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let seconds = dice.roll(LAST_SECOND);
            assert_eq!(ours(seconds), known(seconds), "seed {seed}");
        }
        assert_eq!(ours(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_date_after_the_last_year_is_the_last_one() {
        for seconds in [LAST_SECOND, LAST_SECOND + 1, u64::MAX] {
            assert_eq!(&http_date(seconds), b"Fri, 31 Dec 9999 23:59:59 GMT");
        }
    }
}
