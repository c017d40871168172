//! What a PROXY protocol header of version 2 says beyond addresses, by the names nginx has for it
//! (section 2.2 of HAProxy's `doc/proxy-protocol.txt`).

use crate::net::ProxyHeader;
use std::io::Write;

/// One value of a header: `$proxy_protocol_tlv_NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tlv {
    Type(u8),
    /// A value inside that of `PP2_TYPE_SSL`.
    Ssl(u8),
    /// The word `verify` of `PP2_TYPE_SSL`: zero when the client's certificate was found good.
    SslVerify,
}

const SSL: u8 = 0x20;

const NAMES: &[(&str, Tlv)] = &[
    ("alpn", Tlv::Type(0x01)),
    ("authority", Tlv::Type(0x02)),
    ("unique_id", Tlv::Type(0x05)),
    ("ssl", Tlv::Type(SSL)),
    ("netns", Tlv::Type(0x30)),
    ("ssl_verify", Tlv::SslVerify),
    ("ssl_version", Tlv::Ssl(0x21)),
    ("ssl_cn", Tlv::Ssl(0x22)),
    ("ssl_cipher", Tlv::Ssl(0x23)),
    ("ssl_sig_alg", Tlv::Ssl(0x24)),
    ("ssl_key_alg", Tlv::Ssl(0x25)),
];

impl Tlv {
    /// A name of the table, a type as `0xea` or in decimal, or `ssl_0x21` for one inside `ssl`.
    pub fn named(name: &str) -> Option<Tlv> {
        if let Some((_, tlv)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(*tlv);
        }
        let hex = |digits: &str| {
            let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(digits, 16).ok().filter(|_| sound)
        };
        if let Some(digits) = name.strip_prefix("ssl_0x") {
            return hex(digits).map(Tlv::Ssl);
        }
        if let Some(digits) = name.strip_prefix("0x") {
            return hex(digits).map(Tlv::Type);
        }
        let sound = name.bytes().all(|byte| byte.is_ascii_digit());
        name.parse().ok().filter(|_| sound).map(Tlv::Type)
    }

    /// Appends the value; false when the header does not have it.
    pub fn push(self, header: &ProxyHeader, out: &mut Vec<u8>) -> bool {
        match self {
            Tlv::Type(kind) => find(header, kind).map(|value| out.extend_from_slice(value)),
            Tlv::Ssl(kind) => {
                ssl(header).and_then(|(_, inner)| inside(inner, kind)).map(|value| out.extend_from_slice(value))
            }
            // Writing to a Vec cannot fail.
            Tlv::SslVerify => ssl(header).map(|(verify, _)| write!(out, "{verify}").unwrap_or_default()),
        }
        .is_some()
    }
}

fn find(header: &ProxyHeader, kind: u8) -> Option<&[u8]> {
    header.tlvs.iter().find(|(other, _)| *other == kind).map(|(_, value)| &**value)
}

/// `verify`, and the values inside.
fn ssl(header: &ProxyHeader) -> Option<(u32, &[u8])> {
    let (_client, rest) = find(header, SSL)?.split_first()?;
    let (verify, inner) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*verify), inner))
}

/// The value of a type; what lies behind a broken one does not count.
fn inside(mut bytes: &[u8], kind: u8) -> Option<&[u8]> {
    while let Some((head, rest)) = bytes.split_first_chunk::<3>() {
        let [other, high, low] = *head;
        let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        if other == kind {
            return Some(value);
        }
        bytes = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ProxyHeader {
        let ssl = [&[5, 0, 0, 1, 2][..], &[0x21, 0, 7], b"TLSv1.3", &[0x22, 0, 2], b"me", &[0x23, 0, 9], b"cut"];
        ProxyHeader { addresses: None, tlvs: vec![(1, b"h2".to_vec()), (SSL, ssl.concat()), (0xea, vec![1, 2])] }
    }

    fn value(name: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        Tlv::named(name).expect(name).push(&header(), &mut out).then_some(out)
    }

    #[test]
    fn values_have_nginx_names() {
        for (name, expected) in [
            ("alpn", &b"h2"[..]),
            ("0x01", b"h2"),
            ("1", b"h2"),
            ("0xea", &[1, 2]),
            ("234", &[1, 2]),
            ("ssl_verify", b"258"),
            ("ssl_version", b"TLSv1.3"),
            ("ssl_cn", b"me"),
            ("ssl_0x22", b"me"),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_is_not_there_or_broken_has_no_value() {
        for name in ["authority", "unique_id", "netns", "ssl_cipher", "ssl_key_alg", "ssl_0x00"] {
            assert_eq!(value(name), None, "{name}");
        }
        for short in [&[][..], &[5], &[5, 0, 0, 0]] {
            let header = ProxyHeader { addresses: None, tlvs: vec![(SSL, short.to_vec())] };
            assert!(!Tlv::SslVerify.push(&header, &mut Vec::new()), "{short:?}");
        }
    }

    #[test]
    fn other_names_are_unknown() {
        for name in ["", "foo", "0x", "0xgg", "0x100", "256", "+1", "ssl_0x", "ssl_foo", "0x+1"] {
            assert_eq!(Tlv::named(name), None, "{name}");
        }
    }
}
