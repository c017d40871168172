//! A request's head: the request line and header fields, checked as nginx checks them.

use crate::h1::bytes::Name;
use crate::h1::{Header, Known, Slice, is_list_member, parse_decimal};
use fairlead_core::words;
use memchr::{memchr, memchr2};

/// What a request line and its fields may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `client_header_buffer_size`: where a head begins.
    pub first: usize,
    /// `large_client_header_buffers`: how large each is, and so how long the longest line in one.
    pub line: usize,
    /// How many of them there are for the lines that do not fit where the line before is.
    pub buffers: u32,
    /// `max_headers`.
    pub headers: usize,
    /// `underscores_in_headers`.
    pub underscores: bool,
    /// `ignore_invalid_headers`: leave out fields with strange names.
    pub ignore_invalid: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { first: 1 << 10, line: 8 << 10, buffers: 4, headers: 1000, underscores: false, ignore_invalid: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    Http09,
    Http10,
    #[default]
    Http11,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Connect,
    Patch,
    Other,
}

/// One request head and the buffer that holds it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Bytes read from the client; the head is at the front, body bytes may follow.
    pub buffer: Vec<u8>,
    /// Where the head ends, once it is whole.
    pub head_len: usize,
    /// The request line without its end, as sent: `$request`.
    pub line: Slice,
    pub method: Method,
    pub method_text: Slice,
    /// The path and query as sent (an absolute URI's scheme and host taken off): `$request_uri`.
    pub target: Slice,
    /// The host of an absolute URI; it wins over `Host` (RFC 9112 section 3.2.2).
    pub authority: Option<Slice>,
    pub version: Version,
    pub headers: Vec<Header>,
    pub framing: RequestBody,
    /// `Connection: close` or `keep-alive`, or neither.
    pub connection: ConnectionOption,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// `Connection: upgrade` with an `Upgrade` field.
    pub upgrade: bool,
    /// Whatever the request line says.
    asks_with_get: bool,
    /// Start of the first line that is not parsed yet.
    line_start: usize,
    /// Up to where that line is known to hold no end.
    scanned: usize,
    has_line: bool,
    /// Where the last line ends that was found good.
    sound: usize,
    /// How many large buffers nginx would have taken for the lines so far, and what they use of the
    /// last one (of the first buffer, when there are none).
    buffers: u32,
    used: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RequestBody {
    #[default]
    None,
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ConnectionOption {
    #[default]
    Unsaid,
    Close,
    KeepAlive,
}

/// Why a request is refused: nginx's status and what it writes to the error log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest {
    pub status: u16,
    pub reason: &'static str,
}

/// How far a request's head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    NeedMore,
    /// The head is whole, its fields are checked.
    Head,
}

const INVALID_METHOD: BadRequest = bad("client sent invalid method while reading client request line");
const INVALID_LINE: BadRequest = bad("client sent invalid request while reading client request line");
const INVALID_FIELD: BadRequest = bad("client sent invalid header line");
const LONG_URI: BadRequest = refuse(414, "client sent too long URI");
/// nginx's own code for what it answers as a special page of 400.
const LONG_FIELD: BadRequest = refuse(494, "client sent too long header line");

const fn bad(reason: &'static str) -> BadRequest {
    BadRequest { status: 400, reason }
}

const fn refuse(status: u16, reason: &'static str) -> BadRequest {
    BadRequest { status, reason }
}

impl Request {
    /// Forgets the request but keeps its memory, and the bytes from `consumed` on (pipelined requests).
    pub fn recycle(&mut self, consumed: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut headers = std::mem::take(&mut self.headers);
        buffer.drain(..consumed.min(buffer.len()));
        headers.clear();
        *self = Request { buffer, headers, ..Request::default() };
    }

    /// Makes a GET without a body of it; the header stays.
    pub fn become_get(&mut self) {
        self.buffer.truncate(self.head_len);
        self.method = Method::Get;
        self.method_text = self.append(b"GET");
        self.framing = RequestBody::None;
        (self.expects_continue, self.upgrade) = (false, false);
    }

