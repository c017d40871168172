//! `proxy_redirect` at work: what a peer's `Location` and `Refresh` become for the client.

use crate::content::push_origin;
use crate::exchange::Exchange;
use crate::proxy::{Proxy, Redirect};
use crate::route::Pattern;

/// A `Location` on its way to the client.
pub(super) enum Redirected {
    /// A rule made a path of it, and we made that absolute: nginx writes it among its own fields.
    Absolute(Vec<u8>),
    Other(Vec<u8>),
}

/// The first rule that fits is applied.
pub(super) fn location(exchange: &Exchange, proxy: &Proxy, value: &[u8]) -> Redirected {
    let Some(rewritten) = rewrite(exchange, proxy, value) else {
        return Redirected::Other(value.to_vec());
    };
    if rewritten.first() != Some(&b'/') || !exchange.location.absolute_redirect || proxy.hidden.contains(b"location") {
        return Redirected::Other(rewritten);
    }
    let mut absolute = Vec::with_capacity(rewritten.len() + 32);
    push_origin(exchange, &mut absolute);
    absolute.extend_from_slice(&rewritten);
    Redirected::Absolute(absolute)
}

/// `Refresh: 5; url=http://peer/x`: the URL is treated as that of `Location`.
pub(super) fn refresh(exchange: &Exchange, proxy: &Proxy, value: &[u8]) -> Vec<u8> {
    let at = value.windows(4).position(|window| window.eq_ignore_ascii_case(b"url="));
    let Some((before, url)) = at.and_then(|at| value.split_at_checked(at + 4)) else {
        return value.to_vec();
    };
    match rewrite(exchange, proxy, url) {
        Some(rewritten) => [before, &rewritten].concat(),
        None => value.to_vec(),
    }
}

fn rewrite(exchange: &Exchange, proxy: &Proxy, value: &[u8]) -> Option<Vec<u8>> {
    proxy.redirects.iter().find_map(|redirect| redirect.apply(exchange, value))
}

impl Redirect {
    /// The rewritten value, when the rule fits.
    pub(super) fn apply(&self, exchange: &Exchange, value: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let Some(pattern) = &self.pattern else {
            let mut from = Vec::new();
            exchange.render(&self.from, &mut from);
            let rest = value.strip_prefix(from.as_slice())?;
            exchange.render(&self.to, &mut out);
            out.extend_from_slice(rest);
            return Some(out);
        };
        self.apply_pattern(exchange, pattern, value)
    }

    /// The same for the domain of a cookie: it is compared whole, in any case, and a dot in front stays.
    pub(super) fn apply_to_domain(&self, exchange: &Exchange, value: &[u8]) -> Option<Vec<u8>> {
        if let Some(pattern) = &self.pattern {
            return self.apply_pattern(exchange, pattern, value);
        }
        let (dot, bare) = match value.strip_prefix(b".") {
            Some(bare) => (&b"."[..], bare),
            None => (&b""[..], value),
        };
        let mut from = Vec::new();
        exchange.render(&self.from, &mut from);
        if !from.eq_ignore_ascii_case(bare) {
            return None;
        }
        let mut out = dot.to_vec();
        exchange.render(&self.to, &mut out);
        Some(out)
    }

    fn apply_pattern(&self, exchange: &Exchange, pattern: &Pattern, value: &[u8]) -> Option<Vec<u8>> {
        // The groups are for this value alone: the request's own stay as they are.
        let mut captures = exchange.captures.borrow().clone();
        if !pattern.matches(value, &mut captures) {
            return None;
        }
        let mut out = Vec::new();
        self.to.render(&mut out, |variable, out| {
            exchange.push_value_with(variable, &captures, out);
        });
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Content, Located};
    use crate::variables::testing::{exchange, request};

    /// What becomes of a `Location` and of a `Refresh` behind `proxy_pass http://127.0.0.1:9/app/`.
    fn rewritten(rules: &str, value: &str) -> (String, String) {
        let server =
            format!("server {{ listen 8080; location /a/ {{ proxy_pass http://127.0.0.1:9/app/; {rules} }} }}");
        let mut exchange = exchange(&server, request("GET /a/x HTTP/1.1", &[]));
        exchange.host = b"example.com".to_vec();
        let Located::Location(found) = exchange.server.locate(b"/a/x", exchange.captures.get_mut()) else {
            panic!("no location");
        };
        exchange.location = found.clone();
        (exchange.proxying, exchange.proxy_host) = (true, b"127.0.0.1:9".to_vec());
        let Content::Proxy(proxy) = &found.content else { panic!("no proxy") };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let location = match location(&exchange, proxy, value.as_bytes()) {
            Redirected::Absolute(value) | Redirected::Other(value) => text(value),
        };
        let refreshed = refresh(&exchange, proxy, format!("5; url={value}").as_bytes());
        (location, text(refreshed))
    }

    #[test]
    fn the_default_puts_the_location_in_place_of_the_peer() {
        let (location, refresh) = rewritten("", "http://127.0.0.1:9/app/one?x");
        assert_eq!((location.as_str(), refresh.as_str()), ("http://example.com:8080/a/one?x", "5; url=/a/one?x"));
        assert_eq!(rewritten("", "http://other/app/one").0, "http://other/app/one");
        assert_eq!(rewritten("absolute_redirect off;", "http://127.0.0.1:9/app/one").0, "/a/one");
        assert_eq!(rewritten("proxy_redirect off;", "http://127.0.0.1:9/app/one").0, "http://127.0.0.1:9/app/one");
    }

    #[test]
    fn rules_replace_beginnings_or_what_a_regex_finds() {
        let rules = "proxy_redirect http://$proxy_host/x/ https://$host/y/; proxy_redirect ~*^http://[^/]+/(z.*)$ /$1;";
        assert_eq!(rewritten(rules, "http://127.0.0.1:9/x/1").0, "https://example.com/y/1");
        assert_eq!(rewritten(rules, "HTTP://peer/Zed").0, "http://example.com:8080/Zed");
        assert_eq!(rewritten(rules, "http://127.0.0.1:9/app/1").0, "http://127.0.0.1:9/app/1");
    }
}
