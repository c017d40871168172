//! `gzip`, `gzip_static` and `gunzip`: their directives, and for which responses they are.
//!
//! `compress` and `gunzip` do the work on bodies; `filter` and `content` ask here.

use super::mime::Types;
use super::{Settings as Filters, accept, head};
use crate::content::http_date;
use crate::directives::{ALL, IF_LOCATION};
use crate::exchange::Exchange;
use crate::h1::Version;
use crate::route::Pattern;
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value};
use fairlead_core::clock;
use fairlead_core::names::Captures;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub on: bool,
    pub level: u32,
    min_length: u64,
    types: Types,
    /// `gzip_http_version 1.0`.
    http10: bool,
    proxied: Proxied,
    pub vary: bool,
    disable: Vec<Pattern>,
    disable_msie6: bool,
    pub stored: Stored,
    pub gunzip: bool,
}

/// `gzip_static`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stored {
    #[default]
    Off,
    On,
    Always,
}

impl Stored {
    pub fn read(text: &str) -> Stored {
        match text {
            "on" => Stored::On,
            "always" => Stored::Always,
            _ => Stored::Off,
        }
    }
}

/// `gzip_proxied`: bits in the order of [`PROXIED`]; none is `off`.
#[derive(Clone, Copy, Debug, Default)]
struct Proxied(u16);

const PROXIED: [&str; 9] =
    ["off", "expired", "no-cache", "no-store", "private", "no_last_modified", "no_etag", "auth", "any"];

impl Proxied {
    fn has(self, flag: &str) -> bool {
        PROXIED.iter().position(|&known| known == flag).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }
}

/// What of a response decides whether it is compressed.
pub(crate) struct Answer<'a> {
    pub status: u16,
    pub content_type: &'a [u8],
    pub length: Option<u64>,
    pub head: &'a [u8],
}

impl Settings {
    /// Whether responses like this are compressed for clients that can have it so: they vary.
    pub fn suits(&self, answer: &Answer<'_>) -> bool {
        self.on
            && matches!(answer.status, 200 | 403 | 404)
            && answer.length.is_none_or(|length| length >= self.min_length)
            && self.types.has(answer.content_type)
            && head::value(answer.head, b"Content-Encoding").is_none_or(<[u8]>::is_empty)
    }

    /// Whether this client takes gzip, and may have it.
    pub fn accepted(&self, exchange: &Exchange, head: &[u8]) -> bool {
        let request = &exchange.request;
        let takes = request.header(b"accept-encoding").is_some_and(|field| accept::weight(field, b"gzip").is_some());
        takes && self.may_pack(exchange, head)
    }

    /// Whether anything may be packed for this client, in whatever coding.
    pub(super) fn may_pack(&self, exchange: &Exchange, head: &[u8]) -> bool {
        if exchange.is_subrequest() {
            // What it answers becomes part of another response.
            return false;
        }
        let request = &exchange.request;
        let agent = request.header(b"user-agent").unwrap_or_default();
        let oldest = if self.http10 { Version::Http10 } else { Version::Http11 };
        if request.version < oldest || (self.disable_msie6 && is_msie6(agent)) {
            return false;
        }
        let proxied = request.header(b"via").is_some();
        if proxied && !self.allowed_through_proxies(request.header(b"authorization").is_some(), head) {
            return false;
        }
        !self.disable.iter().any(|pattern| pattern.matches(agent, &mut Captures::default()))
    }

    /// Proxies on the way may give the response to clients that do not take gzip.
    fn allowed_through_proxies(&self, authorized: bool, head: &[u8]) -> bool {
        let flags = self.proxied;
        if flags.0 == 0 || flags.has("off") {
            return false;
        }
        if flags.has("any") || (authorized && flags.has("auth")) {
            return true;
        }
        if let Some(expires) = head::value(head, b"Expires") {
            let now = || clock::unix_millis() / 1000;
            let date = head::value(head, b"Date").and_then(http_date).unwrap_or_else(now);
            return flags.has("expired") && http_date(expires).is_some_and(|expires| expires < date);
        }
        if head::value(head, b"Cache-Control").is_some() {
            let says = |word: &str| {
                flags.has(word) && head::values(head, b"Cache-Control").any(|value| is_directive(value, word))
            };
            return says("no-cache") || says("no-store") || says("private");
        }
        let misses = |flag, name| flags.has(flag) && head::value(head, name).is_some();
        !misses("no_last_modified", b"Last-Modified".as_slice()) && !misses("no_etag", b"ETag".as_slice())
    }
}

fn is_directive(value: &[u8], word: &str) -> bool {
    value.split(|&byte| byte == b',').any(|part| {
        let name = part.trim_ascii().split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii_end().eq_ignore_ascii_case(word.as_bytes())
    })
}

/// Internet Explorer 4 to 6, but not the one that Windows XP's second service pack brought.
fn is_msie6(agent: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(agent, b"MSIE ") else { return false };
    match agent.get(at + 5..at + 7) {
        Some(b"4." | b"5.") => true,
        Some(b"6.") => memchr::memmem::find(agent.get(at + 8..).unwrap_or_default(), b"SV1").is_none(),
        _ => false,
    }
}

