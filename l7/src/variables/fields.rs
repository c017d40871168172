//! Variables named after a header field, an argument or a cookie.

use super::{PrefixRow, push};
use fairlead_core::net::Tlv;
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
        prefix: "upstream_trailer_",
        doc: "A field that the peer sent behind its body; the name in lower case, with underscores for dashes.",
        value: |x, name, out| join(lines(&x.upstream_trailers), name, out),
    },
    PrefixRow {
        prefix: "sent_trailer_",
        doc: "A trailer of the response as the client got it.",
        value: |x, name, out| join(lines(&x.sent_trailers.borrow()), name, out),
    },
    PrefixRow {
        prefix: "sent_http_",
        doc: "A field of the response as the client got it.",
        value: |x, name, out| join(lines(&x.sent_head), name, out),
    },
    PrefixRow {
        prefix: "proxy_protocol_tlv_",
        doc: "A value of the PROXY protocol header: by name (`alpn`, `authority`, `unique_id`, `netns`, `ssl_version`, `ssl_cn`, \
              `ssl_cipher`, `ssl_sig_alg`, `ssl_key_alg`, `ssl_verify`) or by its type as `0xea` (`ssl_0x21` inside `ssl`).",
        value: |x, name, out| {
            let tlv = std::str::from_utf8(name).ok().and_then(Tlv::named);
            let header = x.connection.proxy_header.as_ref();
            tlv.zip(header).is_some_and(|(tlv, header)| tlv.push(header, out))
        },
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

/// `name=value` among the pairs of a `Cookie` field. As nginx: a pair may begin after a comma too, a
/// value ends at a semicolon alone.
pub(crate) fn cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = line;
    loop {
        rest = skip_blanks(rest);
        if let Some(value) = set_cookie(rest, name) {
            return Some(value);
        }
        let end = rest.iter().position(|byte| matches!(byte, b';' | b','))?;
        rest = rest.get(end + 1..)?;
    }
}

/// The value of a `Set-Cookie` field for the cookie of this name.
fn set_cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (known, rest) = line.split_at_checked(name.len())?;
    let value = skip_blanks(skip_blanks(rest).strip_prefix(b"=")?);
    known.eq_ignore_ascii_case(name).then(|| value.split(|&byte| byte == b';').next())?
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    text.get(blanks..).unwrap_or_default()
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
        assert_eq!(cookie(b"a=1,b=2, c ; c = 3 , 4 ;d=5", b"b"), Some(&b"2, c "[..]), "a comma is part of a value");
        assert_eq!(cookie(b"a=1,b=2, c ; c = 3 , 4 ;d=5", b"c"), Some(&b"3 , 4 "[..]));
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
