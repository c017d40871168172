//! How fast a response goes to its client: `limit_rate`, `limit_rate_after`, `$limit_rate` and
//! `X-Accel-Limit-Rate`, counted as nginx does: every second that the request lasts grants its bytes,
//! and what was sent is rested for.
//!
//! [`begin`] is called once the head of a response is known; the [`Client`] sends no faster from then on.

use crate::client::Client;
use crate::exchange::Exchange;
use crate::variables::{self, Variable};
use fairlead_conf::{Diagnostic, Given, Piece, Template, value};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::Level;
use fairlead_core::net::{Deadline, Rate};
use std::task::{Context, Poll};

/// A number of bytes that may be a matter of the request.
#[derive(Clone, Debug)]
pub enum Bytes {
    Fixed(u64),
    Variable(Template<Variable>),
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes::Fixed(0)
    }
}

impl Bytes {
    /// # Errors
    /// An unknown variable, or what is no size.
    pub(crate) fn read(given: &Given<'_>) -> Result<Bytes, Diagnostic> {
        let template = variables::compile(given.word(0), given.cx)?;
        match template.pieces.iter().any(|piece| matches!(piece, Piece::Variable(_))) {
            true => Ok(Bytes::Variable(template)),
            false => given.size(0).map(Bytes::Fixed),
        }
    }

    /// What it is for this request; nothing for what is no size, which is logged.
    pub(crate) fn of(&self, exchange: &Exchange) -> u64 {
        let template = match self {
            Bytes::Fixed(bytes) => return *bytes,
            Bytes::Variable(template) => template,
        };
        let mut text = Vec::new();
        exchange.render(template, &mut text);
        let parsed = std::str::from_utf8(&text).ok().and_then(value::parse_size);
        if parsed.is_none() && !text.is_empty() {
            exchange.log(Level::Error, format_args!("invalid size \"{}\"", text.escape_ascii()));
        }
        parsed.unwrap_or(0)
    }
}

/// A stream of bytes that is to be no faster.
pub(crate) struct Throttle {
    rate: Rate,
    /// Bytes that go out before any are counted.
    after: u64,
    rest: Deadline,
    rests: bool,
}

/// From here on the client gets the response of this exchange at its rate.
pub(crate) fn begin(client: &mut Client, exchange: &mut Exchange) {
    // What a subrequest puts in goes at the rate of the response it is put into.
    if client.is_muted() || exchange.is_subrequest() {
        return;
    }
    let rate = exchange.limit_rate.unwrap_or_else(|| exchange.location.limit_rate.of(exchange));
    exchange.limit_rate = Some(rate);
    if rate == 0 {
        return;
    }
    let after = exchange.location.limit_rate_after.of(exchange);
    client.throttle = Some(Box::new(Throttle::new(rate, after, exchange.started)));
}

impl Throttle {
    pub fn new(limit: u64, after: u64, since: Tick) -> Throttle {
        let rate = Rate { limit, since, before: 0 };
        Throttle { rate, after, rest: Deadline::default(), rests: false }
    }

    /// Bytes that may be sent now, `sent` having been; pending while there are none.
    pub fn poll_allowance(&mut self, cx: &mut Context<'_>, sent: u64) -> Poll<usize> {
        if self.rests && self.rest.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.rests = false;
        match self.allowance(sent, tick()) {
            Ok(most) => Poll::Ready(usize::try_from(most).unwrap_or(usize::MAX)),
            Err(wait) => self.poll_rest(cx, wait),
        }
    }

    fn allowance(&self, sent: u64, now: Tick) -> Result<u64, std::time::Duration> {
        let most = self.rate.allowance(sent.saturating_sub(self.after), now)?;
        Ok(most.saturating_add(self.after.saturating_sub(sent)))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>, wait: std::time::Duration) -> Poll<usize> {
        self.rests = true;
        self.rest.set(wait);
        self.rest.poll(cx).map(|_| 0)
    }

    /// `count` bytes more have been sent than `before`.
    pub fn sent(&mut self, before: u64, count: u64) {
        let counted = before.saturating_add(count).saturating_sub(self.after.max(before));
        let rest = self.rate.rest(counted);
        if !rest.is_zero() {
            self.rests = true;
            self.rest.set(rest);
        }
    }

    /// It waits for its rate, and not for the client.
    pub fn rests(&self) -> bool {
        self.rests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;
    use std::time::Duration;

    #[test]
    fn over_time_the_rate_is_kept_once_the_first_bytes_are_out() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let start = Tick(dice.roll(10_000));
            let throttle = Throttle::new(1 + dice.roll(1 << 20), dice.roll(1 << 20), start);
            let (mut now, mut sent) = (start, 0);
            let end = start.after(Duration::from_secs(20));
            while now < end {
                match throttle.allowance(sent, now) {
                    Ok(most) => sent += 1 + dice.roll(most),
                    Err(wait) => now = now.after(wait),
                }
                now = now.after(Duration::from_millis(dice.roll(50)));
                let seconds = now.since(start).as_secs() + 1;
                assert!(sent <= throttle.after + throttle.rate.limit * seconds + 1, "seed {seed}: {sent} is too fast");
            }
            assert!(sent >= throttle.rate.limit * 10, "seed {seed}: {sent} is too slow");
        }
    }
}