type Row = Directive<Filters>;
const TYPES: &str = "mime-type …";

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "gzip",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Compresses bodies of responses with status 200, 403 or 404 on their way to clients that take gzip. \
              What is compressed already stays as it is; ranges of what is compressed are not served.",
        set: |filters, given| given.flag(0).map(|on| filters.gzip.on = on),
    },
    Row {
        name: "gzip_comp_level",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(1..=9)], "level"),
        repeat: Repeat::Once,
        default: Some("1"),
        doc: "How hard to compress, from 1 (quick) to 9 (small).",
        set: |filters, given| given.int(0).map(|level| filters.gzip.level = u32::try_from(level).unwrap_or(1)),
    },
    Row {
        name: "gzip_min_length",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "length"),
        repeat: Repeat::Once,
        default: Some("20"),
        doc: "Bodies of fewer bytes stay as they are, if their `Content-Length` is known.",
        set: |filters, given| given.size(0).map(|length| filters.gzip.min_length = length),
    },
    Row {
        name: "gzip_types",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], TYPES),
        repeat: Repeat::List(|filters| filters.gzip.types.clear()),
        default: Some("text/html"),
        doc: "Content types that are compressed, besides `text/html`; `*` is any.",
        set: |filters, given| filters.gzip.types.take(given, &["text/html"]),
    },
    Row {
        name: "gzip_http_version",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["1.0", "1.1"])], "1.0 | 1.1"),
        repeat: Repeat::Once,
        default: Some("1.1"),
        doc: "The oldest version of HTTP that gets compressed bodies.",
        set: |filters, given| {
            filters.gzip.http10 = given.text(0) == "1.0";
            Ok(())
        },
    },
    Row {
        name: "gzip_proxied",
        contexts: ALL,
        args: Args::at_least(
            1,
            &[Value::AnyCase(&PROXIED)],
            "off | expired | no-cache | no-store | private | no_last_modified | no_etag | auth | any …",
        ),
        repeat: Repeat::List(|filters| filters.gzip.proxied = Proxied::default()),
        default: Some("off"),
        doc: "Which responses are compressed for requests that came through a proxy (have a `Via` field): those that \
              no cache keeps, by `Expires` or `Cache-Control`, those without `Last-Modified` or `ETag`, those to \
              requests with `Authorization`, or `any`.",
        set: |filters, given| {
            given.warn_of_repeats();
            for word in given.words() {
                let bit = PROXIED.iter().position(|known| known.eq_ignore_ascii_case(&word.text)).unwrap_or(0);
                filters.gzip.proxied.0 |= 1 << bit;
            }
            Ok(())
        },
    },
    Row {
        name: "gzip_vary",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sends `Vary: Accept-Encoding` with responses that are compressed for some clients.",
        set: |filters, given| given.flag(0).map(|on| filters.gzip.vary = on),
    },
    Row {
        name: "gzip_disable",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "regex …"),
        repeat: Repeat::List(|filters| {
            filters.gzip.disable.clear();
            filters.gzip.disable_msie6 = false;
        }),
        default: None,
        doc: "Clients whose `User-Agent` one of the regular expressions matches, in any case, get no compressed \
              bodies. `msie6` stands for Internet Explorer 4 to 6.",
        set: |filters, given| disable(&mut filters.gzip, given),
    },
    Row {
        name: "gzip_static",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["on", "off", "always"])], "on | off | always"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sends the file with `.gz` behind its name, if there is one, to clients that take gzip, or with `always` \
              to all.",
        set: |filters, given| {
            filters.gzip.stored = Stored::read(given.text(0));
            Ok(())
        },
    },
    Row {
        name: "gunzip",
        contexts: GUNZIP,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Decompresses bodies with `Content-Encoding: gzip` on their way to clients that do not take gzip, piece \
              by piece as these read them.",
        set: |filters, given| given.flag(0).map(|on| filters.gzip.gunzip = on),
    },
];

const GUNZIP: Contexts = ALL;

fn disable(gzip: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    for (index, word) in given.words().iter().enumerate() {
        if &*word.text == "msie6" {
            gzip.disable_msie6 = true;
            continue;
        }
        let wrong = |why| given.error(index, format!("invalid regular expression \"{}\": {why}", word.text));
        gzip.disable.push(Pattern::new(&word.text, true).map_err(wrong)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_explorer_is_known() {
        for (agent, expected) in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", false),
            ("Mozilla/4.0 (compatible; MSIE 5.5)", true),
            ("Mozilla/4.0 (compatible; MSIE 7.0)", false),
            ("curl/8", false),
        ] {
            assert_eq!(is_msie6(agent.as_bytes()), expected, "{agent}");
        }
    }

    #[test]
    fn caches_on_the_way_decide() {
        let with = |flags: &[&str]| {
            let bits = flags.iter().map(|flag| 1 << PROXIED.iter().position(|known| known == flag).unwrap()).sum();
            Settings { proxied: Proxied(bits), ..Settings::default() }
        };
        let allowed = |flags: &[&str], fields: &str| {
            with(flags).allowed_through_proxies(false, format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes())
        };
        let old = "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\nExpires: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let fresh = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nExpires: Sun, 06 Nov 1994 08:49:38 GMT\r\n";
        assert!(!allowed(&["off"], "") && allowed(&["any"], fresh));
        assert!(allowed(&["expired"], old) && !allowed(&["expired"], fresh) && !allowed(&["private"], old));
        assert!(allowed(&["no-cache"], "Cache-Control: no-cache, x\r\n"));
        assert!(!allowed(&["no-cache"], "Cache-Control: private\r\n"));
        assert!(allowed(&["private", "no-store"], "Cache-Control: max-age=1\r\nCache-Control: private=\"x\"\r\n"));
        assert!(!allowed(&["no_etag"], "ETag: \"x\"\r\n") && allowed(&["no_etag"], "Last-Modified: x\r\n"));
        assert!(!allowed(&["no_last_modified"], "Last-Modified: x\r\n"));
    }
}
