//! Who the client is when proxies speak for it: the addresses in
//! `X-Forwarded-For` and its like, read from the end as long as the one who
//! wrote them is trusted. Pure; `realip` and `geo` call it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address that `values` (fields in the order they came) give for a client that connected from
/// `from`; `None` when nobody trusted gives one.
pub(crate) fn client(
    from: SocketAddr,
    values: &[&[u8]],
    trusted: &dyn Fn(IpAddr) -> bool,
    recursive: bool,
) -> Option<SocketAddr> {
    let mut found = None;
    for value in values.iter().rev() {
        match last(found.unwrap_or(from), value, trusted, recursive) {
            Step::Found(address) if recursive => found = Some(address),
            Step::Found(address) | Step::Final(address) => return Some(address),
            Step::Nothing => return found,
        }
    }
    found
}

enum Step {
    /// Nobody trusted says anything.
    Nothing,
    /// The first address of the field, and all behind it are trusted.
    Found(SocketAddr),
    /// The one before it is not trusted, or is no address.
    Final(SocketAddr),
}

/// The last address of a field, or with `recursive` the last that is not trusted.
fn last(from: SocketAddr, value: &[u8], trusted: &dyn Fn(IpAddr) -> bool, recursive: bool) -> Step {
    let (mut from, mut rest, mut found) = (from, value, false);
    loop {
        let end = |found| if found { Step::Final(from) } else { Step::Nothing };
        if !trusted(from.ip()) {
            return end(found);
        }
        // As nginx: the first byte is never a separator.
        let length = rest.iter().rposition(|&byte| !separates(byte)).map_or(1, |at| at + 1).min(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        let start = text.iter().rposition(|&byte| separates(byte)).map_or(0, |at| at + 1);
        let Some(address) = parse(text.get(start..).unwrap_or_default()) else { return end(found) };
        (from, found) = (address, true);
        if !recursive || start == 0 {
            return Step::Found(from);
        }
        rest = text.get(..start - 1).unwrap_or_default();
    }
}

fn separates(byte: u8) -> bool {
    matches!(byte, b' ' | b',')
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, `[2001:db8::1]`.
fn parse(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    if let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().ok().map(|ip| SocketAddr::new(ip.into(), 0));
    }
    text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str], recursive: bool) -> Option<String> {
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.") || ip.to_string().starts_with("fd00:");
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        client("10.0.0.1:7".parse().unwrap(), &values, &trusted, recursive).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_counts() {
        for (value, expected) in [
            ("192.0.2.1", Some("192.0.2.1:0")),
            ("192.0.2.9, 192.0.2.1", Some("192.0.2.1:0")),
            ("192.0.2.9,192.0.2.1 , ", Some("192.0.2.1:0")),
            ("192.0.2.1:81", Some("192.0.2.1:81")),
            ("2001:db8::1", Some("[2001:db8::1]:0")),
            ("[2001:db8::1]:81", Some("[2001:db8::1]:81")),
            ("[2001:db8::1]", Some("[2001:db8::1]:0")),
            ("192.0.2.1, unknown", None),
            ("192.0.2.1:0", None),
            ("192.0.2.300", None),
            ("", None),
            (",", None),
            (" , ,", None),
            ("10.0.0.2", Some("10.0.0.2:0")),
        ] {
            assert_eq!(found(&[value], false).as_deref(), expected, "{value:?}");
        }
        assert_eq!(found(&["192.0.2.1", "192.0.2.2"], false).as_deref(), Some("192.0.2.2:0"));
    }

    #[test]
    fn recursion_stops_at_the_first_who_is_not_trusted() {
        for (values, expected) in [
            (&["192.0.2.9, 192.0.2.1, 10.0.0.3"][..], Some("192.0.2.1:0")),
            (&["10.0.0.5, 10.0.0.4"], Some("10.0.0.5:0")),
            (&["bad, 10.0.0.4"], Some("10.0.0.4:0")),
            (&["bad"], None),
            (&["192.0.2.1, 10.0.0.2", "10.0.0.3, 10.0.0.4"], Some("192.0.2.1:0")),
            (&["192.0.2.1", "192.0.2.2, 10.0.0.4"], Some("192.0.2.2:0")),
            (&["192.0.2.1", "192.0.2.2"], Some("192.0.2.2:0")),
            (&["192.0.2.1", "bad"], None),
            (&["bad", "10.0.0.2"], Some("10.0.0.2:0")),
            (&[], None),
        ] {
            assert_eq!(found(values, true).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn no_bytes_are_too_odd() {
        for seed in 0..256u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let text: Vec<u8> = (0..seed % 40)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    b" ,.:[]019af\xff"[(state % 12) as usize]
                })
                .collect();
            let from = "10.0.0.1:1".parse().unwrap();
            let one = client(from, &[&text], &|_| true, true);
            assert_eq!(one, client(from, &[&text], &|_| true, true), "seed {seed}");
        }
    }
}
