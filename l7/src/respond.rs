//! Sends a response made here: its head in nginx's order, its body, and what
//! follows for the connection.

use crate::body::BodyError;
use crate::client::Client;
use crate::content;
use crate::exchange::{After, Exchange};
use crate::filter;
use crate::h1::{Method, Version, push_chunk_size};
use crate::phase::CHALLENGE;
use crate::plan::Lingering;
use crate::reply::{Body, Reply};
use crate::send_file::{send_file, send_parts};
use crate::throttle;
use crate::uri;
use fairlead_core::clock;
use fairlead_core::log::Level;
use fairlead_core::net::Push;
use std::borrow::Cow;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// What `Server:` says.
pub(crate) const SERVER: &str = concat!("fairlead/", env!("CARGO_PKG_VERSION"));
/// The name of the build, for those that were given one.
pub(crate) const BUILD: Option<&str> = option_env!("FAIRLEAD_BUILD");

/// Sends `reply`; reads what is left of the request's body.
pub(crate) async fn send(client: &mut Client, exchange: &mut Exchange, mut reply: Box<Reply>) -> After {
    if reply.page.is_some() && exchange.location.server_text.is_some() {
        sign(exchange, &mut reply);
    }
    if let Some(status) = exchange.answer_status.filter(|_| reply.page.is_none()) {
        reply.status = status;
    }
    reply.close |= exchange.ends_connection;
    exchange.status = reply.status;
    // As nginx: these are logged, and nobody is there who should see them.
    if matches!(reply.status, 408 | 444 | 499) {
        return After::Close;
    }
    if !early_body_is_sound(client, exchange) {
        // As nginx: a page says what it was to say and ends the connection, anything else is refused.
        reply = if reply.status < 300 { exchange.refuse(400).into() } else { reply };
        reply.close = true;
        exchange.status = reply.status;
    }
    if reply.status == 200 && reply.page.is_none() && !exchange.is_subrequest() {
        *reply = content::meet_conditions(exchange, *reply);
        exchange.status = reply.status;
    }
    if matches!(reply.status, 204 | 304) {
        // Neither has a body, whatever answers.
        reply.body = Body::Empty;
    }
    if reply.page.is_some_and(|page| page >= 400)
        && exchange.location.msie_padding
        && exchange.request.version >= Version::Http10
    {
        let browser = exchange.browser();
        if browser.msie || browser.chrome {
            content::pad(&mut reply);
        }
    }
    let mut keep = !reply.close && exchange.may_keep_alive();
    let mut head = std::mem::take(&mut exchange.sent_head);
    head.clear();
    if exchange.request.version != Version::Http09 {
        push_head(exchange, &reply, keep, &mut head);
    }
    exchange.sent_head = head;
    let chain = if client.is_muted() { None } else { filter::apply(exchange, true, &mut keep) };
    if let Body::Parts(parts) = &mut reply.body {
        parts.seal(&mut exchange.sent_head);
    }
    if reply.open_ended && chain.is_none() && !client.is_muted() {
        close_open_end(exchange, &mut reply, &mut keep);
    }
    let last = last_push(exchange, keep);
    throttle::begin(client, exchange);
    client.leave_out(exchange.sent_head.len());
    let sent = match chain {
        Some(chain) => filter::send(client, exchange, chain, reply.body).await,
        None => send_plain(client, exchange, reply.body, last).await,
    };
    if !sent {
        exchange.log(Level::Info, format_args!("client closed connection while sending response to client"));
        return After::Close;
    }
    exchange.completed = true;
    settle(client, exchange, keep).await
}

/// Puts the text of `server_tokens` where a built-in page has our name.
fn sign(exchange: &Exchange, reply: &mut Reply) {
    let (Some(text), Body::Bytes(page)) = (&exchange.location.server_text, &mut reply.body) else { return };
    let name: &[u8] = if exchange.location.server_tokens { SERVER.as_bytes() } else { b"fairlead" };
    let Some(at) = memchr::memmem::rfind(page, name) else { return };
    let mut signed = page.get(..at).unwrap_or_default().to_vec();
    exchange.render(text, &mut signed);
    signed.extend_from_slice(page.get(at + name.len()..).unwrap_or_default());
    *page = signed.into();
}

