//! Variables of the client's connection.

use super::{Row, push, push_ip, push_number, push_seconds, push_text};
use crate::exchange::Exchange;
use fairlead_core::clock::tick;
use fairlead_core::net::Address;
use std::net::{IpAddr, SocketAddr};

macro_rules! row {
    ($name:literal, $doc:literal, $value:expr) => {
        Row { name: $name, doc: $doc, value: $value }
    };
}

pub(super) const ROWS: &[Row] = &[
    row!("remote_addr", "The client's address; `unix:` for a Unix socket.", |x, out| push_host(
        &x.connection.client,
        out
    )),
    row!("binary_remote_addr", "The client's address as 4 or 16 bytes.", |x, out| match x.connection.client.ip() {
        Some(IpAddr::V4(ip)) => push(Some(&ip.octets()), out),
        Some(IpAddr::V6(ip)) => push(Some(&ip.octets()), out),
        None => push(Some(b"unix:"), out),
    }),
    row!("remote_port", "The client's port.", |x, out| push_port(&x.connection.client, out)),
    row!("realip_remote_addr", "The address that connected, whoever it speaks for.", |x, out| {
        push_host(connected(x), out)
    }),
    row!("realip_remote_port", "The port that connected, whoever it speaks for.", |x, out| {
        push_port(connected(x), out)
    }),
    row!("limit_conn_status", "What `limit_conn` said: `PASSED`, `REJECTED` or `REJECTED_DRY_RUN`.", |x, out| {
        push(x.passed.connections.map(|status| status.name().as_bytes()), out)
    }),
    row!(
        "limit_req_status",
        "What `limit_req` said: `PASSED`, `DELAYED`, `REJECTED`, `DELAYED_DRY_RUN` or `REJECTED_DRY_RUN`.",
        |x, out| push(x.passed.requests.map(|status| status.name().as_bytes()), out)
    ),
    row!("server_addr", "The address the client used.", |x, out| push_host(&x.connection.local, out)),
    row!("server_port", "The port the client used.", |x, out| push_port(&x.connection.local, out)),
    row!("connection", "Number of the connection, unique in the process.", |x, out| push_number(
        x.connection.number,
        out
    )),
    row!("connection_requests", "Requests over this connection so far, this one included.", |x, out| push_number(
        x.requests, out
    )),
    row!("connection_time", "Seconds since the connection was accepted, to the millisecond.", |x, out| {
        push_seconds(super::upstream::millis(tick().since(x.connection.started)), out)
    }),
    row!("pipe", "`p` when the request came pipelined behind another, else `.`.", |x, out| {
        push(Some(if x.pipelined { b"p" } else { b"." }), out)
    }),
    row!("proxy_protocol_addr", "The client's address as the PROXY protocol header says.", |x, out| {
        proxied(x).is_some_and(|(client, _)| push_ip(client.ip(), out))
    }),
    row!("proxy_protocol_port", "The client's port as the PROXY protocol header says.", |x, out| {
        proxied(x).is_some_and(|(client, _)| push_number(client.port(), out))
    }),
    row!("proxy_protocol_server_addr", "The server's address as the PROXY protocol header says.", |x, out| {
        proxied(x).is_some_and(|(_, server)| push_ip(server.ip(), out))
    }),
    row!("proxy_protocol_server_port", "The server's port as the PROXY protocol header says.", |x, out| {
        proxied(x).is_some_and(|(_, server)| push_number(server.port(), out))
    }),
    row!(
        "tcpinfo_rtt",
        "Round-trip time of the client's connection as the kernel knows it, in microseconds.",
        |x, out| { x.tcp_info.is_some_and(|info| push_number(info.rtt, out)) }
    ),
    row!("tcpinfo_rttvar", "How much that varies, in microseconds.", |x, out| {
        x.tcp_info.is_some_and(|info| push_number(info.rttvar, out))
    }),
    row!("tcpinfo_snd_cwnd", "Congestion window of the client's connection, in segments.", |x, out| {
        x.tcp_info.is_some_and(|info| push_number(info.snd_cwnd, out))
    }),
    row!("tcpinfo_rcv_space", "What the kernel would buffer of what the client sends, in bytes.", |x, out| {
        x.tcp_info.is_some_and(|info| push_number(info.rcv_space, out))
    }),
    row!(
        "proxy_add_x_forwarded_for",
        "The `X-Forwarded-For` field of the request with `$remote_addr` appended after a comma.",
        |x, out| {
            let before = out.len();
            for (name, value) in x.request.fields() {
                if name.eq_ignore_ascii_case(b"x-forwarded-for") {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                }
            }
            push_host(&x.connection.client, out) || out.len() > before
        }
    ),
];

fn connected(exchange: &Exchange) -> &Address {
    exchange.connection.connected.as_ref().unwrap_or(&exchange.connection.client)
}

fn proxied(exchange: &Exchange) -> Option<(SocketAddr, SocketAddr)> {
    exchange.connection.proxy_header.as_ref()?.addresses
}

fn push_host(address: &Address, out: &mut Vec<u8>) -> bool {
    match address {
        Address::Ip(address) => push_ip(address.ip(), out),
        Address::Unix(path) if path.as_os_str().is_empty() => push(Some(b"unix:"), out),
        Address::Unix(path) => push_text(format_args!("unix:{}", path.display()), out),
    }
}

/// Empty for a Unix socket, and for who is known by an address alone.
fn push_port(address: &Address, out: &mut Vec<u8>) -> bool {
    match address.port() {
        Some(port) if port > 0 => push_number(port, out),
        Some(_) | None => true,
    }
}
