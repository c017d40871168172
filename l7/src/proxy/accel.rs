//! What a peer says of how its answer is to be passed on: `X-Accel-Limit-Rate`, `X-Accel-Buffering`.

use crate::exchange::Exchange;
use crate::h1::{Known, parse_decimal};
use crate::proxy::Proxy;

/// Takes it from the answer in `head`, whose parsed form is the exchange's. What makes no sense is as if
/// it was not there, as in nginx.
pub(super) fn heed(exchange: &mut Exchange, proxy: &Proxy, head: &[u8]) {
    exchange.buffering = None;
    for header in exchange.response.headers.iter().filter(|header| header.known == Known::XAccel) {
        let (name, value) = (header.name.of(head), header.value.of(head));
        if name.eq_ignore_ascii_case(b"x-accel-limit-rate") && !proxy.ignored.limit_rate {
            exchange.limit_rate = parse_decimal(value).or(exchange.limit_rate);
        }
        if name.eq_ignore_ascii_case(b"x-accel-buffering") && !proxy.ignored.buffering {
            exchange.buffering = match () {
                () if value.eq_ignore_ascii_case(b"yes") => Some(true),
                () if value.eq_ignore_ascii_case(b"no") => Some(false),
                () => exchange.buffering,
            };
        }
    }
}
