//! A request's head: the request line and header fields, checked as nginx checks them.

use crate::h1::{Header, Known, Slice};

/// What a request line and its fields may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `large_client_header_buffers`: the longest request line or field.
    pub line: usize,
    /// All of the head together: number of buffers times their size.
    pub head: usize,
    /// `max_headers`.
    pub headers: usize,
    /// `underscores_in_headers`.
    pub underscores: bool,
    /// `ignore_invalid_headers`: leave out fields with strange names instead of refusing.
    pub ignore_invalid: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { line: 8 << 10, head: 32 << 10, headers: 1000, underscores: false, ignore_invalid: true }
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
#[derive(Debug, Default)]
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
    /// Names listed in `Connection` other than close, keep-alive and upgrade are also hop by hop.
    pub upgrade: bool,
    pub(crate) state: ParseState,
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

/// How far parsing has come, so that a head that arrives in pieces is not scanned twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ParseState {
    pub scanned: usize,
}

impl Request {
    /// First field of this kind.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.known == known).map(|header| header.value.of(&self.buffer))
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
        self.method_text.of(&self.buffer)
    }

    pub fn target_bytes(&self) -> &[u8] {
        self.target.of(&self.buffer)
    }

    pub fn line_bytes(&self) -> &[u8] {
        self.line.of(&self.buffer)
    }
}
