//! Whether the head of an answer waits for the first byte of its body. A peer that dies in between can then be
//! left for the next one: nobody has seen anything of its answer.
//!
//! Only where answers are buffered, as in nginx, which lets such a head wait too (and then ends the answer
//! after it). Asked by an attempt once a head is whole and nothing came with it.

use crate::exchange::Exchange;
use crate::h1::{Framing, Known};
use crate::proxy::attempt::Attempt;

pub(super) fn waits_for_body(exchange: &Exchange, attempt: &Attempt<'_>) -> bool {
    let (proxy, response) = (attempt.proxy, &exchange.response);
    let has_body = match response.framing {
        Framing::Length(length) => length > 0,
        Framing::Chunked => true,
        Framing::None | Framing::UntilClose => false,
    };
    // Where the status or a field decides alone, the body is not waited for.
    let decided = proxy.next.status(response.status)
        || (proxy.intercept_errors && response.status >= 300)
        || response.headers.iter().any(|header| header.known == Known::XAccel);
    let repeats = attempt.may_retry && proxy.next.error && proxy.next.timeout && exchange.body.is_done();
    has_body && !decided && proxy.buffering && repeats && attempt.may_repeat(exchange)
}
