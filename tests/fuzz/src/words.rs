//! Parts of messages: targets, hosts, ranges, cookies. Each is read a second time, plainly, and by
//! another way than ours.

use fairlead_l7::fuzzing;
use fairlead_l7::uri::{normalize, push_escaped, query_end};

/// The target of a request. The first byte says whether slashes are merged.
pub fn uri(data: &[u8]) {
    let Some((first, target)) = data.split_first() else { return };
    let merge = first & 1 == 1;
    let mut path = b"kept".to_vec();
    let read = normalize(target, merge, &mut path);
    assert!(path.starts_with(b"kept"), "what was there before is left alone");
    let path = path.split_off(4);
    if let Some(redirected) = fuzzing::redirected(target) {
        assert!(!climbs(&redirected) || target.contains(&b'?'));
    }
    // Control characters are refused with the request line.
    if target.first() != Some(&b'/') || target.contains(&0) {
        return;
    }
    let plain = plainly(target, merge);
    let Ok(query) = read else {
        assert!(path.is_empty() && plain.is_none(), "{plain:?}");
        return;
    };
    assert_eq!(plain.as_ref(), Some(&path), "{:?}", target.escape_ascii().to_string());
    assert!(path.first() == Some(&b'/') && !climbs(&path) && !path.contains(&0));
    assert!(!path.split(|byte| *byte == b'/').any(|part| part == b"."));
    assert!(!merge || !path.windows(2).any(|pair| pair == b"//"));
    if let Some(start) = query {
        assert!(target.get(start - 1) == Some(&b'?') || target.get(start - 3..start) == Some(b"%3f"));
        assert!((start..=target.len()).contains(&query_end(target, start)));
    }
    // Once more changes nothing.
    let (mut escaped, mut again) = (Vec::new(), Vec::new());
    path.iter().for_each(|&byte| push_escaped(byte, &mut escaped));
    assert_eq!((normalize(&escaped, merge, &mut again), &again), (Ok(None), &path));
}

