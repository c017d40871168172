//! Who the client is when proxies speak for it: the addresses in
//! `X-Forwarded-For` and its like, read from the end as long as the one who
//! wrote them is trusted. Pure; `realip` and `geo` call it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
        let start = text.iter().rposition(|&byte| separates(byte)).filter(|at| *at > 0).map_or(0, |at| at + 1);
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

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, as nginx reads them.
fn parse(text: &[u8]) -> Option<SocketAddr> {
    if let Some(ip) = ip(text) {
        return Some(SocketAddr::new(ip, 0));
    }
    let colon = match text.first()? {
        b'[' => text.iter().position(|byte| *byte == b']')? + 1,
        _ => text.iter().position(|byte| *byte == b':')?,
    };
    let (host, port) = text.split_at_checked(colon)?;
    let port = port.strip_prefix(b":").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let port = std::str::from_utf8(port).ok()?.parse().ok().filter(|port| *port > 0)?;
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    Some(SocketAddr::new(ip(host)?, port))
}

fn ip(text: &[u8]) -> Option<IpAddr> {
    match ipv4(text) {
        Some(ip) => Some(IpAddr::V4(ip)),
        None => std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

/// Zeros in front mean nothing, and what stands between two dots may be nothing at all; the address
/// of all ones is none.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        for byte in parts.next()? {
            let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
            *octet = octet.checked_mul(10)?.checked_add(digit)?;
        }
    }
    let ip = Ipv4Addr::from(octets);
    (parts.next().is_none() && ip != Ipv4Addr::BROADCAST).then_some(ip)
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
            ("[2001:db8::1]", None),
            (",192.0.2.1", None),
            ("192.0.2.01", Some("192.0.2.1:0")),
            ("192..2.1:080", Some("192.0.2.1:80")),
            ("255.255.255.255", None),
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