    /// A copy that is asked for somewhere else: what came behind the head stays here.
    pub fn leave_body(&mut self) {
        self.buffer.truncate(self.head_len);
        self.framing = RequestBody::None;
        (self.expects_continue, self.upgrade) = (false, false);
    }

    /// The method is GET from now on; the client's body, if there is one, stays.
    pub fn ask_with_get(&mut self) {
        self.method = Method::Get;
        self.asks_with_get = true;
    }

    /// Puts text behind the head, for something that is to be a slice of the buffer.
    pub fn append(&mut self, text: &[u8]) -> Slice {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(text);
        Slice::new(start, self.buffer.len())
    }

    /// Parses what `buffer` holds; call again with more bytes after `NeedMore`.
    ///
    /// # Errors
    /// The status nginx refuses such a request with, and the reason for its error log.
    pub fn parse(&mut self, limits: &Limits) -> Result<Progress, BadRequest> {
        loop {
            let Some(end) = self.line_end() else {
                return self.check_unfinished(limits).map(|()| Progress::NeedMore);
            };
            let line = Slice::new(self.line_start, end);
            self.line_start = end + 2;
            self.scanned = self.line_start;
            if !self.has_line {
                self.take_request_line(line, limits)?;
                self.sound = self.line_start;
                if self.version == Version::Http09 {
                    return self.finish();
                }
            } else if line.is_empty() {
                self.sound = self.line_start;
                return self.finish();
            } else {
                self.take_field(line, limits)?;
                self.sound = self.line_start;
            }
        }
    }

    /// The end of the line at `line_start`, before its CRLF. A bare LF is left in the line, where
    /// the character checks refuse it.
    fn line_end(&mut self) -> Option<usize> {
        let mut from = self.scanned;
        loop {
            let found = from + memchr(b'\n', self.buffer.get(from..)?)?;
            self.scanned = found;
            if found > self.line_start && self.buffer.get(found - 1) == Some(&b'\r') {
                return Some(found - 1);
            }
            from = found + 1;
            self.scanned = from;
        }
    }

    fn check_unfinished(&mut self, limits: &Limits) -> Result<(), BadRequest> {
        let rest = self.buffer.get(self.line_start..).unwrap_or_default();
        if memchr(b'\n', rest).is_some() {
            return Err(if self.has_line { INVALID_FIELD } else { INVALID_LINE });
        }
        // The CR of an end that has not come whole does not make a line longer.
        let unfinished = rest.strip_suffix(b"\r").unwrap_or(rest).len();
        self.scanned = self.buffer.len();
        if !self.has_line {
            // Answer what can be no request at once, as TLS bytes on a plain port.
            if unfinished > 0 && !rest.first().is_some_and(|byte| is_method_byte(*byte) || *byte == b'\r') {
                return Err(INVALID_METHOD);
            }
            return if self.fits(unfinished, limits) { Ok(()) } else { Err(LONG_URI) };
        }
        if self.fits(unfinished, limits) { Ok(()) } else { Err(LONG_FIELD) }
    }

    /// What is left where the last line is.
    fn room(&self, limits: &Limits) -> usize {
        let size = if self.buffers == 0 { limits.first } else { limits.line };
        size.saturating_sub(self.used)
    }

    /// Whether a line of this length could still be held.
    fn fits(&self, len: usize, limits: &Limits) -> bool {
        len <= self.room(limits) || (len <= limits.line && self.buffers < limits.buffers)
    }

    /// Counts a line with its end; false when it is too long. As nginx: it is held in one piece, by the
    /// next large buffer when it does not fit behind the line before.
    fn place(&mut self, len: usize, limits: &Limits) -> bool {
        let len = len + 2;
        if !self.fits(len, limits) {
            return false;
        }
        if len > self.room(limits) {
            self.buffers += 1;
            self.used = 0;
        }
        self.used += len;
        true
    }

