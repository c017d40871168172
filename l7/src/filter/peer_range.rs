//! `proxy_force_ranges`: the part of a peer's whole answer that the client asked for, cut out here.
//!
//! `proxy` calls [`forget`] before the other filters and [`arrange`] behind them: ranges are of what
//! they leave. As nginx of what comes from a peer, it gives one range at most: who asks for several
//! gets the whole. An answer whose length is not known has no ranges.

use super::slice::set_status;
use super::{Chain, OutOfRange, head};
use crate::content::{RangePart, Validators, http_date, range_part};
use crate::exchange::Exchange;
use crate::h1::{Method, Version, parse_decimal};

/// What the peer says of ranges does not count.
pub(crate) fn forget(exchange: &mut Exchange) {
    head::remove(&mut exchange.sent_head, b"Accept-Ranges");
}

/// The head and the chain for the part that the client gets.
///
/// # Errors
/// There is no such part.
pub(crate) fn arrange(exchange: &mut Exchange, chain: Option<Box<Chain>>) -> Result<Option<Box<Chain>>, OutOfRange> {
    let text = &exchange.sent_head;
    let told = head::value(text, b"Content-Length").and_then(parse_decimal);
    let length = told.or_else(|| chain.as_ref()?.length);
    let most = exchange.location.files.max_ranges.map_or(1, |most| most.min(1));
    let plain = exchange.status == 200 && !exchange.is_subrequest() && exchange.request.version >= Version::Http10;
    let Some(length) = length.filter(|_| plain && most > 0) else { return Ok(chain) };
    let file = Validators {
        modified: head::value(text, b"Last-Modified").and_then(http_date),
        etag: head::value(text, b"ETag"),
    };
    let (from, to) = match range_part(&exchange.request, file, length, Some(most)) {
        RangePart::None => return Err(OutOfRange(length)),
        RangePart::Whole => {
            head::push(&mut exchange.sent_head, false, b"Accept-Ranges", b"bytes");
            return Ok(chain);
        }
        RangePart::Ranges(ranges) => ranges.first().copied().unwrap_or_default(),
    };
    exchange.status = 206;
    let text = &mut exchange.sent_head;
    set_status(text, 206);
    let part = to.saturating_sub(from);
    if told.is_some() {
        head::set(text, false, b"Content-Length", part.to_string().as_bytes());
    }
    let range = format!("bytes {from}-{}/{length}", to.saturating_sub(1));
    head::push(text, false, b"Content-Range", range.as_bytes());
    if exchange.request.method == Method::Head {
        return Ok(chain);
    }
    let settings = exchange.location.filters.clone();
    let mut chain = chain.unwrap_or_else(|| Box::new(Chain::new(settings.unwrap_or_default())));
    chain.clip(from, part);
    Ok(Some(chain))
}
