//! Variables of the request and of the response as the client gets it.

use super::{Row, push, push_number, push_seconds, push_text};
use crate::content::{file_name, folder};
use crate::exchange::Exchange;
use crate::filter::{Coding, Packed};
use crate::h1::{Known, RequestBody, Version};
use fairlead_core::clock::{self, tick, unix_millis};
use std::os::unix::ffi::OsStrExt;

/// The nginx whose configuration and variables these are.
const NGINX_VERSION: &str = "1.31.5";

macro_rules! row {
    ($name:literal, $doc:literal, $value:expr) => {
        Row { name: $name, doc: $doc, value: $value }
    };
}

pub(super) const ROWS: &[Row] = &[
    row!("args", "The query: what follows the question mark.", |x, out| push(query(x), out)),
    row!("query_string", "The same as `$args`.", |x, out| push(query(x), out)),
    row!("is_args", "`?` when there is a query, else empty.", |x, out| {
        push(Some(if query(x).is_some_and(|query| !query.is_empty()) { b"?" } else { b"" }), out)
    }),
    row!(
        "uri",
        "The path decoded and normalised, without the query; changes on the way to an index file.",
        |x, out| { push(path(x), out) }
    ),
    row!("document_uri", "The same as `$uri`.", |x, out| push(path(x), out)),
    row!("request_uri", "Path and query as the client sent them.", |x, out| {
        push(Some(x.request.target_bytes()).filter(|_| x.request.has_target()), out)
    }),
    row!("request", "The whole request line.", |x, out| push(not_empty(x.request.line_bytes()), out)),
    row!("request_method", "The method: `GET`, `POST` or another.", |x, out| push(
        not_empty(x.behind.as_ref().map_or(x.request.method_bytes(), |behind| &behind.method)),
        out
    )),
    row!("server_protocol", "`HTTP/1.0`, `HTTP/1.1`; none where the client says none.", |x, out| {
        let protocol: Option<&[u8]> = match x.request.version {
            Version::Http09 => None,
            Version::Http10 => Some(b"HTTP/1.0"),
            Version::Http11 => Some(b"HTTP/1.1"),
        };
        push(protocol.filter(|_| x.request.has_target()), out)
    }),
    row!(
        "host",
        "Host of the request line, or of the `Host` field, or the server's name; lower case, without port.",
        |x, out| { push(Some(if x.host.is_empty() { x.server.name.as_bytes() } else { &x.host }), out) }
    ),
    row!(
        "request_port",
        "Port of the request line, or of the `Host` field; empty when the client names none.",
        |x, out| { request_port(x).is_none_or(|port| push_number(port, out)) }
    ),
    row!("is_request_port", "`:` when `$request_port` is not empty, else empty.", |x, out| {
        push(Some(if request_port(x).is_some() { b":" } else { b"" }), out)
    }),
    row!("scheme", "`http`.", |_, out| push(Some(b"http"), out)),
    row!("https", "`on` over TLS, else empty.", |_, out| push(Some(b""), out)),
    row!(
        "content_length",
        "The `Content-Length` field of the request, or how long a chunked body was once it has been read.",
        |x, out| {
            match x.request.framing {
                RequestBody::Length(length) => push_number(length, out),
                RequestBody::Chunked if x.body.is_done() => push_number(x.body_length, out),
                RequestBody::None | RequestBody::Chunked => push(x.request.known(Known::ContentLength), out),
            }
        }
    ),
    row!("content_type", "The `Content-Type` field of the request.", |x, out| push(
        x.request.known(Known::ContentType),
        out
    )),
    row!(
        "limit_rate",
        "Bytes a second that the client gets of the response, `0` without a limit; may be given with `set`.",
        |x, out| { push_number(x.limit_rate.unwrap_or(0), out) }
    ),
    row!(
        "request_body",
        "The request's body, once it was taken in for a peer and if it fits `client_body_buffer_size`.",
        |x, out| { push(x.taken.as_ref().and_then(|taken| taken.text()), out) }
    ),
    row!("request_body_file", "Name of the file that the request's body was written to.", |x, out| {
        let path = x.taken.as_ref().and_then(|taken| taken.path());
        push(path.map(|path| path.as_os_str().as_bytes()), out)
    }),
    row!("remote_user", "The user name of Basic authentication.", |x, out| push(remote_user(x).as_deref(), out)),
    row!("request_id", "32 random hexadecimal digits, the same through the whole request.", |x, out| {
        push_text(format_args!("{:032x}", x.id.number()), out)
    }),
    row!("request_length", "Bytes of request line, fields and body.", |x, out| push_number(x.request_length, out)),
    row!("request_time", "Seconds since the first byte of the request, to the millisecond.", |x, out| {
        push_seconds(super::upstream::millis(tick().since(x.started)), out)
    }),
    row!("request_completion", "`OK` when the client got the whole response, else empty.", |x, out| {
        push(Some(if x.completed { b"OK" } else { b"" }), out)
    }),
    row!("request_filename", "The file that the path leads to.", |x, out| push(file_name(x).as_deref(), out)),
    row!("document_root", "`root` or `alias` of the location.", |x, out| push(Some(&folder(x)), out)),
    row!("realpath_root", "The same with all symbolic links resolved.", |x, out| {
        push(x.real_root.as_ref().and_then(|known| known.of(x)), out)
    }),
    row!(
        "status",
        "Status of the response.",
        |x, out| match (x.answer_status.unwrap_or(x.status), x.request.version) {
            (0, Version::Http09) => push(Some(b"009"), out),
            (status @ 100.., _) => push_number(status, out),
            (status, _) => push_text(format_args!("{status:03}"), out),
        }
    ),
    row!("bytes_sent", "Bytes sent to the client.", |x, out| push_number(x.bytes_sent, out)),
    row!("body_bytes_sent", "The same without the head of the response.", |x, out| push_number(x.body_bytes_sent, out)),
    row!("gzip_ratio", "How many times smaller gzip made the body, with two decimals.", |x, out| {
        push_ratio(x, Coding::Gzip, out)
    }),
    row!("brotli_ratio", "The same of Brotli.", |x, out| push_ratio(x, Coding::Brotli, out)),
    row!("zstd_ratio", "The same of Zstandard.", |x, out| push_ratio(x, Coding::Zstd, out)),
    row!("server_name", "The first name of the server that took the request.", |x, out| push(
        Some(x.server.name.as_bytes()),
        out
    )),
    row!("msec", "Now: seconds since 1970, to the millisecond.", |_, out| push_seconds(unix_millis(), out)),
    row!("time_local", "Now, as logs write it: `20/Nov/2026:20:01:02 +0000`.", |_, out| {
        clock::push_time_local(out);
        true
    }),
    row!("time_iso8601", "Now: `2026-11-20T20:01:02+00:00`.", |_, out| {
        clock::push_time_iso8601(out);
        true
    }),
    row!("time_iso8601_ms", "Now, to the millisecond: `2026-11-20T20:01:02.123+00:00`.", |_, out| {
        clock::push_time_iso8601_ms(out);
        true
    }),
    row!("nginx_version", "The nginx whose configuration language this is.", |_, out| push(
        Some(NGINX_VERSION.as_bytes()),
        out
    )),
    row!("hostname", "The machine's name.", |_, out| push(Some(hostname().as_bytes()), out)),
    row!("pid", "Number of the worker process.", |_, out| push_number(std::process::id(), out)),
];

