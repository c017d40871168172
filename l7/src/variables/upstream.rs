//! Variables of the peers that were tried: one element per try.

use super::{Row, push, push_number, push_seconds};
use crate::exchange::{Attempt, Exchange};
use crate::proxy::{BodyFraming, Bound};
use std::time::Duration;

macro_rules! row {
    ($name:literal, $doc:literal, $value:expr) => {
        Row { name: $name, doc: $doc, value: $value }
    };
}

pub(super) const ROWS: &[Row] = &[
    row!(
        "upstream_addr",
        "Addresses of the peers that were tried, with commas between: `10.0.0.1:80, 10.0.0.2:80`. \
        The group's name when no peer was left.",
        |x, out| { list(x, out, |attempt, out| push(Some(peer_name(attempt).as_bytes()), out)) }
    ),
    row!("upstream_last_addr", "Address of the peer that was tried last.", |x, out| {
        x.attempts.last().is_some_and(|attempt| push(Some(peer_name(attempt).as_bytes()), out))
    }),
    row!(
        "upstream_last_server_name",
        "Name of the peer that was tried last, as its `server` line has it, without the port.",
        |x, out| {
            let peer = x.attempts.last().and_then(|attempt| attempt.peer.as_ref());
            peer.is_some_and(|peer| push(Some(server_name(&peer.server).as_bytes()), out))
        }
    ),
    row!(
        "upstream_queue_time",
        "Seconds that each try waited in the `queue` of its group, to the millisecond.",
        |x, out| list(x, out, |attempt, out| seconds(attempt.queue_time, out))
    ),
    row!(
        "upstream_sticky_status",
        "What came of `sticky` in each try: NEW, the request asked for no peer; HIT, it went to the one it asked for; \
        MISS, that one could not be used, or is not known; FORGED, its cookie was not signed here.",
        |x, out| {
            let any = x.attempts.iter().any(|attempt| attempt.bound.is_some());
            any && list(x, out, |attempt, out| push(attempt.bound.map(|bound| sticky_status(bound).as_bytes()), out))
        }
    ),
    row!("upstream_status", "Statuses the peers answered; 502 or 504 where one did not.", |x, out| {
        list(x, out, |attempt, out| attempt.status != 0 && push_number(attempt.status, out))
    }),
    row!("upstream_connect_time", "Seconds each connect took, to the millisecond.", |x, out| {
        list(x, out, |attempt, out| seconds(attempt.connect_time, out))
    }),
    row!("upstream_header_time", "Seconds until each response's head was there.", |x, out| {
        list(x, out, |attempt, out| seconds(attempt.header_time, out))
    }),
    row!("upstream_response_time", "Seconds until each response was there whole.", |x, out| {
        list(x, out, |attempt, out| seconds(attempt.response_time, out))
    }),
    row!("upstream_response_length", "Body bytes of each response.", |x, out| {
        list(x, out, |attempt, out| push_number(attempt.response_length, out))
    }),
    row!("upstream_bytes_sent", "Bytes sent to each peer.", |x, out| {
        list(x, out, |attempt, out| push_number(attempt.bytes_sent, out))
    }),
    row!("upstream_bytes_received", "Bytes received from each peer.", |x, out| {
        list(x, out, |attempt, out| push_number(attempt.bytes_received, out))
    }),
    row!("proxy_host", "Host, and port when it is not 80, of the `proxy_pass` in use.", |x, out| {
        push(x.proxying.then_some(&x.proxy_host), out)
    }),
    row!("proxy_port", "Port of the `proxy_pass` in use.", |x, out| { push(x.proxying.then_some(&x.proxy_port), out) }),
    row!("proxy_internal_body_length", "Length of the body that goes to the peer, if it is known.", |x, out| {
        match x.peer_body {
            BodyFraming::Length(length) if x.proxying => push_number(length, out),
            _ => false,
        }
    }),
    row!("proxy_internal_chunked", "`chunked` when the body goes to the peer in chunks.", |x, out| {
        push((x.proxying && x.peer_body == BodyFraming::Chunked).then_some(b"chunked"), out)
    }),
];

fn sticky_status(bound: Bound) -> &'static str {
    match bound {
        Bound::New => "NEW",
        Bound::Hit | Bound::HitByOldKey => "HIT",
        Bound::Miss => "MISS",
        Bound::Forged => "FORGED",
    }
}

/// `host`, `host:port`, `[IPv6]:port` or `unix:path` without its port: what TLS would ask the peer for.
fn server_name(server: &str) -> &str {
    match server.rsplit_once(':') {
        Some((host, port)) if !server.starts_with("unix:") && !port.ends_with(']') && !host.ends_with(':') => host,
        _ => server,
    }
}

fn peer_name(attempt: &Attempt) -> &str {
    attempt.peer.as_ref().map_or(&*attempt.group, |peer| &*peer.name)
}

/// One element per try, `-` where it has none; nothing when no peer was asked.
fn list(exchange: &Exchange, out: &mut Vec<u8>, push: impl Fn(&Attempt, &mut Vec<u8>) -> bool) -> bool {
    for (index, attempt) in exchange.attempts.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(if attempt.anew { b" : " } else { b", " });
        }
        if !push(attempt, out) {
            out.push(b'-');
        }
    }
    !exchange.attempts.is_empty()
}

fn seconds(time: Option<u64>, out: &mut Vec<u8>) -> bool {
    time.is_some_and(|millis| push_seconds(millis, out))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
