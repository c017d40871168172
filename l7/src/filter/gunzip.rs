//! A body on its way out of gzip: a piece at a time, however much a few bytes may unpack to.

use super::chain::Broken;
use flate2::{Decompress, FlushDecompress, Status};

#[derive(Default)]
pub(super) struct Gunzip {
    /// `None` before the stream and between two members of it.
    stream: Option<Decompress>,
    /// The last step gave as much as it may: there may be more without another byte.
    full: bool,
}

/// What one step gives at most.
const STEP: usize = 16 << 10;

impl Gunzip {
    /// Unpacks from the front of `bytes` to the end of `out`; gives how many it took. With no bytes
    /// and nothing added to `out` all has been unpacked.
    pub fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Broken> {
        self.full = false;
        if bytes.is_empty() && self.stream.is_none() {
            return Ok(0);
        }
        // As nginx: another member may follow the first.
        let stream = self.stream.get_or_insert_with(|| Decompress::new_gzip(15));
        let before = stream.total_in();
        let mut piece = Vec::with_capacity(STEP);
        let step = stream.decompress_vec(bytes, &mut piece, FlushDecompress::None);
        let status = step.map_err(|_| Broken("inflate() failed"))?;
        let taken = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX).min(bytes.len());
        self.full = piece.len() == piece.capacity();
        if status == Status::StreamEnd {
            (self.stream, self.full) = (None, false);
        }
        out.append(&mut piece);
        Ok(taken)
    }

    /// The body may end here.
    pub fn is_whole(&self) -> bool {
        self.stream.is_none()
    }

    pub fn has_more(&self) -> bool {
        self.full
    }
}