    fn take_request_line(&mut self, line: Slice, limits: &Limits) -> Result<(), BadRequest> {
        if line.is_empty() {
            // RFC 9112 section 2.2: an empty line before the request line is ignored.
            return if self.line_start > 64 { Err(INVALID_LINE) } else { Ok(()) };
        }
        if !self.place(line.len as usize, limits) {
            return Err(LONG_URI);
        }
        self.line = line;
        self.has_line = true;
        self.parse_request_line()
    }

    fn parse_request_line(&mut self) -> Result<(), BadRequest> {
        let start = self.line.start as usize;
        let line = self.line.of(&self.buffer);
        let method_end = line.iter().position(|&byte| !is_method_byte(byte)).unwrap_or(line.len());
        let method = line.get(..method_end).unwrap_or_default();
        if method.is_empty() || !matches!(line.get(method_end), None | Some(b' ')) {
            return Err(INVALID_METHOD);
        }
        let mut target_start = method_end;
        while line.get(target_start) == Some(&b' ') {
            target_start += 1;
        }
        let rest = line.get(target_start..).unwrap_or_default();
        let target_len = memchr(b' ', rest).unwrap_or(rest.len());
        let target = rest.get(..target_len).unwrap_or_default();
        if target.is_empty() || words::any(target, b'/', |word| words::below(word, b'!') | words::equal(word, 0x7f)) {
            return Err(INVALID_LINE);
        }
        let version = trim_spaces(rest.get(target_len..).unwrap_or_default());
        let (authority, path) = split_target(target)?;
        let at = start + target_start;
        if version.is_empty() {
            // A client that knows no heads gets none, whatever the answer.
            self.version = Version::Http09;
        }
        self.version = parse_version(version, method)?;
        self.method = Method::of(method);
        self.method_text = Slice::new(start, start + method_end);
        self.authority = authority.map(|(from, to)| Slice::new(at + from, at + to));
        self.target = Slice::new(at + path, at + target_len);
        Ok(())
    }

