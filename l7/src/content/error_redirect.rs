//! `error_page`, named locations and `X-Accel-Redirect` at work: where a request goes inside the
//! server when its own location has no answer for it, and with what status it then ends.
//!
//! `exchange` asks [`page_for`] about every reply that is one of the built-in pages, and follows with
//! [`go_to`]. Ten moves are the most, rewritten paths and index files counted along.

use super::error_page;
use crate::exchange::Exchange;
use crate::h1::Method;
use crate::plan::{ErrorAnswer, ErrorPage};
use crate::reply::{Body, Reply};
use crate::rewrite;
use fairlead_core::log::Level;
use std::borrow::Cow;

/// Where the configuration sends an error; the reply itself where it sends it nowhere.
pub(crate) fn page_for(exchange: &mut Exchange, reply: Box<Reply>) -> Result<Vec<u8>, Box<Reply>> {
    let Some(status) = reply.page else {
        return Err(reply);
    };
    // After some errors the connection is not to be trusted, whoever words them.
    exchange.ends_connection |= reply.close;
    exchange.answer_status = None;
    exchange.carried.clear();
    let location = exchange.location.clone();
    let found = location.error_pages.iter().find(|page| page.status == status);
    let Some(page) = found.filter(|_| !exchange.at_error_page && exchange.may_still_move()) else {
        return Err(reply);
    };
    exchange.at_error_page = !location.recursive_error_pages;
    let mut to = Vec::new();
    exchange.render(&page.to, &mut to);
    if !matches!(to.first(), Some(b'/' | b'@')) {
        return Err(sent_away(exchange, page, to).into());
    }
    exchange.answer_status = match page.answer {
        ErrorAnswer::Kept => Some(reply.status),
        ErrorAnswer::Theirs => None,
        ErrorAnswer::Other(status) => Some(status),
    };
    Ok(to)
}

/// The redirect to an error page somewhere else.
fn sent_away(exchange: &Exchange, page: &ErrorPage, to: Vec<u8>) -> Reply {
    let status = match page.answer {
        ErrorAnswer::Other(status @ (301 | 302 | 303 | 307 | 308)) => status,
        _ => 302,
    };
    if exchange.location.msie_refresh && exchange.browser().msie {
        return Reply { close: exchange.ends_connection, ..refresh(&to) };
    }
    let mut reply = error_page(status, exchange.location.server_tokens);
    reply.close = exchange.ends_connection;
    reply.headers.push((Cow::Borrowed("Location"), to));
    reply
}

/// A page that leads a browser on by itself.
fn refresh(to: &[u8]) -> Reply {
    let mut page = b"<html><head><meta http-equiv=\"refresh\" content=\"0; url=".to_vec();
    for &byte in to {
        match byte {
            b'"' | b'\'' | b'<' | b'>' | b' ' | 0..=0x1f | 0x7f => {
                page.extend_from_slice(format!("%{byte:02X}").as_bytes())
            }
            _ => page.push(byte),
        }
    }
    page.extend_from_slice(b"\"></head><body></body></html>\r\n");
    Reply {
        status: 200,
        content_type: Some(Cow::Borrowed(b"text/html")),
        body: Body::Bytes(Cow::Owned(page)),
        ..Reply::default()
    }
}

/// Takes the request to `to`: a path with arguments, for which it becomes a GET, or a named location.
pub(crate) async fn go_to(exchange: &mut Exchange, to: &[u8]) -> Result<(), Box<Reply>> {
    if to.first() != Some(&b'@') && exchange.request.method != Method::Head && exchange.may_still_move() {
        exchange.request.ask_with_get();
    }
    go_inside(exchange, to).await
}

/// The same with the method it has.
pub(crate) async fn go_inside(exchange: &mut Exchange, to: &[u8]) -> Result<(), Box<Reply>> {
    let named = to.first() == Some(&b'@');
    if !exchange.may_move() {
        let doing = if named { "redirect to named location" } else { "internally redirecting to" };
        let to = to.escape_ascii();
        let message = format_args!("rewrite or internal redirection cycle while {doing} \"{to}\"");
        exchange.log(Level::Error, message);
        return Err(exchange.refuse(500).into());
    }
    exchange.internal = true;
    exchange.whole_uri = false;
    exchange.below_alias = false;
    if named {
        return to_named(exchange, to).await;
    }
    let mut parts = to.splitn(2, |&byte| byte == b'?');
    exchange.uri = parts.next().unwrap_or_default().to_vec();
    exchange.args = None;
    exchange.made_args = parts.next().map(<[u8]>::to_vec);
    exchange.moved = true;
    rewrite::route(exchange).await
}

async fn to_named(exchange: &mut Exchange, name: &[u8]) -> Result<(), Box<Reply>> {
    let found = std::str::from_utf8(name).ok().and_then(|name| exchange.server.named.get(name)).cloned();
    let Some(location) = found else {
        exchange.log(Level::Error, format_args!("could not find named location \"{}\"", name.escape_ascii()));
        return Err(exchange.refuse(500).into());
    };
    exchange.ends_connection |= location.keepalive_timeout.is_zero();
    exchange.location = location;
    rewrite::in_named(exchange).await
}

/// The path of an `X-Accel-Redirect`, decoded; nothing when it would lead out of the root.
pub(crate) fn safe_uri(uri: &[u8]) -> Option<Vec<u8>> {
    let (path, args) = match memchr::memchr(b'?', uri).and_then(|at| uri.split_at_checked(at)) {
        Some((path, args)) => (path, args),
        None => (uri, &b""[..]),
    };
    let mut decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let climbs = decoded.split(|&byte| byte == b'/').any(|segment| segment == b"..");
    if decoded.is_empty() || climbs || decoded.contains(&0) {
        return None;
    }
    decoded.extend_from_slice(args);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::safe_uri;

    #[test]
    fn paths_of_peers_stay_inside() {
        assert_eq!(safe_uri(b"/a%20b?c=%20").as_deref(), Some(&b"/a b?c=%20"[..]));
        assert_eq!(safe_uri(b"/a/..b/c..").as_deref(), Some(&b"/a/..b/c.."[..]));
        for bad in [&b""[..], b"?x", b"/..", b"../x", b"/a/../b", b"/a/%2e%2e/b", b"/a%2f..%2fb", b"/a%00"] {
            assert_eq!(safe_uri(bad), None, "{}", bad.escape_ascii());
        }
    }
}
