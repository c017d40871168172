//! Variables named after a header field, an argument or a cookie.

use super::{PrefixRow, push};
use crate::exchange::Exchange;
use memchr::memchr;

/// Longer prefixes first where one ends in another.
pub(super) const PREFIXES: &[PrefixRow] = &[
    PrefixRow {
        prefix: "upstream_cookie_",
        doc: "The cookie of this name in the peer's `Set-Cookie` fields.",
        value: |x, name, out| {
            let mut cookies = lines(&x.upstream_head).filter(|(field, _)| field.eq_ignore_ascii_case(b"set-cookie"));
            push(cookies.find_map(|(_, value)| set_cookie(value, name)), out)
        },
    },
    PrefixRow {
        prefix: "upstream_http_",
        doc: "A field of the peer's response; the name in lower case, with underscores for dashes.",
        value: |x, name, out| join(lines(&x.upstream_head), name, out),
    },
    PrefixRow {
        prefix: "sent_http_",
        doc: "A field of the response as the client got it.",
        value: |x, name, out| join(lines(&x.sent_head), name, out),
    },
    PrefixRow {
        prefix: "proxy_protocol_tlv_",
        doc: "A TLV of the PROXY protocol header: by name (`alpn`, `authority`, `unique_id`, `netns`) or as `0x` and two digits.",
        value: |x, name, out| push(tlv(x, name), out),
    },
    PrefixRow {
        prefix: "cookie_",
        doc: "The cookie of this name.",
        value: |x, name, out| {
            let mut cookies = x.request.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
            push(cookies.find_map(|(_, value)| cookie(value, name)), out)
        },
    },
    PrefixRow {
        prefix: "http_",
        doc: "A field of the request; the name in lower case, with underscores for dashes: `$http_user_agent`.",
        value: |x, name, out| {
            // Cookie lines of a request make one line.
            let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
            join_with(x.request.fields(), name, separator, out)
        },
    },
    PrefixRow {
        prefix: "arg_",
        doc: "The argument of this name in the query, as sent.",
        value: |x, name, out| push(super::request::query(x).and_then(|query| argument(query, name)), out),
    },
];

type Field<'a> = (&'a [u8], &'a [u8]);

/// The fields of a head in text form.
pub(crate) fn lines(head: &[u8]) -> impl Iterator<Item = Field<'_>> {
    head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let colon = memchr(b':', line)?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
    })
}

fn join<'a>(fields: impl Iterator<Item = Field<'a>>, name: &[u8], out: &mut Vec<u8>) -> bool {
    join_with(fields, name, b", ", out)
}

/// Several fields of one name are joined, as nginx does.
fn join_with<'a>(fields: impl Iterator<Item = Field<'a>>, name: &[u8], separator: &[u8], out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for (_, value) in fields.filter(|(field, _)| is_named(field, name)) {
        if found {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// `User-Agent` is `user_agent`.
fn is_named(field: &[u8], name: &[u8]) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    field.len() == name.len() && field.iter().zip(name).all(|(&byte, &wanted)| plain(byte) == wanted)
}

/// `name=value` among the arguments; names in any case, as nginx compares them.
fn argument<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|&byte| byte == b'&').find_map(|argument| {
        let equals = memchr(b'=', argument)?;
        argument.get(..equals)?.eq_ignore_ascii_case(name).then(|| argument.get(equals + 1..))?
    })
}

/// `name=value` among the pairs of a `Cookie` field.
pub(crate) fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    line.split(|&byte| matches!(byte, b';' | b',')).find_map(|pair| {
        let pair = pair.trim_ascii();
        let (known, rest) = pair.split_at_checked(name.len())?;
        let value = rest.trim_ascii_start().strip_prefix(b"=")?;
        known.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// The value of a `Set-Cookie` field for the cookie of this name.
fn set_cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    cookie(line.split(|&byte| byte == b';').next()?, name)
}

fn tlv<'a>(exchange: &'a Exchange, name: &[u8]) -> Option<&'a [u8]> {
    let kind = match name {
        b"alpn" => 0x01,
        b"authority" => 0x02,
        b"unique_id" => 0x05,
        b"netns" => 0x30,
        hex => u8::from_str_radix(std::str::from_utf8(hex.strip_prefix(b"0x")?).ok()?, 16).ok()?,
    };
    let header = exchange.connection.proxy_header.as_ref()?;
    header.tlvs.iter().find(|(known, _)| *known == kind).map(|(_, value)| value.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_whole_and_in_any_case() {
        let query = b"a=1&B=2&empty=&flag&ab=3";
        for (name, value) in
            [("a", Some("1")), ("b", Some("2")), ("empty", Some("")), ("flag", None), ("ab", Some("3"))]
        {
            assert_eq!(argument(query, name.as_bytes()), value.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn cookies_are_found_whole() {
        let line = b"sid=abc; theme=dark;x=; sidx=no";
        for (name, value) in [("sid", Some("abc")), ("theme", Some("dark")), ("x", Some("")), ("si", None)] {
            assert_eq!(cookie(line, name.as_bytes()), value.map(str::as_bytes), "{name}");
        }
        assert_eq!(set_cookie(b"route=r1; path=/; expires=x", b"route"), Some(&b"r1"[..]));
        assert_eq!(set_cookie(b"route=r1; path=/", b"path"), None);
    }

    #[test]
    fn fields_of_one_name_are_joined() {
        let head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: two: parts\r\nx-a: 2\r\n\r\n";
        let mut out = Vec::new();
        assert!(join(lines(head), b"x_a", &mut out));
        out.push(b'|');
        assert!(join(lines(head), b"x_b", &mut out));
        assert_eq!(out, b"1, 2|two: parts");
        assert!(!join(lines(head), b"x_c", &mut out));
    }
}
