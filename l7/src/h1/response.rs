//! A peer's response head.

use crate::h1::{Header, Slice, Version};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse(pub &'static str);

/// One response head, as slices of the buffer it was parsed from.
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
}