/// Frames a body of which the head does not tell the length.
fn close_open_end(exchange: &mut Exchange, reply: &mut Reply, keep: &mut bool) {
    if exchange.request.method == Method::Head || !matches!(reply.status, 200..300 | 400..600) {
        return;
    }
    let chunked = exchange.request.version != Version::Http09 && filter::frame_open(exchange, keep);
    if let Body::Bytes(bytes) = &mut reply.body
        && chunked
    {
        let mut framed = Vec::with_capacity(bytes.len() + 32);
        if !bytes.is_empty() {
            push_chunk_size(bytes.len(), &mut framed);
            framed.extend_from_slice(bytes);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        *bytes = Cow::Owned(framed);
    }
}

/// Head and body as they are.
async fn send_plain(client: &mut Client, exchange: &mut Exchange, body: Body, last: Push) -> bool {
    let mut head = std::mem::take(&mut exchange.sent_head);
    let body_wanted = exchange.request.method != Method::Head && !client.is_muted();
    let sent = match body {
        Body::File { file, start, length } if body_wanted => {
            send_file(client, exchange, (&head, last), (&file, start, start.saturating_add(length))).await
        }
        Body::Parts(parts) if body_wanted => send_parts(client, exchange, (&head, last), &parts).await,
        Body::Bytes(bytes) if body_wanted => send_bytes(client, exchange, &mut head, (&bytes, last)).await,
        _ => send_bytes(client, exchange, &mut head, (b"", last)).await,
    };
    exchange.sent_head = head;
    sent
}

/// What becomes of the connection after a whole response.
pub(crate) async fn settle(client: &mut Client, exchange: &mut Exchange, keep: bool) -> After {
    let counted = (exchange.request_length, exchange.body_length);
    let settled = keep && (exchange.body.is_done() || discard_body(client, exchange).await);
    (exchange.request_length, exchange.body_length) = counted;
    if settled {
        return After::KeepAlive;
    }
    if lingers(exchange) { After::Linger } else { After::Close }
}

fn lingers(exchange: &Exchange) -> bool {
    let unread = !exchange.body.is_done() || exchange.consumed < exchange.request.buffer.len();
    // More of what was no request may be on its way.
    let refused = matches!(exchange.status, 400 | 414 | 494 | 501 | 505);
    match exchange.location.lingering {
        Lingering::Always => true,
        Lingering::On => unread || refused,
        Lingering::Off => false,
    }
}

/// How the last bytes of a response go out: with the end of the connection, where nothing is waited for between
/// the two.
pub(crate) fn last_push(exchange: &Exchange, keep: bool) -> Push {
    match keep || !exchange.body.is_done() || lingers(exchange) {
        true => Push::Now,
        false => Push::WithNext,
    }
}

/// Skips what came of an unwanted body together with the head; false when it is no body.
fn early_body_is_sound(client: &mut Client, exchange: &mut Exchange) -> bool {
    // As nginx: what nobody wanted does not count as part of the request.
    let counted = (exchange.request_length, exchange.body_length);
    let sound = skip_early_body(client, exchange);
    (exchange.request_length, exchange.body_length) = counted;
    sound
}

fn skip_early_body(client: &mut Client, exchange: &mut Exchange) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut discarded = Vec::new();
    while !exchange.body.is_done() && exchange.consumed < exchange.request.buffer.len() {
        let before = exchange.consumed;
        discarded.clear();
        if matches!(exchange.poll_body(&mut cx, client, &mut discarded), Poll::Ready(Err(BodyError::Broken))) {
            return false;
        }
        if exchange.consumed == before {
            break;
        }
    }
    true
}

/// Reads the rest of a body that nobody wanted, so that the next request can be found.
async fn discard_body(client: &mut Client, exchange: &mut Exchange) -> bool {
    let end = clock::tick().after(exchange.location.lingering_time);
    let mut discarded = Vec::new();
    while !exchange.body.is_done() {
        let wait = exchange.location.lingering_timeout.min(end.since(clock::tick()));
        if wait.is_zero() {
            return false;
        }
        client.deadline.set(wait);
        discarded.clear();
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = exchange.poll_body(cx, client, &mut discarded) {
                // Too large is only what somebody wants.
                return Poll::Ready(matches!(read, Ok(()) | Err(BodyError::TooLarge)));
            }
            client.deadline.poll(cx).map(|_| false)
        });
        if !read.await {
            return false;
        }
    }
    true
}

