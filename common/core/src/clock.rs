//! The one place that reads clocks. Everything below the edge takes a [`Tick`].
//!
//! `tick` is the kernel's coarse monotonic clock: a few nanoseconds a call, as
//! fine as the kernel's timer (1 to 4 ms), which is what nginx logs too.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// The HTTP date of `seconds` since 1970.
pub fn http_date(seconds: u64) -> [u8; 29] {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    let mut text = [b' '; 29];
    let formatted = httpdate::fmt_http_date(time);
    text.copy_from_slice(formatted.as_bytes().first_chunk::<29>().unwrap_or(&[b' '; 29]));
    text
}
