//! A peer's response head, parsed as nginx parses it: lenient about line ends,
//! strict about where the body ends.

use crate::h1::bytes::Name;
use crate::h1::request::trim;
use crate::h1::{Header, Known, Slice, Version, is_list_member, parse_decimal};
use fairlead_core::words;
use memchr::memchr;
use std::borrow::Cow;

/// How a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// No body: HEAD, 1xx, 204, 304.
    #[default]
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A peer sent what is not HTTP; the reason is nginx's error log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadResponse(pub Cow<'static, str>);

/// One response head, as slices of the bytes it was parsed from.
#[derive(Debug, Default)]
pub struct Response {
    pub status: u16,
    pub version: Version,
    /// The status code and the reason phrase as sent.
    pub status_line: Slice,
    pub headers: Vec<Header>,
    pub head_len: usize,
    pub framing: Framing,
    /// The peer will take another request on this connection.
    pub keepalive: bool,
    /// Fields that say once more what may be said once, each with the one that holds. They are not
    /// among `headers`.
    pub duplicates: Vec<(Header, Header)>,
    /// The kinds of fields so far that may be said once, a bit each.
    seen: u32,
}

const NO_HEADER: BadResponse = BadResponse(Cow::Borrowed("upstream sent no valid HTTP/1.0 header"));
const TOO_MANY: BadResponse = BadResponse(Cow::Borrowed("upstream sent too many header lines"));

/// More fields than any response has: bounds the memory of a hostile peer's head.
const MAX_FIELDS: usize = 1000;

