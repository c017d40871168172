//! Answers of a peer that clients do not get: an error that `error_page` words
//! (`proxy_intercept_errors`), or one that names where the answer is (`X-Accel-Redirect`).

use crate::content::{error_page, safe_uri};
use crate::exchange::{Ended, Exchange};
use crate::h1::Known;
use crate::proxy::Proxy;
use fairlead_core::log::Level;

/// Fields of the peer's that go out with what is found where it points to.
const CARRIED: [&[u8]; 6] =
    [b"content-type", b"content-disposition", b"set-cookie", b"cache-control", b"expires", b"accept-ranges"];

const DOING: &str = "while reading response header from upstream";

/// What becomes of the request in place of the answer in `head`, whose parsed form is the exchange's.
pub(super) fn instead(exchange: &mut Exchange, proxy: &Proxy, head: &[u8]) -> Option<Ended> {
    let status = exchange.response.status;
    if proxy.intercept_errors && status >= 300 && exchange.location.error_pages.iter().any(|page| page.status == status)
    {
        if status == 401 {
            let asked = fields(exchange, head, |name| name.eq_ignore_ascii_case(b"www-authenticate"));
            exchange.passed.challenges.extend(asked.into_iter().map(|(_, value)| value));
        }
        return Some(Ended::Reply(error_page(status, exchange.location.server_tokens).into()));
    }
    if proxy.ignored.redirect {
        return None;
    }
    let to = fields(exchange, head, |name| name.eq_ignore_ascii_case(b"x-accel-redirect")).pop()?.1;
    let mut carried = fields(exchange, head, |name| CARRIED.iter().any(|known| name.eq_ignore_ascii_case(known)));
    for (_, value) in carried.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie")) {
        *value = proxy.cookies.rewrite(exchange, value).into_owned();
    }
    exchange.carried = carried;
    if to.first() == Some(&b'@') {
        let known = std::str::from_utf8(&to).is_ok_and(|name| exchange.server.named.contains_key(name));
        if known {
            return Some(Ended::Elsewhere(to));
        }
        let name = to.escape_ascii();
        exchange.log(Level::Error, format_args!("could not find named location \"{name}\" {DOING}"));
        return Some(Ended::Reply(exchange.refuse(500).into()));
    }
    match safe_uri(&to) {
        Some(to) => Some(Ended::Elsewhere(to)),
        None => {
            let to = to.escape_ascii();
            exchange.log(Level::Error, format_args!("unsafe URI \"{to}\" was detected {DOING}"));
            Some(Ended::Reply(error_page(404, exchange.location.server_tokens).into()))
        }
    }
}

/// Copies of the fields with such names.
fn fields(exchange: &Exchange, head: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<(Box<[u8]>, Vec<u8>)> {
    let known = |known| {
        matches!(known, Known::Other | Known::XAccel | Known::ContentType | Known::SetCookie | Known::ContentRange)
    };
    let named = exchange.response.headers.iter().filter(|header| known(header.known));
    named
        .map(|header| (header.name.of(head), header.value.of(head)))
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.into(), value.to_vec()))
        .collect()
}
