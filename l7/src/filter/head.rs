//! A response's head as text, and what filters change in it. Knows lines, not what they mean.

use std::ops::Range;

/// Where the line of the first field of this name is, its end included.
fn find(head: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let mut start = memchr::memchr(b'\n', head)? + 1;
    loop {
        let rest = head.get(start..)?;
        let length = memchr::memchr(b'\n', rest)? + 1;
        let (found, after) = rest.split_at_checked(name.len())?;
        if found.eq_ignore_ascii_case(name) && after.first() == Some(&b':') {
            return Some(start..start + length);
        }
        start += length;
    }
}

/// The value of the first field of this name.
pub(super) fn value<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line = head.get(find(head, name)?)?;
    line.get(name.len() + 1..).map(<[u8]>::trim_ascii)
}

/// The values of all fields of this name.
pub(super) fn values<'a>(head: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = head.split(|&byte| byte == b'\n').skip(1);
    lines.filter_map(move |line| {
        let (found, after) = line.split_at_checked(name.len())?;
        let value = after.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Takes every field of this name away; true when there was one.
pub(super) fn remove(head: &mut Vec<u8>, name: &[u8]) -> bool {
    let mut removed = false;
    while let Some(line) = find(head, name) {
        head.drain(line);
        removed = true;
    }
    removed
}

/// A line, without what would begin another one.
pub(super) fn line(name: &[u8], value: &[u8]) -> Vec<u8> {
    let plain = |&byte: &u8| if matches!(byte, 0 | b'\r' | b'\n') { b' ' } else { byte };
    let mut line = Vec::with_capacity(name.len() + value.len() + 4);
    line.extend_from_slice(name);
    line.extend_from_slice(b": ");
    line.extend(value.iter().map(plain));
    line.extend_from_slice(b"\r\n");
    line
}

/// Adds a field behind all others. Behind it stay `Accept-Ranges` and `Content-Range` of a file, which
/// nginx writes last.
pub(super) fn push(head: &mut Vec<u8>, local: bool, name: &[u8], value: &[u8]) {
    let mut end = head.len().saturating_sub(2);
    for last in [&b"Accept-Ranges"[..], b"Content-Range"] {
        if let Some(line) = find(head, last).filter(|line| local && line.end == end) {
            end = line.start;
        }
    }
    head.splice(end..end, line(name, value));
}

/// Gives the first field of this name a value, or adds one; further ones go.
pub(super) fn set(head: &mut Vec<u8>, local: bool, name: &[u8], value: &[u8]) {
    let Some(first) = find(head, name) else { return push(head, local, name, value) };
    let place = first.start;
    remove(head, name);
    head.splice(place..place, line(name, value));
}

/// Puts a line in front of the field of this name, or behind all.
pub(super) fn put_before(head: &mut Vec<u8>, before: &[u8], name: &[u8], value: &[u8]) {
    let place = find(head, before).map_or(head.len().saturating_sub(2), |found| found.start);
    head.splice(place..place, line(name, value));
}

/// Where nginx writes `Vary: Accept-Encoding`: behind `Connection` and `Keep-Alive` of ours.
pub(crate) fn push_vary(head: &mut Vec<u8>) {
    let connection = find(head, b"Connection").map_or(head.len().saturating_sub(2), |found| found.end);
    let keep_alive = find(head, b"Keep-Alive").filter(|found| found.start == connection);
    let place = keep_alive.map_or(connection, |found| found.end);
    head.splice(place..place, line(b"Vary", b"Accept-Encoding"));
}

/// Marks the entity tag as weak: the bytes are no longer those it was made for.
pub(super) fn weaken_etag(head: &mut Vec<u8>) {
    let Some(tag) = value(head, b"ETag").map(<[u8]>::to_vec) else { return };
    if tag.starts_with(b"W/") {
        return;
    }
    if tag.starts_with(b"\"") {
        set(head, false, b"ETag", &[b"W/", tag.as_slice()].concat());
    } else {
        remove(head, b"ETag");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nConnection: keep-alive\r\nETag: \"a\"\r\nx-two: 1\r\nX-Two: 2\r\nAccept-Ranges: bytes\r\n\r\n";

    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut head = HEAD.to_vec();
        change(&mut head);
        let text = String::from_utf8(head).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nServer: x\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        text.lines().skip(2).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn fields_are_added_where_nginx_adds_them() {
        let rest = "Connection: keep-alive|ETag: \"a\"|x-two: 1|X-Two: 2";
        assert_eq!(changed(|head| push(head, true, b"A", b"1")), format!("{rest}|A: 1|Accept-Ranges: bytes"));
        assert_eq!(changed(|head| push(head, false, b"A", b"1")), format!("{rest}|Accept-Ranges: bytes|A: 1"));
        let varies = "Connection: keep-alive|Vary: Accept-Encoding|ETag: \"a\"|x-two: 1|X-Two: 2|Accept-Ranges: bytes";
        assert_eq!(changed(push_vary), varies);
    }

    #[test]
    fn fields_are_replaced_in_their_place() {
        let expected = "Connection: keep-alive|ETag: \"a\"|X-TWO: 3|Accept-Ranges: bytes";
        assert_eq!(changed(|head| set(head, true, b"X-TWO", b"3")), expected);
        assert!(changed(weaken_etag).contains("|ETag: W/\"a\"|"));
        assert!(changed(|head| push(head, true, b"A", b"1\r\nB: 2")).contains("|A: 1  B: 2|"));
        let values: Vec<_> = values(HEAD, b"x-two").collect();
        assert_eq!(values, [b"1", b"2"]);
    }
}