fn push_head(exchange: &Exchange, reply: &Reply, keep: bool, out: &mut Vec<u8>) {
    push_status_line(reply.status, out);
    push_server(exchange, out);
    push_date(out);
    let carried_type = carried_type(exchange).filter(|_| reply.page.is_none());
    let content_type = carried_type.or(reply.content_type.as_deref());
    if let Some(content_type) = content_type.filter(|_| reply.status != 204) {
        push_field(b"Content-Type", content_type, out);
    }
    if reply.status != 204 && reply.status != 304 && !reply.open_ended {
        out.extend_from_slice(b"Content-Length: ");
        push_number(reply.body.len(), out);
        out.extend_from_slice(b"\r\n");
    }
    let dated = matches!(reply.status, 200 | 206 | 304);
    if let Some(modified) = reply.last_modified.filter(|_| dated) {
        push_field(b"Last-Modified", &clock::http_date(modified), out);
    }
    if let Some(location) = &reply.location {
        push_field(b"Location", location, out);
    }
    push_connection(exchange, keep, out);
    push_challenges(exchange, out);
    push_carried(exchange, out);
    let vary = reply.varies && exchange.location.filters.as_ref().is_some_and(|filters| filters.gzip.vary);
    if vary {
        push_field(b"Vary", b"Accept-Encoding", out);
    }
    if let Some(tag) = &reply.etag {
        push_field(b"ETag", tag.text(), out);
    }
    for (name, value) in &reply.headers {
        push_field(name.as_bytes(), value, out);
    }
    if reply.takes_ranges {
        push_field(b"Accept-Ranges", b"bytes", out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The type that a peer said before it sent the request elsewhere.
pub(crate) fn carried_type(exchange: &Exchange) -> Option<&[u8]> {
    let mut carried = exchange.carried.iter();
    carried.find(|(name, _)| name.eq_ignore_ascii_case(b"content-type")).map(|(_, value)| &value[..])
}

pub(crate) fn push_carried(exchange: &Exchange, out: &mut Vec<u8>) {
    for cookie in &exchange.sticky_cookies {
        push_field(b"Set-Cookie", cookie, out);
    }
    for (name, value) in exchange.carried.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"content-type")) {
        push_field(name, value, out);
    }
}

pub(crate) fn push_server(exchange: &Exchange, out: &mut Vec<u8>) {
    let Some(text) = &exchange.location.server_text else {
        let server = if exchange.location.server_tokens { SERVER } else { "fairlead" };
        return push_field(b"Server", server.as_bytes(), out);
    };
    let mut server = Vec::new();
    exchange.render(text, &mut server);
    if !server.is_empty() {
        out.extend_from_slice(b"Server: ");
        uri::push_without_controls(&server, out);
        out.extend_from_slice(b"\r\n");
    }
}

pub(crate) fn push_date(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    clock::push_http_date(out);
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn push_connection(exchange: &Exchange, keep: bool, out: &mut Vec<u8>) {
    if !keep {
        out.extend_from_slice(b"Connection: close\r\n");
        return;
    }
    out.extend_from_slice(b"Connection: keep-alive\r\n");
    if let Some(seconds) = exchange.location.keepalive_header {
        out.extend_from_slice(b"Keep-Alive: timeout=");
        push_number(seconds, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// What `auth_basic` and `auth_request` ask the client for, whoever says it.
pub(crate) fn push_challenges(exchange: &Exchange, out: &mut Vec<u8>) {
    for challenge in &exchange.passed.challenges {
        push_field(CHALLENGE.as_bytes(), challenge, out);
    }
}

pub(crate) fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        used += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// `HTTP/1.1 404 Not Found`; some statuses have no known phrase.
pub(crate) fn push_status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(u64::from(if status == 494 { 400 } else { status }), out);
    // The space stays without a phrase (RFC 9112 section 4).
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reason phrases nginx sends.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 | 494 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Head and body in one send.
async fn send_bytes(
    client: &mut Client,
    exchange: &mut Exchange,
    head: &mut Vec<u8>,
    (body, last): (&[u8], Push),
) -> bool {
    let head_len = head.len();
    let small = body.len() <= 16 << 10;
    let sent = poll_fn(|cx| {
        if small {
            head.extend_from_slice(body);
        }
        Poll::Ready(client.send_as(cx, [head, if small { b"" } else { body }, b"", b""], last))
    });
    if sent.await.is_err() || !flush(client, exchange).await {
        return false;
    }
    head.truncate(head_len);
    exchange.body_bytes_sent += body.len() as u64;
    true
}

/// Waits until all that was sent has been taken, at most `send_timeout` without progress.
pub(crate) async fn flush(client: &mut Client, exchange: &Exchange) -> bool {
    if client.is_flushed() {
        return true;
    }
    client.deadline.set(exchange.location.send_timeout);
    let mut sent = client.sent;
    poll_fn(|cx| {
        if let Poll::Ready(flushed) = client.poll_flush(cx) {
            return Poll::Ready(flushed.is_ok());
        }
        if client.sent != sent || client.rests() {
            sent = client.sent;
            client.deadline.set(exchange.location.send_timeout);
        }
        client.deadline.poll(cx).map(|_| {
            client.timed_out = true;
            false
        })
    })
    .await
}
