//! `udp_sessions` and `udp_socket_reuse`, which nginx has not: bounds of the
//! table of UDP sessions, and what becomes of a session's socket.

use crate::directives::{SERVER, STREAM};
use fairlead_conf::{Args, Directive, Repeat, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Sessions of one listener on one worker.
    pub sessions: usize,
    pub reuse: bool,
}

/// Numbers of sessions fit into 32 bits, with one left over for none.
const SESSIONS: Value = Value::Int(1..=i32::MAX as i64);

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
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
    },
    Directive {
        name: "udp_socket_reuse",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether the socket of a UDP session that got every reply of `proxy_responses` serves another session \
              later: not before 2 s (20 ms while very many wait), and never after a datagram came late while it \
              rested. Saves opening a socket for each exchange, and is for peers that answer each datagram once: \
              a reply that comes later still may reach another client. An extension of fairlead.",
        set: |udp, given| given.flag(0).map(|on| udp.reuse = on),
    },
];
