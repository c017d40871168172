//! A response made here rather than by a peer: errors, redirects, files.

use crate::disk::Source;
use crate::filter::Parts;
use std::borrow::Cow;

/// What a content phase answers. Sending it adds `Server`, `Date`, `Connection` and what
/// `add_header`-like features add.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub content_type: Option<Cow<'static, [u8]>>,
    /// Seconds since 1970.
    pub last_modified: Option<u64>,
    pub location: Option<Vec<u8>>,
    /// Further fields, in order, after the ones above.
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
    pub body: Body,
    /// The status whose built-in page it is: `error_page` may name another.
    pub page: Option<u16>,
    /// Another client may get other bytes: `gzip_vary` says so.
    pub varies: bool,
    /// The request's conditions have had their say.
    pub judged: bool,
    /// Its head does not tell how long the body is.
    pub open_ended: bool,
    /// Close the connection after it.
    pub close: bool,
}

#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    Bytes(Cow<'static, [u8]>),
    /// `length` bytes of an open file from `start` on.
    File {
        file: Source,
        start: u64,
        length: u64,
    },
    /// Several ranges of one.
    Parts(Box<Parts>),
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { length, .. } => *length,
            Body::Parts(parts) => parts.len(),
        }
    }
}
