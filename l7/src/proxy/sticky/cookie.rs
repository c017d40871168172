//! `sticky cookie`: the cookie that a client brings, and the one it is given.
//! Allocates nothing for a client that brings a good one.

use super::{Asked, Bound};
use crate::exchange::Exchange;
use crate::h1::Known;
use crate::respond::push_number;
use crate::variables::{self, Variable};
use fairlead_conf::{Cx, Diagnostic, Piece, Template, Word};
use fairlead_core::clock;
use fairlead_core::upstream::{Peer, Signer, StickyCookie};
use std::cell::Cell;
use std::time::Duration;

/// A compiled `sticky cookie`.
#[derive(Debug)]
pub struct Cookie {
    name: Box<str>,
    expires: Option<Option<Duration>>,
    domain: Option<Template<Variable>>,
    path: Option<Template<Variable>>,
    samesite: Option<Template<Variable>>,
    httponly: bool,
    secure: bool,
    signer: Option<Signer>,
}

/// `expires=max`: the end of 32-bit time, as nginx writes it.
const MAX_EXPIRES: &[u8] = b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";

impl Cookie {
    pub fn compile(cookie: &StickyCookie, upstream: &str, cx: &Cx) -> Result<Cookie, Diagnostic> {
        let compile = |word: &Option<Word>| word.as_ref().map(|word| variables::compile(word, cx)).transpose();
        Ok(Cookie {
            name: cookie.name.text.clone(),
            expires: cookie.expires,
            domain: compile(&cookie.domain)?,
            path: compile(&cookie.path)?,
            samesite: compile(&cookie.samesite)?,
            httponly: cookie.httponly,
            secure: cookie.secure,
            signer: cookie.signed.as_ref().map(|signer| signer.within(upstream)),
        })
    }

    pub(super) fn asked<'a>(&self, exchange: &'a Exchange) -> Asked<'a> {
        let Some(value) = self.brought(exchange) else { return Asked::Nobody };
        let Some(signer) = &self.signer else { return Asked::Server(value, true) };
        match signer.verify(value) {
            Some((id, newest)) => Asked::Server(id, newest),
            None => Asked::Forged,
        }
    }

    /// The value of the client's cookie, as `$cookie_NAME` has it; an empty one is none.
    fn brought<'a>(&self, exchange: &'a Exchange) -> Option<&'a [u8]> {
        let request = &exchange.request;
        let lines = request.headers.iter().filter(|header| header.known == Known::Cookie);
        let lines = lines.map(|header| header.value.of(&request.buffer));
        lines.filter_map(|line| variables::cookie(line, self.name.as_bytes())).next().filter(|value| !value.is_empty())
    }

    /// Appends what stands behind `Set-Cookie: ` for a peer; attributes in nginx's order.
    pub(super) fn push_value(&self, exchange: &Exchange, peer: &Peer, bound: Bound, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        match &self.signer {
            None => out.extend_from_slice(peer.sid.as_bytes()),
            // What it brings is what we would sign.
            Some(_) if bound == Bound::Hit => out.extend_from_slice(self.brought(exchange).unwrap_or_default()),
            Some(signer) => signer.push(peer.sid.as_bytes(), out),
        }
        match self.expires {
            None => {}
            Some(None) => out.extend_from_slice(MAX_EXPIRES),
            Some(Some(lifetime)) => push_expires(lifetime.as_secs(), out),
        }
        push_attribute(exchange, b"; domain=", self.domain.as_ref(), out);
        if self.httponly {
            out.extend_from_slice(b"; httponly");
        }
        if self.secure {
            out.extend_from_slice(b"; secure");
        }
        if let Some(samesite) = &self.samesite {
            push_samesite(exchange, samesite, out);
        }
        push_attribute(exchange, b"; path=", self.path.as_ref(), out);
    }
}

/// An attribute without a value is left out.
fn push_attribute(exchange: &Exchange, name: &[u8], value: Option<&Template<Variable>>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    let before = out.len();
    out.extend_from_slice(name);
    let start = out.len();
    exchange.render(value, out);
    // What variables hold may come from the client: it stays one attribute.
    if out.get(start..).unwrap_or_default().iter().any(|byte| byte.is_ascii_control() || *byte == b';') {
        out.truncate(start);
    }
    if out.len() == start {
        out.truncate(before);
    }
}

/// As nginx: what variables make of it is `strict` unless it is one of the three.
fn push_samesite(exchange: &Exchange, samesite: &Template<Variable>, out: &mut Vec<u8>) {
    let before = out.len();
    push_attribute(exchange, b"; samesite=", Some(samesite), out);
    let Some(value) = out.get(before..).unwrap_or_default().strip_prefix(b"; samesite=") else { return };
    let variable = samesite.pieces.iter().any(|piece| matches!(piece, Piece::Variable(_)));
    let known = [&b"strict"[..], b"lax", b"none"].iter().any(|known| value.eq_ignore_ascii_case(known));
    if variable && !known {
        out.truncate(before);
        out.extend_from_slice(b"; samesite=strict");
    }
}

thread_local! {
    /// The second that was written last, and how.
    static DATE: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
}

/// The date as nginx writes it in cookies: `Thu, 31-Dec-37 23:55:55 GMT`. Formatted once a second.
fn push_expires(lifetime: u64, out: &mut Vec<u8>) {
    let second = (clock::unix_millis() / 1000).saturating_add(lifetime);
    let (known, mut date) = DATE.get();
    if known != second {
        date = clock::http_date(second);
        DATE.set((second, date));
    }
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    // nginx writes four digits of a year that is past those of 32-bit time.
    let year = if second > i32::MAX as u64 { part(12..16) } else { part(14..16) };
    out.extend_from_slice(b"; expires=");
    for piece in [part(0..7), b"-", part(8..11), b"-", year, part(16..29)] {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"; max-age=");
    push_number(lifetime, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_nginx_does_in_cookies() {
        let mut out = Vec::new();
        push_expires(3600, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(" GMT; max-age=3600"), "{text}");
        assert_eq!(text.matches('-').count(), 3, "{text}");
        let mut out = Vec::new();
        push_expires(100 * 365 * 86_400, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.split('-').nth(2).is_some_and(|year| year.starts_with("21")), "{text}");
    }
}