pub(super) fn query(exchange: &Exchange) -> Option<&[u8]> {
    exchange.query()
}

fn not_empty(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text)
}

/// Rules may leave nothing of a path, which is not the same as no path.
fn path(exchange: &Exchange) -> Option<&[u8]> {
    Some(&*exchange.uri).filter(|uri| !uri.is_empty() || exchange.request.has_target())
}

/// What follows the colon, where it is a port.
fn request_port(exchange: &Exchange) -> Option<u16> {
    let request = &exchange.request;
    let named = request.authority.map(|authority| authority.of(&request.buffer));
    let text = named.or_else(|| request.known(Known::Host))?;
    let colon = memchr::memrchr(b':', text).filter(|&colon| !text.get(colon..).unwrap_or_default().contains(&b']'))?;
    std::str::from_utf8(text.get(colon + 1..)?).ok()?.parse().ok().filter(|&port| port > 0)
}

fn hostname() -> &'static str {
    static NAME: std::sync::OnceLock<Box<str>> = std::sync::OnceLock::new();
    NAME.get_or_init(crate::settings::names::hostname)
}

fn push_ratio(exchange: &Exchange, coding: Coding, out: &mut Vec<u8>) -> bool {
    let packed = exchange.packed.filter(|packed| packed.coding == coding);
    let Some(ratio) = packed.and_then(Packed::ratio) else { return false };
    push_text(format_args!("{}.{:02}", ratio / 100, ratio % 100), out)
}

fn remote_user(exchange: &Exchange) -> Option<Vec<u8>> {
    credentials(exchange).map(|(user, _)| user)
}

/// RFC 7617: base64 of `user:password`. No user is none.
pub(crate) fn credentials(exchange: &Exchange) -> Option<(Vec<u8>, Vec<u8>)> {
    let credentials = exchange.request.header(b"authorization")?;
    let (scheme, encoded) = credentials.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = decode_base64(encoded.trim_ascii())?;
    let colon = memchr::memchr(b':', &decoded)?;
    let user = decoded.get(..colon).filter(|user| !user.is_empty())?;
    Some((user.to_vec(), decoded.get(colon + 1..)?.to_vec()))
}

pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    // As nginx: the first padding is the end, whatever follows.
    let text = text.split(|byte| *byte == b'=').next().unwrap_or_default();
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let bits = group.iter().try_fold(0u32, |bits, &byte| Some(bits << 6 | sextet(byte)?))?;
        let missing = 4 - group.len();
        let [_, bytes @ ..] = (bits << (6 * missing)).to_be_bytes();
        out.extend_from_slice(bytes.get(..3 - missing).unwrap_or_default());
    }
    Some(out)
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length_decodes() {
        for (text, plain) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YTpi", "a:b"), ("YQ", "a")] {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(decode_base64(b"Y"), None);
        assert_eq!(decode_base64(b"Y!=="), None);
        assert_eq!(decode_base64(b"YWI= rest").as_deref(), Some(&b"ab"[..]));
    }
}