    fn take_field(&mut self, line: Slice, limits: &Limits) -> Result<(), BadRequest> {
        if !self.place(line.len as usize, limits) {
            return Err(LONG_FIELD);
        }
        let text = line.of(&self.buffer);
        let named = Name::of(text).ok_or(INVALID_FIELD)?;
        let colon = named.len;
        let name = text.get(..colon).unwrap_or_default();
        let value = text.get(colon + 1..).unwrap_or_default();
        // A tab may pass: whether it is one is asked where there is one.
        let suspicious = words::any(value, b' ', |word| words::below(word, b' ') | words::equal(word, 0x7f));
        if suspicious && value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(INVALID_FIELD);
        }
        if limits.ignore_invalid && !named.is_ordinary(limits.underscores) {
            return Ok(());
        }
        if self.headers.len() >= limits.headers {
            return Err(bad("client sent too many headers"));
        }
        let start = line.start as usize;
        let value = trim(value, start + colon + 1);
        self.headers.push(Header { name: Slice::new(start, start + colon), value, known: Known::of(name) });
        Ok(())
    }

    /// Checks the fields against each other (RFC 9112 sections 3.2 and 6.3).
    fn finish(&mut self) -> Result<Progress, BadRequest> {
        self.head_len = self.line_start;
        let facts = Facts::gather(self)?;
        if facts.hosts == 0 && self.version == Version::Http11 {
            return Err(bad("client sent HTTP/1.1 request without \"Host\" header"));
        }
        self.framing = match (facts.length, facts.chunked) {
            (Some(_), true) => {
                return Err(bad("client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"));
            }
            (_, true) if self.version < Version::Http11 => {
                return Err(bad("client sent HTTP/1.0 request with \"Transfer-Encoding\" header"));
            }
            (None, true) => RequestBody::Chunked,
            (Some(length), false) if length > 0 => RequestBody::Length(length),
            _ => RequestBody::None,
        };
        self.connection = facts.connection;
        self.upgrade = facts.upgrade_option && facts.upgrade_field;
        self.expects_continue = facts.expects_continue && self.version >= Version::Http11;
        Ok(Progress::Head)
    }

    /// Bytes of the head so far, up to the first line that was refused: `$request_length`.
    pub fn sound_len(&self) -> u64 {
        self.sound.saturating_sub(self.line.start as usize) as u64
    }

    /// Whether more of its body has yet to come, as far as that is known from its head.
    pub fn awaits_body(&self) -> bool {
        let here = self.buffer.len().saturating_sub(self.head_len) as u64;
        match self.framing {
            RequestBody::None => false,
            RequestBody::Length(length) => here < length,
            RequestBody::Chunked => true,
        }
    }

    /// Whether its request line was understood.
    pub fn has_target(&self) -> bool {
        !self.method_text.is_empty()
    }

    /// Whether the client wants the connection kept after the response.
    pub fn wants_keepalive(&self) -> bool {
        match self.connection {
            ConnectionOption::Close => false,
            ConnectionOption::KeepAlive => true,
            ConnectionOption::Unsaid => self.version >= Version::Http11,
        }
    }
    /// First field of this kind.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.known == known).map(|header| header.value.of(&self.buffer))
    }

    /// Some field says under which condition the answer is wanted.
    pub fn has_conditions(&self) -> bool {
        use Known::{IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince};
        let conditional = |known| matches!(known, IfMatch | IfNoneMatch | IfModifiedSince | IfUnmodifiedSince);
        self.headers.iter().any(|header| conditional(header.known))
    }

    /// First field of this name, in any case.
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Names and values in the order they came.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|header| (header.name.of(&self.buffer), header.value.of(&self.buffer)))
    }

    pub fn method_bytes(&self) -> &[u8] {
        if self.asks_with_get { b"GET" } else { self.method_text.of(&self.buffer) }
    }

    pub fn target_bytes(&self) -> &[u8] {
        self.target.of(&self.buffer)
    }

    pub fn line_bytes(&self) -> &[u8] {
        self.line.of(&self.buffer)
    }
}

/// What the fields of a request say together.
#[derive(Default)]
struct Facts {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    connection: ConnectionOption,
    upgrade_option: bool,
    upgrade_field: bool,
    expects_continue: bool,
    /// Those of [`ONCE`] that have come.
    come: u16,
}

/// What a server that looks at the first and one that looks at the last would read differently.
const ONCE: [(Known, &str); 8] = [
    (Known::Expect, "client sent duplicate header line: \"Expect\""),
    (Known::Authorization, "client sent duplicate header line: \"Authorization\""),
    (Known::IfMatch, "client sent duplicate header line: \"If-Match\""),
    (Known::IfNoneMatch, "client sent duplicate header line: \"If-None-Match\""),
    (Known::IfModifiedSince, "client sent duplicate header line: \"If-Modified-Since\""),
    (Known::IfUnmodifiedSince, "client sent duplicate header line: \"If-Unmodified-Since\""),
    (Known::IfRange, "client sent duplicate header line: \"If-Range\""),
    (Known::ContentRange, "client sent duplicate header line: \"Content-Range\""),
];

impl Facts {
    fn gather(request: &Request) -> Result<Facts, BadRequest> {
        let mut facts = Facts::default();
        for header in request.headers.iter().filter(|header| header.known != Known::Other) {
            facts.add(header.known, header.value.of(&request.buffer))?;
        }
        Ok(facts)
    }