impl Response {
    /// Parses the head at the start of `bytes`; `false` when more bytes are needed. `head_request`
    /// says that the request was HEAD: its answer has no body whatever the fields say.
    ///
    /// # Errors
    /// What nginx calls an invalid header.
    pub fn parse(&mut self, bytes: &[u8], head_request: bool) -> Result<bool, BadResponse> {
        self.headers.clear();
        self.duplicates.clear();
        self.seen = 0;
        self.status = 0;
        let Some(line_end) = memchr(b'\n', bytes) else {
            return if b"HTTP/".starts_with(bytes) || bytes.starts_with(b"HTTP/") { Ok(false) } else { Err(NO_HEADER) };
        };
        self.take_status_line(bytes, line_end)?;
        let mut start = line_end + 1;
        loop {
            let rest = bytes.get(start..).unwrap_or_default();
            let Some(len) = memchr(b'\n', rest) else {
                return Ok(false);
            };
            let line = rest.get(..len).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                self.head_len = start + len + 1;
                return self.finish(bytes, head_request).map(|()| true);
            }
            self.take_field(bytes, line, start)?;
            start += len + 1;
        }
    }

    fn take_status_line(&mut self, bytes: &[u8], end: usize) -> Result<(), BadResponse> {
        let line = bytes.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let rest = line.strip_prefix(b"HTTP/").ok_or(NO_HEADER)?;
        let space = memchr(b' ', rest).ok_or(NO_HEADER)?;
        self.version = match rest.get(..space) {
            Some(b"1.0") => Version::Http10,
            Some([b'1', b'.', minor, ..]) if minor.is_ascii_digit() => Version::Http11,
            _ => return Err(NO_HEADER),
        };
        let spaces = rest.get(space..).unwrap_or_default().iter().take_while(|&&byte| byte == b' ').count();
        let at = 5 + space + spaces;
        let code = line.get(at..at + 3).and_then(parse_decimal).ok_or(NO_HEADER)?;
        if !matches!(line.get(at + 3), None | Some(b' ')) {
            return Err(NO_HEADER);
        }
        self.status = u16::try_from(code).ok().filter(|code| *code >= 100).ok_or(NO_HEADER)?;
        self.status_line = Slice::new(at, line.len());
        Ok(())
    }

    fn take_field(&mut self, bytes: &[u8], line: &[u8], start: usize) -> Result<(), BadResponse> {
        let colon = Name::of(line).ok_or_else(|| invalid(line))?.len;
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default();
        if words::any(value, b' ', |word| words::equal(word, 0) | words::equal(word, b'\r')) {
            return Err(invalid(line));
        }
        if self.headers.len() >= MAX_FIELDS {
            return Err(TOO_MANY);
        }
        let known = Known::of(name);
        let field = Header { name: Slice::new(start, start + colon), value: trim(value, start + colon + 1), known };
        match self.first(bytes, known, name) {
            Some(first) => self.duplicates.push((field, first)),
            None => self.headers.push(field),
        }
        Ok(())
    }

    /// Of a field that may be said once: the one that said it before.
    fn first(&mut self, bytes: &[u8], known: Known, name: &[u8]) -> Option<Header> {
        if !is_single(known, name) {
            return None;
        }
        let seen = self.seen;
        self.seen |= 1 << known as u32;
        if seen == self.seen || matches!(known, Known::Other | Known::XAccel) {
            let same = |first: &&Header| first.known == known && first.name.of(bytes).eq_ignore_ascii_case(name);
            return self.headers.iter().find(same).copied();
        }
        None
    }

    /// Where the body ends (RFC 9112 section 6.3) and whether the connection outlives it.
    fn finish(&mut self, bytes: &[u8], head_request: bool) -> Result<(), BadResponse> {
        let mut length: Option<(Header, u64)> = None;
        let mut chunked = false;
        let mut keepalive = self.version >= Version::Http11;
        for header in self.headers.iter().filter(|header| header.known != Known::Other) {
            let value = header.value.of(bytes);
            match header.known {
                Known::ContentLength => {
                    if let Some((first, _)) = length {
                        let (line, first) = (header.shown(bytes), first.shown(bytes));
                        return bad(format!("duplicate header line: \"{line}\", previous value: \"{first}\""));
                    }
                    match parse_decimal(value) {
                        Some(bytes) => length = Some((*header, bytes)),
                        None => return bad(format!("invalid \"Content-Length\" header: \"{}\"", header.shown(bytes))),
                    }
                }
                Known::TransferEncoding if chunked => {
                    return bad(format!("duplicate header line: \"{}\"", header.shown(bytes)));
                }
                Known::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => chunked = true,
                Known::TransferEncoding => {
                    return bad(format!("unknown \"Transfer-Encoding\": \"{}\"", value.escape_ascii()));
                }
                Known::Connection if value == b"keep-alive" => keepalive = true,
                Known::Connection if is_list_member(value, b"close") => keepalive = false,
                Known::Connection if is_list_member(value, b"keep-alive") => keepalive = true,
                _ => {}
            }
        }
        self.framing = match (length, chunked) {
            (Some(_), true) => {
                return bad("\"Content-Length\" and \"Transfer-Encoding\" headers at the same time");
            }
            _ if head_request || self.status < 200 || self.status == 204 || self.status == 304 => Framing::None,
            (None, true) if self.version < Version::Http11 => {
                return bad("HTTP/1.0 response with \"Transfer-Encoding\" header");
            }
            (None, true) => Framing::Chunked,
            (Some((_, length)), false) => Framing::Length(length),
            (None, false) => Framing::UntilClose,
        };
        self.keepalive = keepalive && self.framing != Framing::UntilClose;
        Ok(())
    }

    /// First field of this kind in `bytes`, the bytes it was parsed from.
    pub fn known<'a>(&self, known: Known, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.headers.iter().find(|header| header.known == known).map(|header| header.value.of(bytes))
    }

    /// The `Content-Length` a HEAD or 304 answer announces.
    pub fn announced_length(&self, bytes: &[u8]) -> Option<u64> {
        self.known(Known::ContentLength, bytes).and_then(parse_decimal)
    }
}

/// As nginx: what one of these says a second time does not count.
fn is_single(known: Known, name: &[u8]) -> bool {
    let among = |names: &[&str]| names.iter().any(|single| name.eq_ignore_ascii_case(single.as_bytes()));
    match known {
        Known::ContentType | Known::Date | Known::Server | Known::LastModified | Known::Location => true,
        Known::XAccel => among(&["X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Charset", "X-Accel-Limit-Rate"]),
        Known::Other => match name.len() {
            4 => among(&["ETag"]),
            6 => among(&["Status"]),
            7 => among(&["Expires", "Refresh"]),
            13 => among(&["Accept-Ranges"]),
            _ => false,
        },
        _ => false,
    }
}

fn bad<T>(what: impl AsRef<str>) -> Result<T, BadResponse> {
    Err(BadResponse(format!("upstream sent {}", what.as_ref()).into()))
}