fn climbs(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// The path of a target: unescaped, cut at its query, taken apart and put together again.
fn plainly(target: &[u8], merge: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(&byte) = target.get(at) {
        at += 1;
        // An escaped one of these is a letter like any other.
        let (byte, letter) = match byte {
            b'?' | b'#' => break,
            b'%' => {
                let digits = target.get(at..at + 2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
                at += 2;
                let byte = u8::from_str_radix(&String::from_utf8_lossy(digits), 16).ok()?;
                (byte, matches!(byte, b'%' | b'?' | b'#'))
            }
            _ => (byte, false),
        };
        if byte == 0 {
            return None;
        }
        bytes.push((byte, letter));
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let parts: Vec<_> = bytes.split(|&(byte, letter)| byte == b'/' && !letter).skip(1).collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let text: Vec<u8> = part.iter().map(|(byte, _)| *byte).collect();
        match text.as_slice() {
            b"." if last => segments.push(Vec::new()),
            b"." => {}
            b".." => {
                segments.pop()?;
                if last {
                    segments.push(Vec::new());
                }
            }
            b"" if merge && !last => {}
            _ => segments.push(text),
        }
    }
    let mut path = Vec::new();
    for segment in segments {
        path.push(b'/');
        path.extend(segment);
    }
    Some(path)
}

/// A list of ranges, behind two bytes that say how long the file is.
pub fn ranges(data: &[u8]) {
    let Some((length, list)) = data.split_at_checked(2) else { return };
    let length = u64::from(length[0]) << (length[1] % 57);
    let found = fuzzing::ranges(list, length);
    let asked = list.split(|byte| *byte == b',').count();
    for (start, end) in found.iter().flatten() {
        assert!(start < end && *end <= length, "{start}..{end} of {length}");
    }
    assert!(found.iter().flatten().count() <= asked);
    let plain: Option<Vec<_>> = list.split(|byte| *byte == b',').map(|spec| range(spec, length)).collect();
    let Some(plain) = plain else { return };
    let good: Vec<_> = plain.into_iter().filter(|(start, end)| start < end).collect();
    match found {
        None => assert!(good.is_empty(), "{good:?} refused"),
        Some(parts) if parts.is_empty() => {}
        Some(parts) => assert_eq!(parts, good),
    }
}

/// A file's length in two bytes, its content type up to a line end, and a list of ranges: what a reader
/// that shares nothing with us finds in the answer are these ranges of this file.
pub fn multipart(data: &[u8]) {
    let Some((length, rest)) = data.split_at_checked(2) else { return };
    let length = u64::from(length[0]) << (length[1] % 57);
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let (content_type, list) = (&rest[..end], &rest[end + 1..]);
    let Some(ranges) = fuzzing::ranges(list, length).filter(|ranges| ranges.len() > 1) else { return };
    if content_type.iter().any(|byte| b"\r\0".contains(byte)) {
        return;
    }
    let mut head = b"HTTP/1.1 206 Partial Content\r\nContent-Type: ".to_vec();
    head.extend_from_slice(content_type);
    head.extend_from_slice(b"\r\nContent-Length: 1\r\nETag: \"x\"\r\nContent-Range: bytes 0-0/1\r\n\r\n");
    let fuzzing::Multipart { parts, end: last, length: told } = fuzzing::multipart(&mut head, ranges.clone(), length);
    let bytes: u64 = ranges.iter().map(|(start, end)| end - start).sum();
    let lines: usize = parts.iter().map(|(lines, ..)| lines.len()).sum();
    assert_eq!(told, bytes + (lines + last.len()) as u64);
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.contains(&format!("\r\nContent-Length: {told}\r\n")) && !head.contains("Content-Range"), "{head}");
    let boundary = head.split_once("multipart/byteranges; boundary=").and_then(|(_, rest)| rest.split_once("\r\n"));
    let boundary = boundary.expect("a boundary is told").0.to_owned();
    if bytes > 1 << 16 {
        return;
    }
    let byte = |at: u64| (at % 251) as u8;
    let mut body = Vec::new();
    for (lines, start, end) in &parts {
        body.extend_from_slice(lines);
        body.extend((*start..*end).map(byte));
    }
    body.extend_from_slice(&last);
    let found = read_multipart(&body, &boundary, length).expect("a sound body");
    assert_eq!(found.iter().map(|(start, bytes)| (*start, start + bytes.len() as u64)).collect::<Vec<_>>(), ranges);
    for (start, bytes) in found {
        assert!(bytes.iter().enumerate().all(|(at, found)| *found == byte(start + at as u64)), "other bytes");
    }
}

/// Where each part begins in the file of `whole` bytes, and its bytes; `None` for what RFC 9110 and 2046 would not
/// call a `multipart/byteranges` body.
fn read_multipart<'b>(body: &'b [u8], boundary: &str, whole: u64) -> Option<Vec<(u64, &'b [u8])>> {
    let (open, close) = (format!("\r\n--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
    let (mut found, mut rest) = (Vec::new(), body);
    while rest != close.as_bytes() {
        rest = rest.strip_prefix(open.as_bytes())?;
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (lines, after) = (&rest[..end], &rest[end + 4..]);
        let mut lines = lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let (kind, range) = (lines.next()?, lines.next()?);
        if !kind.starts_with(b"Content-Type: ") || lines.next().is_some() {
            return None;
        }
        let range = std::str::from_utf8(range.strip_prefix(b"Content-Range: bytes ")?).ok()?;
        let (range, of) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        if of.parse() != Ok(whole) {
            return None;
        }
        let (bytes, after) = after.split_at_checked(usize::try_from(last + 1 - first).ok()?)?;
        found.push((first, bytes));
        rest = after;
    }
    Some(found)
}

/// A range written in no doubtful way: `None` for all others.
fn range(spec: &[u8], length: u64) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(spec).ok()?;
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    match (first, last) {
        ("", last) => Some((length.saturating_sub(number(last)?), length)),
        (first, "") => Some((number(first)?, length)),
        (first, last) => Some((number(first)?, (number(last)? + 1).min(length))),
    }
}

fn blanks_off(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    &text[blanks..]
}

/// A `Cookie` field behind a name and a line end; the field is a host, too.
pub fn cookies(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(name), Some(line)) = (parts.next(), parts.next()) else { return };
    if let Some(host) = fuzzing::host(line) {
        assert_eq!(fuzzing::host(&host).as_ref(), Some(&host), "in its one form");
        assert!(!host.is_empty() && host.iter().all(|byte| *byte > b' ' && !byte.is_ascii_uppercase()));
    }
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)) {
        return;
    }
    // A pair may begin behind either mark; only one of them ends a value.
    let marks = line.iter().enumerate().filter(|(_, byte)| matches!(byte, b';' | b','));
    let begins = std::iter::once(0).chain(marks.map(|(at, _)| at + 1));
    let plain = begins.map(|at| blanks_off(&line[at..])).find_map(|pair| {
        let pair = pair.split(|byte| *byte == b';').next()?;
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let key = pair[..equals].split(|byte| *byte == b' ').next()?;
        let clean = pair[key.len()..equals].iter().all(|byte| *byte == b' ');
        (clean && key.eq_ignore_ascii_case(name)).then(|| blanks_off(&pair[equals + 1..]))
    });
    assert_eq!(fuzzing::cookie(line, name), plain);
}
