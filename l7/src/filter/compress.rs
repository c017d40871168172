//! A body on its way into gzip, or another coding. Holds what the compressor holds, and nothing else.

use super::Settings;
use super::brotli::Brotli;
use super::chain::{Broken, End};
use super::coding::Coding;
use super::zstd::Zstd;
use flate2::{Compress, Compression, FlushCompress, Status};

/// What packs a body, and counts it.
pub(super) struct Pack {
    coder: Coder,
    packed: Packed,
}

/// Bytes before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub coding: Coding,
    before: u64,
    after: u64,
}

impl Packed {
    /// How many times smaller it became, in hundredths; as nginx rounded by the third decimal.
    pub fn ratio(self) -> Option<u64> {
        let thousandths = self.before.saturating_mul(1000).checked_div(self.after)?;
        Some(thousandths.saturating_add(5) / 10)
    }
}

enum Coder {
    Gzip(Gzip),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

impl Pack {
    pub fn new(coding: Coding, settings: &Settings, length: Option<u64>) -> Pack {
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(Gzip::new(settings.gzip.level, length)),
            Coding::Brotli => Coder::Brotli(Box::new(Brotli::new(&settings.brotli, length))),
            Coding::Zstd => Coder::Zstd(Zstd::new(&settings.zstd, length)),
        };
        Pack { coder, packed: Packed { coding, before: 0, after: 0 } }
    }

    pub fn write(&mut self, bytes: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Broken> {
        let start = out.len();
        let written = match &mut self.coder {
            Coder::Gzip(gzip) => gzip.write(bytes, end, out),
            Coder::Brotli(brotli) => brotli.write(bytes, end, out),
            Coder::Zstd(zstd) => zstd.write(bytes, end, out),
        };
        self.packed.before += bytes.len() as u64;
        self.packed.after += out.len().saturating_sub(start) as u64;
        written
    }

    pub fn packed(&self) -> Packed {
        self.packed
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
    fn totals(&self) -> (u64, u64) {
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
