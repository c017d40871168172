//! The chunked transfer coding (RFC 9112 section 7.1), strict: CRLF only.

/// Where a decoder stands in the stream of chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunked {}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    NeedMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkError;
