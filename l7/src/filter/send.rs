//! Sends a body made here through its filters, and what other requests put around any body.

use super::{Broken, Chain, charset};
use crate::client::Client;
use crate::disk::Source;
use crate::exchange::{Ended, Exchange};
use crate::plan::Content;
use crate::proxy;
use crate::reply::Body;
use crate::respond::flush;
use crate::send_file::next_step;
use crate::subrequest;
use fairlead_core::log::Level;
use std::future::poll_fn;
use std::task::Poll;

/// Sends the head, then the body as the chain gives it; false when that failed.
pub(crate) async fn send(client: &mut Client, exchange: &mut Exchange, mut chain: Box<Chain>, body: Body) -> bool {
    let mut out = exchange.sent_head.clone();
    if chain.around.before.is_some()
        && !(push(client, exchange, &mut out).await && begin(client, exchange, &mut chain).await)
    {
        return false;
    }
    let sent = match body {
        Body::Empty => true,
        Body::Bytes(bytes) => {
            chain.feed(&bytes);
            true
        }
        Body::File { file, start, length } => {
            feed_file(client, exchange, (&mut chain, &mut out), (&file, start, start.saturating_add(length))).await
        }
        Body::Parts(parts) => {
            let mut going = true;
            for (lines, start, end) in &parts.parts {
                chain.feed(lines);
                let part = (&parts.file, *start, *end);
                going = going && feed_file(client, exchange, (&mut chain, &mut out), part).await;
            }
            chain.feed(&parts.end);
            going
        }
    };
    chain.end();
    let sent = sent && drain(client, exchange, &mut chain, &mut out).await;
    let whole = sent && complete(client, exchange, &mut chain).await;
    exchange.packed = chain.packed();
    exchange.body_bytes_sent = client.sent.saturating_sub(exchange.sent_head.len() as u64);
    whole
}

/// Feeds the chain the bytes of a file between two offsets; false when that failed.
async fn feed_file(
    client: &mut Client,
    exchange: &mut Exchange,
    (chain, out): (&mut Chain, &mut Vec<u8>),
    (file, start, end): (&Source, u64, u64),
) -> bool {
    let mut at = start;
    while at < end {
        let Some(step) = next_step(exchange, file, at, end).await else { return false };
        at += step.len() as u64;
        chain.feed(&step);
        if !drain(client, exchange, chain, out).await {
            return false;
        }
    }
    true
}

/// Takes from the chain until it has no more, waiting for the client as needed.
async fn drain(client: &mut Client, exchange: &mut Exchange, chain: &mut Chain, out: &mut Vec<u8>) -> bool {
    while !chain.is_idle() {
        if let Err(Broken(why)) = chain.take(exchange, out) {
            exchange.log(Level::Error, format_args!("{why} while sending response to client"));
            return false;
        }
        if out.len() < ENOUGH && !chain.is_done() {
            continue;
        }
        if !push(client, exchange, out).await {
            return false;
        }
    }
    true
}

async fn push(client: &mut Client, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    let sent = poll_fn(|cx| Poll::Ready(client.send(cx, [out, b"", b"", b""])));
    if sent.await.is_err() || !flush(client, exchange).await {
        return false;
    }
    out.clear();
    true
}

/// Fewer bytes wait for more.
const ENOUGH: usize = 16 << 10;

/// Puts in what stands before the body; its head is sent. False when that failed.
pub(crate) async fn begin(client: &mut Client, exchange: &mut Exchange, chain: &mut Chain) -> bool {
    match chain.around.before.take() {
        Some(uri) => put_in(client, exchange, chain, &uri).await,
        None => true,
    }
}

/// Puts in what stands behind the body, which has been sent, and ends the response.
pub(crate) async fn complete(client: &mut Client, exchange: &mut Exchange, chain: &mut Chain) -> bool {
    if !chain.is_held() {
        return true;
    }
    while exchange.slices.get_mut().as_ref().is_some_and(|slices| slices.go_on()) {
        if !put_slice(client, exchange, chain).await {
            return false;
        }
    }
    if let Some(uri) = chain.around.after.take()
        && !put_in(client, exchange, chain, &uri).await
    {
        return false;
    }
    let mut out = Vec::new();
    if let Err(Broken(why)) = chain.close(exchange, &mut out) {
        exchange.log(Level::Error, format_args!("{why} while sending response to client"));
        return false;
    }
    push(client, exchange, &mut out).await
}

/// Asks a path and puts its answer into the response.
async fn put_in(client: &mut Client, exchange: &mut Exchange, chain: &mut Chain, uri: &str) -> bool {
    let charset = charset::said(&exchange.sent_head);
    client.lend(chain.lend());
    let mut asked = Box::new(exchange.subrequest(uri.as_bytes(), None));
    if let Some(behind) = &mut asked.behind {
        behind.charset = charset;
    }
    let asked = subrequest::answer(client, asked).await;
    chain.take_back(client.take_back());
    let whole = asked.completed;
    subrequest::end(exchange, *asked);
    whole
}

/// Asks the peer for the next slice and puts it into the response.
async fn put_slice(client: &mut Client, exchange: &mut Exchange, chain: &mut Chain) -> bool {
    let location = exchange.location.clone();
    let Content::Proxy(proxy) = &location.content else { return false };
    client.lend(chain.lend());
    let mut asked = Box::new(exchange.slice());
    let ended = Box::pin(proxy::run(client, &mut asked, proxy)).await;
    chain.take_back(client.take_back());
    if let Ended::Reply(reply) = &ended {
        exchange.log(Level::Error, format_args!("unexpected status code {} in slice response", reply.status));
    }
    let whole = asked.completed;
    exchange.slices = std::mem::take(&mut asked.slices);
    subrequest::end(exchange, *asked);
    whole
}
