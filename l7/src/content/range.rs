//! `Range`: the parts of a file that are asked for (RFC 9110 section 14), read as nginx reads them.

use super::conditional::{Validators, date};
use crate::h1::Request;

/// What of a file to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// Each from the first byte up to, not including, the second.
    Ranges(Vec<(u64, u64)>),
    /// 416
    None,
}

/// Judges `Range` and `If-Range` for a file of `length` bytes; `most` is `max_ranges`.
pub(crate) fn part(request: &Request, file: Validators<'_>, length: u64, most: Option<u64>) -> Part {
    let Some(range) = request.header(b"range") else { return Part::Whole };
    let Some(unit) = range.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes=")) else { return Part::Whole };
    if most == Some(0) || !request.header(b"if-range").is_none_or(|validator| is_current(validator, file)) {
        return Part::Whole;
    }
    let list = range.get(unit.len()..).unwrap_or_default();
    parse(list, length, most)
}

/// `If-Range`: an entity tag or a date, which must be the file's own.
fn is_current(validator: &[u8], file: Validators<'_>) -> bool {
    if validator.ends_with(b"\"") {
        return file.etag == Some(validator);
    }
    file.modified.is_some() && date(validator) == file.modified
}

fn parse(list: &[u8], length: u64, most: Option<u64>) -> Part {
    let mut ranges = Vec::new();
    let mut size = 0_u64;
    for spec in list.split(|&byte| byte == b',') {
        let Some((start, end)) = bounds(spec, length) else { return Part::None };
        if start < end {
            if most.is_some_and(|most| ranges.len() as u64 >= most) {
                return Part::Whole;
            }
            size = size.saturating_add(end - start);
            ranges.push((start, end));
        } else if start == 0 {
            // An empty suffix, or an empty file: nginx sends the whole of it.
            return Part::Whole;
        }
    }
    match (ranges.is_empty(), size > length) {
        (true, _) => Part::None,
        // More than there is: the file itself is shorter.
        (false, true) => Part::Whole,
        (false, false) => Part::Ranges(ranges),
    }
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
    match parse(list, length, None) {
        Part::Whole => Some(Vec::new()),
        Part::Ranges(ranges) => Some(ranges),
        Part::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(start: u64, end: u64) -> Part {
        Part::Ranges(vec![(start, end)])
    }

    #[test]
    fn max_ranges_counts_what_there_is() {
        assert_eq!(parse(b"0-1,3-4", 100, Some(1)), Part::Whole);
        assert_eq!(parse(b"0-1,200-", 100, Some(1)), one(0, 2));
        assert_eq!(parse(b"0-1,3-4", 100, Some(2)), Part::Ranges(vec![(0, 2), (3, 5)]));
    }

    #[test]
    fn ranges_are_read_as_nginx_reads_them() {
        for (list, expected) in [
            ("0-9", one(0, 10)),
            ("0-", one(0, 100)),
            ("90-200", one(90, 100)),
            ("-10", one(90, 100)),
            ("-200", one(0, 100)),
            (" 5 - 6 ", one(5, 7)),
            ("100-", Part::None),
            ("9-5", Part::None),
            ("x-5", Part::None),
            ("5", Part::None),
            ("-", Part::None),
            ("99999999999999999999-", Part::None),
            ("0-1,3-4", Part::Ranges(vec![(0, 2), (3, 5)])),
            ("3-4, 0-1,-1", Part::Ranges(vec![(3, 5), (0, 2), (99, 100)])),
            ("0-60,40-99", Part::Whole),
            ("0-1,3-4,", Part::None),
            ("0-1,-0", one(0, 2)),
            ("0-1,200-300", one(0, 2)),
        ] {
            assert_eq!(parse(list.as_bytes(), 100, None), expected, "{list}");
        }
    }

    #[test]
    fn an_outdated_if_range_gets_the_whole_file() {
        let file = Validators { modified: Some(784_111_777), etag: Some(b"\"x\"") };
        let ask = |if_range: &str| {
            let fields = [("Range", "bytes=0-1"), ("If-Range", if_range)];
            part(&crate::variables::testing::request("GET / HTTP/1.1", &fields), file, 100, None)
        };
        assert_eq!(ask("\"x\""), one(0, 2));
        assert_eq!(ask("\"y\""), Part::Whole);
        assert_eq!(ask("Sun, 06 Nov 1994 08:49:37 GMT"), one(0, 2));
        assert_eq!(ask("Sun, 06 Nov 1994 08:49:36 GMT"), Part::Whole);
    }

    #[test]
    fn max_ranges_0_and_other_units_get_the_whole_file() {
        let file = Validators { modified: Some(0), etag: None };
        let request = crate::variables::testing::request("GET / HTTP/1.1", &[("Range", "bytes=0-1")]);
        assert_eq!(part(&request, file, 100, Some(0)), Part::Whole);
        assert_eq!(part(&request, file, 100, Some(1)), one(0, 2));
        let request = crate::variables::testing::request("GET / HTTP/1.1", &[("Range", "lines=0-1")]);
        assert_eq!(part(&request, file, 100, None), Part::Whole);
    }
}
