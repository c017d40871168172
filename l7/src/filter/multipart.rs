//! Several ranges of a file in one answer: `multipart/byteranges` (RFC 9110 section 14.6).
//!
//! The other filters see the head of the whole file; [`Parts::seal`] gives it its own type and length
//! when they are done.

use super::head;
use crate::disk::Source;
use std::hash::{BuildHasher, RandomState};

/// Parts of a file, each with its lines in front.
#[derive(Debug)]
pub struct Parts {
    pub(crate) file: Source,
    /// Lines, first byte, byte behind the last.
    pub(crate) parts: Vec<(Vec<u8>, u64, u64)>,
    /// What ends the last one.
    pub(crate) end: Vec<u8>,
    /// Of the whole file.
    whole: u64,
}

impl Parts {
    pub fn new(file: Source, ranges: Vec<(u64, u64)>, whole: u64) -> Parts {
        let parts = ranges.into_iter().map(|(start, end)| (Vec::new(), start, end)).collect();
        Parts { file, parts, end: Vec::new(), whole }
    }

    /// Everything that is sent.
    pub fn len(&self) -> u64 {
        let part = |(lines, start, end): &(Vec<u8>, u64, u64)| lines.len() as u64 + end.saturating_sub(*start);
        self.parts.iter().map(part).sum::<u64>() + self.end.len() as u64
    }

    /// Words the lines between the parts by what the head says of the file, and the head by them.
    pub(crate) fn seal(&mut self, text: &mut Vec<u8>) {
        let boundary = boundary();
        let mut lines = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(content_type) = head::value(text, b"Content-Type") {
            lines.extend_from_slice(&head::line(b"Content-Type", content_type));
        }
        for (before, start, end) in &mut self.parts {
            let range = format!("Content-Range: bytes {start}-{}/{}\r\n\r\n", end.saturating_sub(1), self.whole);
            *before = [lines.as_slice(), range.as_bytes()].concat();
        }
        self.end = format!("\r\n--{boundary}--\r\n").into_bytes();
        head::remove(text, b"Content-Range");
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        head::set(text, false, b"Content-Type", content_type.as_bytes());
        if head::value(text, b"Content-Length").is_some() {
            head::set(text, false, b"Content-Length", self.len().to_string().as_bytes());
        }
    }
}

/// Twenty digits that no file foresees.
fn boundary() -> String {
    thread_local! {
        static KEYS: RandomState = RandomState::new();
        static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    let count = COUNT.get();
    COUNT.set(count.wrapping_add(1));
    KEYS.with(|keys| format!("{:020}", keys.hash_one(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_have_one_length_and_differ() {
        let boundaries: std::collections::HashSet<String> = (0..256).map(|_| boundary()).collect();
        assert_eq!(boundaries.len(), 256);
        assert!(boundaries.iter().all(|boundary| boundary.len() == 20));
    }
}
