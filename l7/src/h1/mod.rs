//! HTTP/1 without I/O: bytes in, events and bytes out.
//!
//! Strict where request smuggling lives (RFC 9112), faithful to nginx where
//! clients depend on it. Knows nothing of sockets, routes or peers.

mod bytes;
mod chunked;
mod head;
mod request;
mod response;

pub use bytes::{Slice, is_list_member, is_token, parse_decimal};
pub use chunked::{Chunked, Event, push_chunk_size};
pub use head::{Header, Known};
pub use request::{BadRequest, Limits, Method, Progress, Request, RequestBody, Version};
pub use response::{Framing, Response};
