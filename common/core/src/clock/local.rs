//! The time of day in the zone of `TZ`, as logs write it; put into text once a
//! second and thread, since asking libc for the zone costs more than a log line.
//!
//! Called by the logs and by the planes' `$time_local` and `$time_iso8601`.

use super::unix_millis;
use std::cell::RefCell;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `20/Nov/2026:20:01:02 +0000`, as `$time_local`.
pub fn push_time_local(out: &mut Vec<u8>) {
    with_now(|texts| out.extend_from_slice(texts.local.as_bytes()));
}

/// `2026-11-20T20:01:02+00:00`, as `$time_iso8601`.
pub fn push_time_iso8601(out: &mut Vec<u8>) {
    with_now(|texts| out.extend_from_slice(texts.iso8601.as_bytes()));
}

/// `2026-11-20T20:01:02.123+00:00`, as `$time_iso8601_ms`.
pub fn push_time_iso8601_ms(out: &mut Vec<u8>) {
    let millis = unix_millis();
    with(millis / 1000, |texts| {
        let zone = texts.iso8601.len().saturating_sub("+00:00".len());
        let (time, zone) = texts.iso8601.split_at_checked(zone).unwrap_or_default();
        out.extend_from_slice(format!("{time}.{:03}{zone}", millis % 1000).as_bytes());
    });
}

/// How many seconds the zone of `TZ` is ahead of UTC now.
pub fn local_offset() -> i64 {
    broken_down(unix_millis() / 1000).tm_gmtoff
}

/// `2026/11/20 20:01:02`, as a line of the error log begins.
pub fn push_time_error(out: &mut Vec<u8>) {
    with_now(|texts| out.extend_from_slice(texts.error.as_bytes()));
}

/// `Nov 20 20:01:02`, as RFC 3164 section 4.1.2 has it: a day below ten after two spaces.
pub fn push_time_syslog(out: &mut Vec<u8>) {
    with_now(|texts| out.extend_from_slice(texts.syslog.as_bytes()));
}

thread_local! {
    static NOW: RefCell<(u64, Texts)> = RefCell::new((u64::MAX, Texts::default()));
}

#[derive(Default)]
struct Texts {
    local: String,
    iso8601: String,
    error: String,
    syslog: String,
}

fn with_now(use_them: impl FnOnce(&Texts)) {
    with(unix_millis() / 1000, use_them);
}

fn with(seconds: u64, use_them: impl FnOnce(&Texts)) {
    NOW.with_borrow_mut(|(at, texts)| {
        if *at != seconds {
            *at = seconds;
            *texts = Texts::of(&broken_down(seconds));
        }
        use_them(texts);
    });
}

impl Texts {
    fn of(time: &libc::tm) -> Texts {
        let (year, month, day) = (time.tm_year + 1900, time.tm_mon + 1, time.tm_mday);
        let name = usize::try_from(time.tm_mon).ok().and_then(|index| MONTHS.get(index)).unwrap_or(&"Jan");
        let clock = format!("{:02}:{:02}:{:02}", time.tm_hour, time.tm_min, time.tm_sec);
        let minutes = time.tm_gmtoff / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        Texts {
            local: format!("{day:02}/{name}/{year}:{clock} {sign}{hours:02}{minutes:02}"),
            iso8601: format!("{year}-{month:02}-{day:02}T{clock}{sign}{hours:02}:{minutes:02}"),
            error: format!("{year}/{month:02}/{day:02} {clock}"),
            syslog: format!("{name} {day:2} {clock}"),
        }
    }
}

#[allow(unsafe_code)]
fn broken_down(seconds: u64) -> libc::tm {
    let seconds = libc::time_t::try_from(seconds).unwrap_or(0);
    // SAFETY: a `tm` is integers and a pointer that may be null, so all zeroes is a valid one.
    let mut time: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type, and `localtime_r` keeps neither.
    // It reads `TZ` under libc's own lock; the process changes its environment only before it
    // starts threads. On failure it leaves the zeroes.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut time) };
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(offset: i64) -> libc::tm {
        let mut time = broken_down(0);
        (time.tm_year, time.tm_mon, time.tm_mday) = (126, 10, 5);
        (time.tm_hour, time.tm_min, time.tm_sec) = (20, 1, 2);
        time.tm_gmtoff = offset;
        time
    }

    #[test]
    fn texts_are_nginx_s() {
        let texts = Texts::of(&time(0));
        assert_eq!(texts.local, "05/Nov/2026:20:01:02 +0000");
        assert_eq!(texts.iso8601, "2026-11-05T20:01:02+00:00");
        assert_eq!(texts.error, "2026/11/05 20:01:02");
        assert_eq!(texts.syslog, "Nov  5 20:01:02");
    }

    #[test]
    fn zones_west_and_with_half_hours_keep_their_sign() {
        assert_eq!(Texts::of(&time(-(3 * 3600 + 1800))).local, "05/Nov/2026:20:01:02 -0330");
        assert_eq!(Texts::of(&time(5 * 3600 + 2700)).iso8601, "2026-11-05T20:01:02+05:45");
        assert_eq!(Texts::of(&time(-1800)).local, "05/Nov/2026:20:01:02 -0030");
    }

    #[test]
    fn milliseconds_stand_before_the_zone() {
        let mut text = Vec::new();
        push_time_iso8601_ms(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(text.len() == "2026-11-05T20:01:02.345+00:00".len() && &text[19..20] == ".", "{text}");
        assert!(text[20..23].bytes().all(|byte| byte.is_ascii_digit()), "{text}");
    }

    #[test]
    fn the_time_now_is_within_what_the_clock_says() {
        let before = unix_millis() / 1000;
        let mut text = Vec::new();
        push_time_error(&mut text);
        let after = unix_millis() / 1000;
        let possible: Vec<String> = (before..=after).map(|seconds| Texts::of(&broken_down(seconds)).error).collect();
        assert!(possible.contains(&String::from_utf8(text).unwrap()), "{possible:?}");
    }
}
