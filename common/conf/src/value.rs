//! Sizes, times, flags, numbers and rates as nginx writes them. Public functions so
//! that parameters (`fail_timeout=10s`) parse as whole arguments do.

use std::time::Duration;

/// `on` or `off`, in any case, as nginx takes them.
pub fn parse_flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("off").then_some(false)
}

/// A decimal number with nothing around it; a minus sign is taken, a plus sign is not.
pub fn parse_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Bytes: `10`, `8k`, `1m`, `2g`, the unit in either case.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 1 << 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 1 << 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 1 << 30),
        _ => (text, 1),
    };
    let size = parse_digits(digits)?.checked_mul(unit)?;
    // nginx's off_t.
    (size <= i64::MAX as u64).then_some(size)
}

/// `90`, `1m30s`, `1h 30m`, `100ms`: units from large to small, each once; a number
/// without a unit is seconds and stands last. A month has 30 days, a year 365.
pub fn parse_time(text: &str) -> Option<Duration> {
    // Milliseconds and the place in the order of units; a bare number comes last.
    const UNITS: &[(&str, u64)] = &[
        ("y", 31_536_000_000),
        ("M", 2_592_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let (mut rest, mut total, mut largest) = (text, 0_u64, 0);
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at_checked(letters)?;
        let rank = match unit {
            // As nginx: a bare number may not follow seconds.
            "" => 6,
            unit => UNITS.iter().position(|(name, _)| *name == unit)?,
        };
        if rank < largest || (unit.is_empty() && !after.is_empty() && !after.starts_with(' ')) {
            return None;
        }
        let scale = UNITS.get(rank)?.1;
        total = total.checked_add(parse_digits(number)?.checked_mul(scale)?)?;
        largest = if unit.is_empty() { UNITS.len() } else { rank + 1 };
        rest = after.trim_start_matches(' ');
        if rest.is_empty() {
            return (total <= i64::MAX as u64).then(|| Duration::from_millis(total));
        }
    }
}

/// `10r/s` or `30r/m`, in thousandths of a request per second (as nginx counts).
pub fn parse_rate(text: &str) -> Option<u64> {
    let (number, minutes) = match text.strip_suffix("r/s") {
        Some(number) => (number, 1),
        None => (text.strip_suffix("r/m")?, 60),
    };
    let rate = parse_digits(number).filter(|&rate| rate > 0)?;
    Some(rate.checked_mul(1000)? / minutes)
}

fn parse_digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_one_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("8k", Some(8192)),
            ("1M", Some(1 << 20)),
            ("2g", Some(2 << 30)),
            ("k", None),
            ("", None),
            ("1.5m", None),
            ("-1", None),
            ("+1", None),
            ("1kb", None),
            ("9999999999999g", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn times_go_from_large_units_to_small() {
        let seconds = |n: u64| Some(Duration::from_secs(n));
        for (text, expected) in [
            ("0", seconds(0)),
            ("90", seconds(90)),
            ("1m30s", seconds(90)),
            ("1h 30m", seconds(5400)),
            ("1m 30", seconds(90)),
            ("1m30", seconds(90)),
            ("100ms", Some(Duration::from_millis(100))),
            ("1s500ms", Some(Duration::from_millis(1500))),
            ("1y", seconds(31_536_000)),
            ("1M", seconds(2_592_000)),
            ("2w", seconds(1_209_600)),
            ("1d1h", seconds(90_000)),
            ("1s1m", None),
            ("1s1s", None),
            ("1s 30", None),
            ("30 1s", None),
            ("", None),
            ("s", None),
            ("10x", None),
            ("1.5s", None),
            ("-1s", None),
            ("1mss", None),
            (" 1s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_flags_and_rates_are_plain() {
        assert_eq!(parse_int("42"), Some(42));
        assert_eq!(parse_int("-10"), Some(-10));
        assert_eq!(parse_int("+1"), None);
        assert_eq!(parse_int("--1"), None);
        assert_eq!(parse_int("1 "), None);
        assert_eq!(parse_flag("ON"), Some(true));
        assert_eq!(parse_flag("off"), Some(false));
        assert_eq!(parse_flag("yes"), None);
        assert_eq!(parse_rate("10r/s"), Some(10_000));
        assert_eq!(parse_rate("30r/m"), Some(500));
        assert_eq!(parse_rate("0r/s"), None);
        assert_eq!(parse_rate("r/s"), None);
    }
}
