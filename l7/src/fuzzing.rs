//! Doors for the fuzzers to what reads a part of a stranger's message. Nothing else comes in here.

use crate::disk::Source;
use crate::filter::Parts;
use crate::{content, host, variables};

pub use crate::content::fuzzed_ranges as ranges;

/// The value of `$cookie_name`, and what `sticky cookie` goes by.
pub fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    variables::cookie(line, name)
}

/// A host in its one form.
pub fn host(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    host::push_valid(text, &mut out).then_some(out)
}

/// The path that a peer's `X-Accel-Redirect` leads to.
pub fn redirected(uri: &[u8]) -> Option<Vec<u8>> {
    content::safe_uri(uri)
}

/// An answer of several ranges.
pub struct Multipart {
    /// The lines before each, its first byte and the byte behind its last.
    pub parts: Vec<(Vec<u8>, u64, u64)>,
    /// What ends them.
    pub end: Vec<u8>,
    pub length: u64,
}

/// What these ranges of a file of `whole` bytes become, and its head, in place.
pub fn multipart(head: &mut Vec<u8>, ranges: Vec<(u64, u64)>, whole: u64) -> Multipart {
    // Nothing is read of it here.
    let mut parts = Parts::new(Source::Held([].into()), ranges, whole);
    parts.seal(head);
    Multipart { length: parts.len(), parts: parts.parts, end: parts.end }
}
