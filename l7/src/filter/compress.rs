//! A body on its way into gzip, or another coding. Holds what the compressor holds, and nothing else.

use super::Settings;
use super::brotli::Brotli;
use super::chain::{Broken, End};
use super::coding::Coding;
use super::zstd::Zstd;
use flate2::{Compress, Compression, FlushCompress, Status};

/// What packs a body.
pub(super) enum Pack {
    Gzip(Gzip),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

impl Pack {
    pub fn new(coding: Coding, settings: &Settings, length: Option<u64>) -> Pack {
        match coding {
            Coding::Gzip => Pack::Gzip(Gzip::new(settings.gzip.level, length)),
            Coding::Brotli => Pack::Brotli(Box::new(Brotli::new(&settings.brotli, length))),
            Coding::Zstd => Pack::Zstd(Zstd::new(&settings.zstd, length)),
        }
    }

    pub fn write(&mut self, bytes: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self {
            Pack::Gzip(gzip) => gzip.write(bytes, end, out),
            Pack::Brotli(brotli) => brotli.write(bytes, end, out),
            Pack::Zstd(zstd) => zstd.write(bytes, end, out),
        }
    }

    /// `$gzip_ratio`: bytes before and after.
    pub fn gzipped(&self) -> Option<(u64, u64)> {
        match self {
            Pack::Gzip(gzip) => Some(gzip.totals()),
            Pack::Brotli(_) | Pack::Zstd(_) => None,
        }
    }
}

pub(super) struct Gzip {
    stream: Compress,
}

const MOST_BITS: u8 = 15;
const LEAST_BITS: u8 = 9;

impl Gzip {
    /// A body whose length is known needs no window beyond it.
    pub fn new(level: u32, length: Option<u64>) -> Gzip {
        let mut bits = MOST_BITS;
        while bits > LEAST_BITS && length.is_some_and(|length| length < 1 << (bits - 1)) {
            bits -= 1;
        }
        Gzip { stream: Compress::new_gzip(Compression::new(level), bits) }
    }

    /// Bytes before and after.
    pub fn totals(&self) -> (u64, u64) {
        (self.stream.total_in(), self.stream.total_out())
    }

    pub fn write(&mut self, mut bytes: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Broken> {
        let flush = match end {
            End::Not => FlushCompress::None,
            End::Flush => FlushCompress::Sync,
            End::Last => FlushCompress::Finish,
        };
        loop {
            out.reserve((bytes.len() / 2).clamp(256, 16 << 10));
            let (taken, made) = self.totals();
            let status = self.stream.compress_vec(bytes, out, flush).map_err(|_| Broken("deflate() failed"))?;
            let (now_taken, now_made) = self.totals();
            bytes = usize::try_from(now_taken - taken).ok().and_then(|taken| bytes.get(taken..)).unwrap_or_default();
            let full = out.len() == out.capacity();
            match status {
                Status::StreamEnd => return Ok(()),
                _ if !bytes.is_empty() || full => {}
                _ if end == End::Last && now_made > made => {}
                _ if end == End::Last => return Err(Broken("deflate() failed")),
                _ => return Ok(()),
            }
        }
    }
}
