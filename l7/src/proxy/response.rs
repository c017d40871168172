//! The response head as the client sees it: ours first, then the peer's fields.

use crate::exchange::Exchange;
use crate::h1::{Framing, Known, Method, Version};
use crate::proxy::Proxy;
use crate::proxy::redirect::{self, Redirected};
use crate::proxy::sticky;
use crate::proxy::transfer::ToClient;
use crate::respond::{
    carried_type, push_carried, push_challenges, push_connection, push_date, push_field, push_number, push_server,
    push_status_line,
};
use std::borrow::Cow;

/// Appends the head of `exchange.response`, parsed from `bytes`. `cookie` is a whole `Set-Cookie` line.
pub(super) fn push_head(exchange: &Exchange, proxy: &Proxy, bytes: &[u8], to_client: &ToClient, out: &mut Vec<u8>) {
    if exchange.request.version == Version::Http09 {
        return;
    }
    let response = &exchange.response;
    match exchange.answer_status {
        Some(status) => push_status_line(status, out),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(response.status_line.of(bytes));
            out.extend_from_slice(b"\r\n");
        }
    }
    if proxy.own_server {
        push_server(exchange, out);
    }
    if proxy.own_date {
        push_date(out);
    }
    let content_type = response.known(Known::ContentType, bytes).filter(|_| !proxy.hidden.contains(b"content-type"));
    // A status of ours that has no body has no type either.
    let typed = |content_type: &&[u8]| !content_type.is_empty() && exchange.answer_status != Some(204);
    if let Some(content_type) = content_type.or_else(|| carried_type(exchange)).filter(typed) {
        push_field(b"Content-Type", content_type, out);
    }
    let length = match response.framing {
        _ if exchange.answer_status == Some(204) => None,
        Framing::Length(length) => Some(length),
        Framing::None if response.status >= 200 && response.status != 204 => response.announced_length(bytes),
        _ => None,
    };
    if let Some(length) = length {
        out.extend_from_slice(b"Content-Length: ");
        push_number(length, out);
        out.extend_from_slice(b"\r\n");
    }
    let location = response.known(Known::Location, bytes).map(|value| redirect::location(exchange, proxy, value));
    if let Some(Redirected::Absolute(location)) = &location {
        push_field(b"Location", location, out);
    }
    if to_client.chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if response.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else {
        push_connection(exchange, to_client.keep, out);
    }
    push_challenges(exchange, out);
    push_carried(exchange, out);
    push_sticky(exchange, out);
    push_peer_fields(exchange, proxy, bytes, (location, out));
    out.extend_from_slice(b"\r\n");
}

/// The peer's own fields for a refusal of ours in place of its answer: without what they say of its body.
pub(super) fn fields_without_body(
    exchange: &Exchange,
    proxy: &Proxy,
    bytes: &[u8],
) -> Vec<(Cow<'static, str>, Vec<u8>)> {
    let mut lines = Vec::new();
    push_peer_fields(exchange, proxy, bytes, (None, &mut lines));
    let fields = lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        let name =
            std::str::from_utf8(name).ok().filter(|name| !OF_BODY.iter().any(|of| name.eq_ignore_ascii_case(of)))?;
        Some((name.to_owned().into(), value.get(1..)?.trim_ascii().to_vec()))
    });
    fields.collect()
}

const OF_BODY: [&str; 5] = ["etag", "last-modified", "accept-ranges", "content-range", "content-encoding"];

fn push_sticky(exchange: &Exchange, out: &mut Vec<u8>) {
    let (start, last) = (out.len(), exchange.attempts.len().saturating_sub(1));
    out.extend_from_slice(b"Set-Cookie: ");
    let value = out.len();
    sticky::push_cookie(exchange, last, out);
    if out.len() == value {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

fn push_peer_fields(
    exchange: &Exchange,
    proxy: &Proxy,
    bytes: &[u8],
    (location, out): (Option<Redirected>, &mut Vec<u8>),
) {
    for header in &exchange.response.headers {
        let (name, value) = (header.name.of(bytes), header.value.of(bytes));
        let shown = match header.known {
            // Written above, or between two hops only.
            Known::ContentType
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Connection
            | Known::KeepAlive => false,
            _ => true,
        };
        if !shown || proxy.hidden.contains(name) {
            continue;
        }
        match (header.known, &location) {
            (Known::Location, Some(Redirected::Absolute(_))) => {}
            (Known::Location, Some(Redirected::Other(location))) => push_field(name, location, out),
            (Known::SetCookie, _) => push_field(name, &proxy.cookies.rewrite(exchange, value), out),
            _ if name.eq_ignore_ascii_case(b"refresh") => {
                push_field(name, &redirect::refresh(exchange, proxy, value), out);
            }
            _ => push_field(name, value, out),
        }
    }
}

/// How the body goes to this client, and whether its connection outlives it.
pub(super) fn to_client(exchange: &Exchange) -> ToClient {
    let bodiless = exchange.request.method == Method::Head || matches!(exchange.answer_status, Some(204 | 304));
    let unbounded = !bodiless && matches!(exchange.response.framing, Framing::Chunked | Framing::UntilClose);
    let chunked = unbounded
        && !exchange.is_subrequest()
        && exchange.request.version >= Version::Http11
        && exchange.location.chunked_transfer_encoding;
    ToClient { chunked, bodiless, keep: exchange.may_keep_alive() && (chunked || !unbounded) }
}

/// Appends 103 with the fields of `exchange.response` that clients may see; nothing without one.
pub(super) fn push_early_hints(exchange: &Exchange, proxy: &Proxy, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
    let fields = out.len();
    push_peer_fields(exchange, proxy, bytes, (None, out));
    if out.len() == fields {
        out.clear();
    } else {
        out.extend_from_slice(b"\r\n");
    }
}