/// A line that is no field, up to the byte that no field can have there.
fn invalid(line: &[u8]) -> BadResponse {
    let is_bad_in_name = |&byte: &u8| byte <= b' ' || byte == 0x7f || byte == b':';
    let mut at = line.iter().position(is_bad_in_name).unwrap_or(line.len());
    if at > 0 && line.get(at) == Some(&b':') {
        at = line.iter().position(|&byte| byte == 0 || byte == b'\r').unwrap_or(line.len());
    }
    let before = line.get(..at).unwrap_or_default().escape_ascii();
    let byte = line.get(at).copied().unwrap_or(b'\r');
    BadResponse(format!("upstream sent invalid header: \"{before}\\x{byte:02x}...\"").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Option<Response>, BadResponse> {
        let mut response = Response::default();
        response.parse(text.as_bytes(), false).map(|whole| whole.then_some(response))
    }

    fn whole(text: &str) -> Response {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn knows_where_bodies_end() {
        let framing = |fields: &str| whole(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).framing;
        assert_eq!(framing("Content-Length: 5\r\n"), Framing::Length(5));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
        assert_eq!(framing(""), Framing::UntilClose);
        assert_eq!(whole("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").framing, Framing::None);
        let mut response = Response::default();
        assert_eq!(response.parse(b"HTTP/1.1 200 OK\nContent-Length: 9\n\n", true), Ok(true));
        assert_eq!(response.framing, Framing::None);
    }

    #[test]
    fn keeps_the_connection_only_when_the_peer_does() {
        assert!(whole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").keepalive);
        assert!(!whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").keepalive);
        assert!(!whole("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keepalive);
        assert!(whole("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n").keepalive);
        assert!(!whole("HTTP/1.1 200 OK\r\n\r\n").keepalive);
    }

    #[test]
    fn refuses_what_could_split_responses() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: x\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Bad Name: x\r\n",
            "X: a\rb\r\n",
            "nocolon\r\n",
        ] {
            assert!(parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_err(), "{fields}");
        }
        let both = "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n";
        assert!(parse(&format!("HTTP/1.1 304 Not Modified\r\n{both}\r\n")).is_err());
        assert!(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse("<html>").is_err());
        assert!(parse("HTTP/1.1 2000 OK\r\n\r\n").is_err());
        assert!(parse("HTTP/1.1 099 X\r\n\r\n").is_err());
        assert!(parse("HTTP/1.1 20").unwrap().is_none());
    }

    #[test]
    fn says_what_is_wrong_in_nginx_s_words() {
        let refused = |fields: &str| parse(&format!("HTTP/1.1 200 OK\r\nA: 1\r\n{fields}\r\n")).unwrap_err().0;
        for (fields, expected) in [
            ("X One: 1\r\n", "invalid header: \"X\\x20...\""),
            (" folded\r\n", "invalid header: \"\\x20...\""),
            (": 1\r\n", "invalid header: \"\\x3a...\""),
            ("X: a\0b\r\n", "invalid header: \"X: a\\x00...\""),
            ("X: a\rb\r\n", "invalid header: \"X: a\\x0d...\""),
            ("Content-Length: x\r\n", "invalid \"Content-Length\" header: \"Content-Length: x\""),
            ("Transfer-Encoding: gzip\r\n", "unknown \"Transfer-Encoding\": \"gzip\""),
            (
                "Content-Length: 3\r\ncontent-length: 4\r\n",
                "duplicate header line: \"content-length: 4\", previous value: \"Content-Length: 3\"",
            ),
        ] {
            assert_eq!(refused(fields), format!("upstream sent {expected}"), "{fields:?}");
        }
    }

    #[test]
    fn what_may_be_said_once_holds_as_it_was_said_first() {
        let text = "HTTP/1.1 200 OK\r\nLocation: /a\r\nX: 1\r\nlocation: /b\r\nX: 2\r\nContent-Length: 0\r\n\r\n";
        let response = whole(text);
        let bytes = text.as_bytes();
        assert_eq!(response.known(Known::Location, bytes), Some(&b"/a"[..]));
        assert_eq!(response.headers.len(), 4);
        let (again, first) = response.duplicates[0];
        assert_eq!((again.shown(bytes).as_str(), first.shown(bytes).as_str()), ("location: /b", "Location: /a"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), prefix in "HTTP/1.1 200 OK\r\n|") {
            let mut all = prefix.into_bytes();
            all.extend(bytes);
            let _ = Response::default().parse(&all, false);
        }
    }
}
