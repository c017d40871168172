//! A peer's `Set-Cookie` on its way to the client: another domain, another path, other flags.
//!
//! A cookie that no rule fits goes on byte for byte; one that was changed is written anew, its
//! attributes with one semicolon and one blank between.

use crate::exchange::Exchange;
use crate::proxy::Redirect;
use crate::route::Pattern;
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::log::Level;
use std::borrow::Cow;

/// `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags` of a location.
#[derive(Clone, Debug, Default)]
pub struct Cookies {
    pub domains: Vec<Redirect>,
    pub paths: Vec<Redirect>,
    pub flags: Vec<CookieFlags>,
}

/// One `proxy_cookie_flags`.
#[derive(Clone, Debug)]
pub struct CookieFlags {
    /// The cookie's name, unless there is a pattern for it.
    pub name: Template<Variable>,
    pub(crate) pattern: Option<Pattern>,
    pub flags: Vec<Template<Variable>>,
}

/// `key=value`, or a key alone.
struct Attribute<'a> {
    key: Cow<'a, [u8]>,
    value: Option<Cow<'a, [u8]>>,
}

impl Cookies {
    /// The value of the field as the client gets it.
    pub(super) fn rewrite<'a>(&self, exchange: &Exchange, value: &'a [u8]) -> Cow<'a, [u8]> {
        if self.domains.is_empty() && self.paths.is_empty() && self.flags.is_empty() {
            return Cow::Borrowed(value);
        }
        let mut attributes: Vec<Attribute<'_>> = value.split(|&byte| byte == b';').map(Attribute::parse).collect();
        let mut changed = false;
        for attribute in attributes.iter_mut().skip(1) {
            let Some(old) = &attribute.value else { continue };
            let new = if attribute.is(b"domain") {
                self.domains.iter().find_map(|rule| rule.apply_to_domain(exchange, old))
            } else if attribute.is(b"path") {
                self.paths.iter().find_map(|rule| rule.apply(exchange, old))
            } else {
                None
            };
            if let Some(new) = new {
                attribute.value = Some(Cow::Owned(new));
                changed = true;
            }
        }
        changed |= self.flag(exchange, &mut attributes);
        if changed { Cow::Owned(joined(&attributes)) } else { Cow::Borrowed(value) }
    }

    /// Applies the first rule that fits the cookie's name.
    fn flag(&self, exchange: &Exchange, attributes: &mut Vec<Attribute<'_>>) -> bool {
        let Some(name) = attributes.first().map(|first| first.key.to_vec()) else {
            return false;
        };
        let Some(rule) = self.flags.iter().find(|rule| rule.fits(exchange, &name)) else {
            return false;
        };
        let mut wanted = Wanted::default();
        for flag in &rule.flags {
            let mut text = Vec::new();
            exchange.render(flag, &mut text);
            wanted.add(exchange, &text);
        }
        wanted.apply(attributes);
        true
    }
}

impl<'a> Attribute<'a> {
    fn parse(text: &'a [u8]) -> Attribute<'a> {
        let (key, value) = match memchr::memchr(b'=', text).and_then(|equals| text.split_at_checked(equals)) {
            Some((key, value)) => (key, value.get(1..).map(|value| Cow::Borrowed(value.trim_ascii()))),
            None => (text, None),
        };
        Attribute { key: Cow::Borrowed(key.trim_ascii()), value }
    }

    fn is(&self, key: &[u8]) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }
}

fn joined(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, attribute) in attributes.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(&attribute.key);
        if let Some(value) = &attribute.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

impl CookieFlags {
    pub const KNOWN: [&str; 8] = [
        "secure",
        "nosecure",
        "httponly",
        "nohttponly",
        "samesite=strict",
        "samesite=lax",
        "samesite=none",
        "nosamesite",
    ];

    fn fits(&self, exchange: &Exchange, cookie: &[u8]) -> bool {
        match &self.pattern {
            Some(pattern) => {
                let mut captures = exchange.captures.borrow().clone();
                pattern.matches(cookie, &mut captures)
            }
            None => {
                let mut name = Vec::new();
                exchange.render(&self.name, &mut name);
                name.eq_ignore_ascii_case(cookie)
            }
        }
    }
}

/// What is to become of each flag; `None` leaves it as it is.
#[derive(Default)]
struct Wanted {
    secure: Option<bool>,
    httponly: Option<bool>,
    /// `Some(None)` takes it away.
    samesite: Option<Option<&'static [u8]>>,
}

