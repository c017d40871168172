//! The request as the peer sees it: our line and fields, then the client's.

use crate::exchange::Exchange;
use crate::h1::Known;
use crate::proxy::Proxy;
use crate::respond::{push_field, push_number};
use crate::uri::{push_escaped, push_without_controls};
use std::ops::Range;

/// How the body reaches the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    None,
    Length(u64),
    Chunked,
}

/// Appends the whole head. `uri` goes into the request line in place of what the location's rule gives.
/// Says where in `out` the line's URI is.
#[allow(clippy::too_many_arguments, reason = "two that say what is asked, two that say how, and where to put it")]
pub(super) fn push_head(
    exchange: &Exchange,
    proxy: &Proxy,
    uri: Option<&[u8]>,
    body: BodyFraming,
    out: &mut Vec<u8>,
) -> Range<usize> {
    let uri = push_request_line(exchange, proxy, uri, out);
    let mut said = false;
    for (name, value) in &proxy.set_headers {
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        let empty = out.len();
        match (body, says_length(name)) {
            // The length is that of the body that follows, whatever somebody believes.
            (BodyFraming::Length(length), Some(Known::ContentLength)) if length > 0 && !said => {
                push_number(length, out);
                said = true;
            }
            (BodyFraming::None | BodyFraming::Length(0), Some(Known::ContentLength)) => {
                exchange.render(value, out);
                if out.get(empty..) != Some(b"0") {
                    out.truncate(empty);
                }
                said = true;
            }
            (_, Some(_)) => {}
            (_, None) => exchange.render(value, out),
        }
        if out.len() == empty {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    match body {
        BodyFraming::Length(length) if !said => {
            out.extend_from_slice(b"Content-Length: ");
            push_number(length, out);
            out.extend_from_slice(b"\r\n");
        }
        BodyFraming::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyFraming::None | BodyFraming::Length(_) => {}
    }
    if proxy.pass_request_headers {
        push_client_fields(exchange, proxy, out);
    }
    out.extend_from_slice(b"\r\n");
    uri
}

/// Whether the rest of the path would lead out of the folder that `proxy_pass` names: with
/// `location /i { proxy_pass http://peer/data/; }` the path `/i../x` asks for `/data/../x`.
pub(super) fn climbs(exchange: &Exchange, proxy: &Proxy) -> bool {
    if proxy.uri.is_none() || exchange.whole_uri || exchange.location.name.ends_with('/') {
        return false;
    }
    let rest = exchange.uri.get(exchange.location.name.len()..).unwrap_or_default();
    rest == b".." || rest.starts_with(b"../")
}

/// Which of the two fields that say where a body ends it is.
fn says_length(name: &str) -> Option<Known> {
    let says = matches!(name.len(), 14 | 17).then(|| Known::of(name.as_bytes()))?;
    matches!(says, Known::ContentLength | Known::TransferEncoding).then_some(says)
}

fn push_request_line(exchange: &Exchange, proxy: &Proxy, uri: Option<&[u8]>, out: &mut Vec<u8>) -> Range<usize> {
    match &proxy.method {
        Some(method) => exchange.render(method, out),
        None => out.extend_from_slice(exchange.request.method_bytes()),
    }
    out.push(b' ');
    let start = out.len();
    match uri {
        Some(uri) => push_without_controls(uri, out),
        None => push_uri(exchange, proxy, out),
    }
    let end = out.len();
    out.extend_from_slice(if proxy.http11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
    start..end
}

fn push_client_fields(exchange: &Exchange, proxy: &Proxy, out: &mut Vec<u8>) {
    let request = &exchange.request;
    for header in &request.headers {
        match header.known {
            // Between two hops only (RFC 9110 section 7.6.1), or ours to say.
            Known::Host
            | Known::Connection
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Te
            | Known::KeepAlive
            | Known::Expect
            | Known::Upgrade => continue,
            _ => {}
        }
        let name = header.name.of(&request.buffer);
        if !proxy.overridden.contains(name) {
            push_field(name, header.value.of(&request.buffer), out);
        }
    }
}

/// Appends the URI for the request line: the client's own, or `proxy_pass`'s with the rest of the
/// normalised path behind it. Where rules changed the path and `break` kept it here, the path alone.
fn push_uri(exchange: &Exchange, proxy: &Proxy, out: &mut Vec<u8>) {
    if proxy.uri.is_none() && !exchange.moved {
        let raw = exchange.request.target_bytes();
        if raw.first() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(raw);
        return;
    }
    let replaced = match &proxy.uri {
        Some(replacement) if !exchange.whole_uri => {
            out.extend_from_slice(replacement.as_bytes());
            exchange.location.name.len()
        }
        _ => 0,
    };
    let rest = exchange.uri.get(replaced..).unwrap_or_default();
    if exchange.internal || exchange.path_has(b"%") {
        rest.iter().for_each(|&byte| push_escaped(byte, out));
    } else {
        out.extend_from_slice(rest);
    }
    if let Some(args) = exchange.query().filter(|args| !args.is_empty()) {
        out.push(b'?');
        push_without_controls(args, out);
    }
}
