//! Sends a body made here through its filters.

use super::{Broken, Chain};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::reply::Body;
use crate::respond::flush;
use crate::send_file::next_step;
use fairlead_core::log::Level;
use std::future::poll_fn;
use std::task::Poll;

/// Sends the head, then the body as the chain gives it; false when that failed.
pub(crate) async fn send(client: &mut Client, exchange: &mut Exchange, mut chain: Box<Chain>, body: Body) -> bool {
    let mut out = exchange.sent_head.clone();
    let sent = match body {
        Body::Empty => true,
        Body::Bytes(bytes) => {
            chain.feed(&bytes);
            true
        }
        Body::File { file, start, length } => {
            let (mut at, end) = (start, start.saturating_add(length));
            let mut going = true;
            while going && at < end {
                let Some(step) = next_step(exchange, &file, at, end).await else { return false };
                at += step.len() as u64;
                chain.feed(&step);
                going = at >= end || drain(client, exchange, &mut chain, &mut out).await;
            }
            going
        }
    };
    chain.end();
    sent && drain(client, exchange, &mut chain, &mut out).await
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
        let sent = poll_fn(|cx| Poll::Ready(client.send(cx, [out, b"", b"", b""])));
        if sent.await.is_err() || !flush(client, exchange).await {
            return false;
        }
        out.clear();
    }
    if chain.is_done() {
        exchange.gzipped = chain.gzipped();
    }
    true
}

/// Fewer bytes wait for more.
const ENOUGH: usize = 16 << 10;