    fn add(&mut self, known: Known, value: &[u8]) -> Result<(), BadRequest> {
        self.once(known)?;
        match known {
            Known::Host => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(bad("client sent duplicate host header"));
                }
            }
            Known::ContentLength => {
                if self.length.is_some() {
                    return Err(bad("client sent duplicate header line: \"Content-Length\""));
                }
                let length = parse_decimal(value).filter(|&length| length <= i64::MAX as u64);
                self.length = Some(length.ok_or(bad("client sent invalid \"Content-Length\" header"))?);
            }
            Known::TransferEncoding if self.chunked => {
                return Err(bad("client sent duplicate header line: \"Transfer-Encoding\""));
            }
            Known::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            Known::TransferEncoding => return Err(refuse(501, "client sent unknown \"Transfer-Encoding\"")),
            Known::Connection => {
                if is_list_member(value, b"close") {
                    self.connection = ConnectionOption::Close;
                } else if is_list_member(value, b"keep-alive") && self.connection != ConnectionOption::Close {
                    self.connection = ConnectionOption::KeepAlive;
                }
                self.upgrade_option |= is_list_member(value, b"upgrade");
            }
            Known::Upgrade => self.upgrade_field = true,
            Known::Expect => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(())
    }

    fn once(&mut self, known: Known) -> Result<(), BadRequest> {
        let Some(at) = ONCE.iter().position(|(once, _)| *once == known) else { return Ok(()) };
        if self.come & 1 << at != 0 {
            return Err(bad(ONCE.get(at).map_or("", |(_, reason)| reason)));
        }
        self.come |= 1 << at;
        Ok(())
    }
}

impl Method {
    fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_' || byte == b'-'
}

fn parse_version(text: &[u8], method: &[u8]) -> Result<Version, BadRequest> {
    if text.is_empty() {
        // HTTP/0.9 knows GET only.
        return if method == b"GET" { Ok(Version::Http09) } else { Err(INVALID_LINE) };
    }
    if text == b"HTTP/1.1" {
        return Ok(Version::Http11);
    }
    let number = text.strip_prefix(b"HTTP/").ok_or(INVALID_LINE)?;
    if number.first() == Some(&b'0') {
        return Err(INVALID_LINE);
    }
    let dot = memchr(b'.', number).ok_or(INVALID_LINE)?;
    let major = parse_decimal(number.get(..dot).unwrap_or_default()).ok_or(INVALID_LINE)?;
    let minor = parse_decimal(number.get(dot + 1..).unwrap_or_default()).ok_or(INVALID_LINE)?;
    if major > 99 || minor > 99 {
        return Err(INVALID_LINE);
    }
    match (major, minor) {
        (2.., _) => Err(refuse(505, "client sent invalid version while reading client request line")),
        (1, 0) => Ok(Version::Http10),
        (1, _) => Ok(Version::Http11),
        _ => Err(INVALID_LINE),
    }
}

type Authority = Option<(usize, usize)>;

/// Splits an absolute URI into its authority and where its path begins; `/path` has no authority.
fn split_target(target: &[u8]) -> Result<(Authority, usize), BadRequest> {
    if target.first() == Some(&b'/') {
        return Ok((None, 0));
    }
    let scheme = target.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    let after = target.get(scheme..).unwrap_or_default();
    if !target.first().is_some_and(u8::is_ascii_alphabetic) || !after.starts_with(b"://") {
        return Err(INVALID_LINE);
    }
    let start = scheme + 3;
    let rest = target.get(start..).unwrap_or_default();
    let len = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    if len == 0 {
        return Err(INVALID_LINE);
    }
    Ok((Some((start, start + len)), start + len))
}

fn trim_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|&&byte| byte == b' ').count();
    let text = text.get(start..).unwrap_or_default();
    let end = text.len() - text.iter().rev().take_while(|&&byte| byte == b' ').count();
    text.get(..end).unwrap_or_default()
}

/// Takes off the white space around a value that begins at `at`.
pub(super) fn trim(value: &[u8], at: usize) -> Slice {
    if let [b' ', first, .., last] = value
        && *first.min(last) > b' '
    {
        return Slice::new(at + 1, at + value.len());
    }
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let start = value.iter().take_while(blank).count();
    let end = value.len() - value.iter().rev().take_while(blank).count();
    Slice::new(at + start, (at + end).max(at + start))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
