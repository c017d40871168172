//! `udp_sessions`, which nginx has not: the bound of the table of UDP sessions.

use crate::directives::{SERVER, STREAM};
use fairlead_conf::{Args, Directive, Repeat, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Sessions of one listener on one worker.
    pub sessions: usize,
}

/// Numbers of sessions fit into 32 bits, with one left over for none.
const SESSIONS: Value = Value::Int(1..=i32::MAX as i64);

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[Directive {
    name: "udp_sessions",
    contexts: STREAM.or(SERVER),
    args: Args::exactly(&[SESSIONS], "number"),
    repeat: Repeat::Once,
    default: Some("65536"),
    doc: "How many UDP sessions each worker holds for one listener, besides `worker_connections`, which bounds \
              all of a worker's. When there is no room for another, the oldest session that shows no sign of a \
              real client makes place (its peer has not answered for 250 ms, or its client has sent nothing for \
              2 s after the only answer, which is all that an invented address gets); without one the datagram \
              is dropped and counted. An extension of fairlead.",
    set: |udp, given| {
        udp.sessions = usize::try_from(given.int(0)?).unwrap_or(usize::MAX);
        Ok(())
    },
}];
