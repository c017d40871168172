//! `sticky cookie`: which peer a client's cookie asks for, and the cookie that asks for it next time.

use crate::exchange::Exchange;
use crate::h1::Known;
use crate::variables::{self, Variable};
use fairlead_conf::{Cx, Diagnostic, Template, Word};
use fairlead_core::clock;
use fairlead_core::upstream::Sticky;
use std::time::Duration;

/// A compiled `sticky cookie`.
#[derive(Debug)]
pub struct StickyCookie {
    name: Box<str>,
    expires: Option<Option<Duration>>,
    domain: Option<Template<Variable>>,
    path: Option<Template<Variable>>,
    samesite: Option<Template<Variable>>,
    httponly: bool,
    secure: bool,
}

/// `expires=max`: the end of 32-bit time, as nginx writes it.
const MAX_EXPIRES: &[u8] = b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";

impl StickyCookie {
    /// # Errors
    /// An unknown variable in an attribute.
    pub fn compile(sticky: &Sticky, cx: &Cx) -> Result<StickyCookie, Diagnostic> {
        let compile = |word: &Option<Word>| {
            word.as_ref().map(|word| Template::compile(word, &|name| variables::resolve(name, cx))).transpose()
        };
        Ok(StickyCookie {
            name: sticky.name.text.clone(),
            expires: sticky.expires,
            domain: compile(&sticky.domain)?,
            path: compile(&sticky.path)?,
            samesite: compile(&sticky.samesite)?,
            httponly: sticky.httponly,
            secure: sticky.secure,
        })
    }

    /// The server id that the client's cookie holds.
    pub fn sid<'a>(&self, exchange: &'a Exchange) -> Option<&'a [u8]> {
        let request = &exchange.request;
        let cookies = request.headers.iter().filter(|header| header.known == Known::Cookie);
        cookies.map(|header| header.value.of(&request.buffer)).find_map(|line| cookie(line, self.name.as_bytes()))
    }

    /// Appends the whole `Set-Cookie` line for a peer's server id.
    pub fn push_field(&self, exchange: &Exchange, sid: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Set-Cookie: ");
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(sid.as_bytes());
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
            let mut value = Vec::new();
            exchange.render(samesite, &mut value);
            let known = [&b"strict"[..], b"lax", b"none"].into_iter().find(|known| value.eq_ignore_ascii_case(known));
            out.extend_from_slice(b"; samesite=");
            out.extend_from_slice(known.unwrap_or(b"strict"));
        }
        push_attribute(exchange, b"; path=", self.path.as_ref(), out);
        out.extend_from_slice(b"\r\n");
    }
}

fn push_attribute(exchange: &Exchange, name: &[u8], value: Option<&Template<Variable>>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(name);
        exchange.render(value, out);
    }
}

/// The date as nginx writes it in cookies: `Thu, 31-Dec-37 23:55:55 GMT`.
fn push_expires(lifetime: u64, out: &mut Vec<u8>) {
    let date = clock::http_date(clock::unix_millis() / 1000 + lifetime);
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    out.extend_from_slice(b"; expires=");
    for piece in [part(0..7), b"-", part(8..11), b"-", part(14..16), part(16..29)] {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(format!("; max-age={lifetime}").as_bytes());
}

/// The value of the cookie `name` in a `Cookie` field.
pub fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    line.split(|&byte| byte == b';' || byte == b',').find_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = memchr::memchr(b'=', pair)?;
        let (key, value) = pair.split_at_checked(equals)?;
        key.trim_ascii_end().eq_ignore_ascii_case(name).then(|| value.get(1..).unwrap_or_default().trim_ascii_start())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_cookie_by_its_whole_name() {
        let line = b"a=1; srv_id=abc ;other=srv_id";
        assert_eq!(cookie(line, b"srv_id"), Some(b"abc".as_slice()));
        assert_eq!(cookie(line, b"srv"), None);
        assert_eq!(cookie(b"srv_id", b"srv_id"), None);
    }

    #[test]
    fn writes_dates_as_nginx_does_in_cookies() {
        let mut out = Vec::new();
        push_expires(3600, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(" GMT; max-age=3600"), "{text}");
        assert_eq!(text.matches('-').count(), 3, "{text}");
    }
}
