//! An answer to an HTTP check as a plane sees it, whose variables `match { require … }` may ask for.

use crate::clock::Tick;
use crate::upstream::Peer;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What came of one probe.
pub struct Answered {
    pub peer: Arc<Peer>,
    pub status: u16,
    /// Status line and fields, as text.
    pub head: Vec<u8>,
    pub began: Tick,
    /// From `began` on.
    pub connect_time: Duration,
    pub header_time: Duration,
    pub response_time: Duration,
    /// Body bytes that were looked at.
    pub length: u64,
}

/// A plane's judgement of answers.
#[derive(Clone)]
pub struct Judge(pub Arc<dyn Fn(&Answered) -> bool + Send + Sync>);

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}
