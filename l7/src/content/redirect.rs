//! `Location` of the redirects we answer ourselves.

use crate::content::error_page;
use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::uri;
use fairlead_core::net::Address;
use std::borrow::Cow;
use std::io::Write;

/// The page of `status` that sends the client to `target`, made absolute when the location wants it.
pub(crate) fn redirect(exchange: &Exchange, status: u16, target: Vec<u8>) -> Reply {
    let target = without_controls(target);
    let mut reply = error_page(status, exchange.location.server_tokens);
    if target.first() == Some(&b'/') && exchange.location.absolute_redirect {
        let mut absolute = Vec::new();
        push_origin(exchange, &mut absolute);
        absolute.extend_from_slice(&target);
        reply.location = Some(absolute);
    } else {
        // nginx writes what it does not touch behind `Connection`.
        reply.headers.push((Cow::Borrowed("Location"), target));
    }
    reply
}

fn without_controls(target: Vec<u8>) -> Vec<u8> {
    if !target.iter().any(|byte| *byte < b' ') {
        return target;
    }
    let mut out = Vec::with_capacity(target.len() + 8);
    uri::push_without_controls(&target, &mut out);
    out
}

/// 301 to the path with a slash added.
pub(crate) fn add_slash(exchange: &Exchange) -> Reply {
    let mut target = Vec::with_capacity(exchange.uri.len() + 1);
    exchange.uri.iter().for_each(|&byte| uri::push_escaped(byte, &mut target));
    target.push(b'/');
    if let Some(args) = exchange.query().filter(|args| !args.is_empty()) {
        target.push(b'?');
        target.extend_from_slice(args);
    }
    redirect(exchange, 301, target)
}

/// Scheme, the host the client knows us by, and the port when it is not HTTP's own.
pub(crate) fn push_origin(exchange: &Exchange, out: &mut Vec<u8>) {
    out.extend_from_slice(b"http://");
    let location = &exchange.location;
    let local = &exchange.connection.local;
    if location.server_name_in_redirect && !exchange.server.name.is_empty() {
        out.extend_from_slice(exchange.server.name.as_bytes());
    } else if !exchange.host.is_empty() {
        out.extend_from_slice(&exchange.host);
    } else if let Address::Ip(address) = local {
        let ip = address.ip();
        // Writing to a vector cannot fail.
        let _ = if ip.is_ipv6() { write!(out, "[{ip}]") } else { write!(out, "{ip}") };
    }
    if let Some(port) = local.port().filter(|&port| port != 80 && location.port_in_redirect) {
        let _ = write!(out, ":{port}");
    }
}