impl Wanted {
    fn add(&mut self, exchange: &Exchange, flag: &[u8]) {
        match flag {
            // A variable without a value.
            b"" => {}
            b"secure" => self.secure = Some(true),
            b"nosecure" => self.secure = Some(false),
            b"httponly" => self.httponly = Some(true),
            b"nohttponly" => self.httponly = Some(false),
            b"samesite=strict" => self.samesite = Some(Some(b"Strict")),
            b"samesite=lax" => self.samesite = Some(Some(b"Lax")),
            b"samesite=none" => self.samesite = Some(Some(b"None")),
            b"nosamesite" => self.samesite = Some(None),
            other => {
                exchange.log(Level::Error, format_args!("invalid proxy_cookie_flags flag \"{}\"", other.escape_ascii()))
            }
        }
    }

    /// Those that are there stay in their places, new ones come behind.
    fn apply(self, attributes: &mut Vec<Attribute<'_>>) {
        set(attributes, ("Secure", self.secure.map(|on| on.then_some(None))));
        set(attributes, ("HttpOnly", self.httponly.map(|on| on.then_some(None))));
        set(attributes, ("SameSite", self.samesite.map(|value| value.map(Some))));
    }
}

/// What a flag is to be: nothing said, taken away, or there with or without a value.
type Wish = Option<Option<Option<&'static [u8]>>>;

fn set(attributes: &mut Vec<Attribute<'_>>, (key, wish): (&'static str, Wish)) {
    let Some(wish) = wish else { return };
    let mut first = true;
    let mut found = false;
    attributes.retain_mut(|attribute| {
        if std::mem::take(&mut first) || !attribute.is(key.as_bytes()) {
            return true;
        }
        found = true;
        if let Some(Some(value)) = wish {
            *attribute = Attribute { key: Cow::Borrowed(key.as_bytes()), value: Some(Cow::Borrowed(value)) };
        }
        wish.is_some()
    });
    if let Some(value) = wish.filter(|_| !found) {
        attributes.push(Attribute { key: Cow::Borrowed(key.as_bytes()), value: value.map(Cow::Borrowed) });
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{Content, Located};
    use crate::variables::testing::{exchange, request};

    fn rewritten(rules: &str, value: &str) -> String {
        let server = format!("server {{ listen 8080; location / {{ proxy_pass http://127.0.0.1:9; {rules} }} }}");
        let mut exchange = exchange(&server, request("GET /x HTTP/1.1", &[]));
        exchange.host = b"example.com".to_vec();
        let Located::Location(found) = exchange.server.locate(b"/x", exchange.captures.get_mut()) else {
            panic!("no location");
        };
        exchange.location = found.clone();
        let Content::Proxy(proxy) = &found.content else { panic!("no proxy") };
        String::from_utf8(proxy.cookies.rewrite(&exchange, value.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn domains_are_compared_whole_without_dot_and_case() {
        let rules = "proxy_cookie_domain .app.test $host; proxy_cookie_domain ~\\.([a-z]+)\\.test$ $1.example;";
        assert_eq!(rewritten(rules, "a=b;  Domain=APP.test;X"), "a=b; Domain=example.com; X");
        assert_eq!(rewritten(rules, "a=b; domain=.app.test"), "a=b; domain=.example.com");
        assert_eq!(rewritten(rules, "a=b; domain=x.shop.test"), "a=b; domain=shop.example");
        assert_eq!(rewritten(rules, "a=b;domain=x.test2 ;  q"), "a=b;domain=x.test2 ;  q");
        assert_eq!(rewritten(rules, "domain=app.test; x"), "domain=app.test; x");
    }

    #[test]
    fn paths_are_compared_by_their_beginning() {
        let rules = "proxy_cookie_path /app/ /; proxy_cookie_path ~*^/(SHOP) /$1/now;";
        assert_eq!(rewritten(rules, "a=b; path=/app/x; Secure"), "a=b; path=/x; Secure");
        assert_eq!(rewritten(rules, "a=b; Path=/Shop/y"), "a=b; Path=/Shop/now");
        assert_eq!(rewritten(rules, "a=b; path=/ap"), "a=b; path=/ap");
    }

    #[test]
    fn flags_come_and_go() {
        let rules = "proxy_cookie_flags one nosecure httponly samesite=lax; proxy_cookie_flags ~^t nosamesite secure;";
        assert_eq!(rewritten(rules, "one=1; SECURE; Path=/"), "one=1; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(rewritten(rules, "One=1; samesite=None;httponly"), "One=1; SameSite=Lax; httponly");
        assert_eq!(rewritten(rules, "two=2; SameSite=Lax"), "two=2; Secure");
        assert_eq!(rewritten(rules, "other=2; SameSite=Lax"), "other=2; SameSite=Lax");
    }
}
