//! `sticky source` of stream: a client's address is kept with the peer that it went to last.

use crate::upstream::server::invalid;
use fairlead_conf::value::parse_time;
use fairlead_conf::{Diagnostic, Given, Param, Value, Word};
use std::time::Duration;

/// `sticky source [timeout=] [zone=name:size]`.
#[derive(Clone, Debug)]
pub struct StickySource {
    pub timeout: Duration,
    /// Where the zone was named, for what is said about a name that is taken.
    pub zone: Option<Word>,
    /// Bytes.
    pub size: u64,
}

pub(in crate::upstream) const SOURCE_PARAMS: &[Param] = &[
    Param {
        name: "timeout",
        value: Some(Value::Time),
        doc: "How long after its last session began a client is remembered; 1h.",
    },
    Param {
        name: "zone",
        value: Some(Value::Text),
        doc: "Name and size, as `clients:1m`, of the table; 1m. A megabyte remembers 16,384 clients; when it is full \
              the one that was not seen for the longest time is forgotten.",
    },
];

/// Bytes of a table whose `zone` is not written.
const DEFAULT_SIZE: u64 = 1 << 20;

pub(in crate::upstream) fn parse(given: &Given<'_>) -> Result<StickySource, Diagnostic> {
    let mut source = StickySource { timeout: Duration::from_secs(3600), zone: None, size: DEFAULT_SIZE };
    if let Some(word) = given.param(1, "timeout") {
        let time = parse_time(&word.text).filter(|time| !time.is_zero());
        source.timeout = time.ok_or_else(|| invalid(given, "timeout"))?;
    }
    if let Some(word) = given.param(1, "zone") {
        let (zone, size) = super::zone(&word)?;
        (source.zone, source.size) = (Some(zone), size);
    }
    Ok(source)
}
