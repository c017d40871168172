//! `Range`: one range of a file. A request for more than one gets the whole file, as RFC 9110
//! section 14.2 allows.

use super::conditional::{Validators, date};
use crate::h1::Request;

/// What of a file to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// From the first byte up to, not including, the second.
    Range(u64, u64),
    /// 416
    None,
}

/// Judges `Range` and `If-Range` for a file of `length` bytes; `most` is `max_ranges`.
pub(super) fn part(request: &Request, file: Validators<'_>, length: u64, most: Option<u64>) -> Part {
    let Some(range) = request.header(b"range") else { return Part::Whole };
    let Some(unit) = range.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes=")) else { return Part::Whole };
    if most == Some(0) || !request.header(b"if-range").is_none_or(|validator| is_current(validator, file)) {
        return Part::Whole;
    }
    let list = range.get(unit.len()..).unwrap_or_default();
    parse(list, length)
}

/// `If-Range`: an entity tag or a date, which must be the file's own.
fn is_current(validator: &[u8], file: Validators<'_>) -> bool {
    if validator.ends_with(b"\"") {
        return file.etag == Some(validator);
    }
    date(validator) == Some(file.modified)
}

fn parse(list: &[u8], length: u64) -> Part {
    let mut found = None;
    for spec in list.split(|&byte| byte == b',') {
        let Some((start, end)) = bounds(spec, length) else { return Part::None };
        if start < end {
            if found.is_some() {
                return Part::Whole;
            }
            found = Some(Part::Range(start, end));
        } else if start == 0 {
            // An empty suffix, or an empty file: nginx sends the whole of it.
            return Part::Whole;
        }
    }
    found.unwrap_or(Part::None)
}

/// `first-last`, `first-` or `-suffix`; `None` when it is none of them.
fn bounds(spec: &[u8], length: u64) -> Option<(u64, u64)> {
    let dash = memchr::memchr(b'-', spec)?;
    let first = spec.get(..dash)?.trim_ascii();
    let last = spec.get(dash + 1..)?.trim_ascii();
    Some(match (first.is_empty(), last.is_empty()) {
        (true, true) => return None,
        (true, false) => (length.saturating_sub(digits(last)?), length),
        (false, true) => (digits(first)?, length),
        (false, false) => (digits(first)?, digits(last)?.saturating_add(1).min(length)),
    })
}

fn digits(text: &[u8]) -> Option<u64> {
    crate::h1::parse_decimal(text)
}

/// What a `Range` asks for, for the fuzzers: `None` is 416, no part at all the whole file.
pub fn fuzzed(list: &[u8], length: u64) -> Option<Vec<(u64, u64)>> {
    match parse(list, length) {
        Part::Whole => Some(Vec::new()),
        Part::Range(start, end) => Some(vec![(start, end)]),
        Part::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_nginx_reads_them() {
        for (list, expected) in [
            ("0-9", Part::Range(0, 10)),
            ("0-", Part::Range(0, 100)),
            ("90-200", Part::Range(90, 100)),
            ("-10", Part::Range(90, 100)),
            ("-200", Part::Range(0, 100)),
            (" 5 - 6 ", Part::Range(5, 7)),
            ("100-", Part::None),
            ("9-5", Part::None),
            ("x-5", Part::None),
            ("5", Part::None),
            ("-", Part::None),
            ("99999999999999999999-", Part::None),
            ("0-1,3-4", Part::Whole),
            ("0-1,200-300", Part::Range(0, 2)),
        ] {
            assert_eq!(parse(list.as_bytes(), 100), expected, "{list}");
        }
    }

    #[test]
    fn an_outdated_if_range_gets_the_whole_file() {
        let file = Validators { modified: 784_111_777, etag: Some(b"\"x\"") };
        let ask = |if_range: &str| {
            let fields = [("Range", "bytes=0-1"), ("If-Range", if_range)];
            part(&crate::variables::testing::request("GET / HTTP/1.1", &fields), file, 100, None)
        };
        assert_eq!(ask("\"x\""), Part::Range(0, 2));
        assert_eq!(ask("\"y\""), Part::Whole);
        assert_eq!(ask("Sun, 06 Nov 1994 08:49:37 GMT"), Part::Range(0, 2));
        assert_eq!(ask("Sun, 06 Nov 1994 08:49:36 GMT"), Part::Whole);
    }

    #[test]
    fn max_ranges_0_and_other_units_get_the_whole_file() {
        let file = Validators { modified: 0, etag: None };
        let request = crate::variables::testing::request("GET / HTTP/1.1", &[("Range", "bytes=0-1")]);
        assert_eq!(part(&request, file, 100, Some(0)), Part::Whole);
        assert_eq!(part(&request, file, 100, Some(1)), Part::Range(0, 2));
        let request = crate::variables::testing::request("GET / HTTP/1.1", &[("Range", "lines=0-1")]);
        assert_eq!(part(&request, file, 100, None), Part::Whole);
    }
}
