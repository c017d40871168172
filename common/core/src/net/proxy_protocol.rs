//! The PROXY protocol, versions 1 and 2, as HAProxy's `doc/proxy-protocol.txt` defines it.
//! No I/O: bytes in, header and its length out.
//!
//! Strict: what the document forbids is `Broken`, and as soon as no more bytes could mend it. Never
//! guesses whether a header is there. Who waits for a header bounds how many bytes it waits for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;

/// Longest line of version 1, with its CRLF.
pub const PROXY_V1_MAX: usize = 107;

/// Who the client really is, and which address it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// `None` for `UNKNOWN` and `LOCAL`: keep the connection's own addresses.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Type and value of each TLV (version 2).
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProtocolError {
    #[error("more bytes are needed")]
    Incomplete,
    #[error("broken header")]
    Broken,
}

use ProxyProtocolError::{Broken, Incomplete};

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header at the start of `bytes` and how many bytes it takes.
///
/// # Errors
/// `Incomplete` while `bytes` may still become a header, `Broken` when it cannot.
pub fn parse_proxy_header(bytes: &[u8]) -> Result<(ProxyHeader, usize), ProxyProtocolError> {
    if let Some(rest) = bytes.strip_prefix(V1) {
        let line = Line::split(rest, PROXY_V1_MAX - V1.len())?;
        let addresses = line.addresses()?;
        return Ok((ProxyHeader { addresses, tlvs: Vec::new() }, V1.len() + line.length));
    }
    if bytes.starts_with(V2) {
        return parse_v2(bytes);
    }
    if V1.starts_with(bytes) || V2.starts_with(bytes) { Err(Incomplete) } else { Err(Broken) }
}

/// What follows `PROXY ` in version 1: the words, and whether their end has been seen.
struct Line<'a> {
    text: &'a [u8],
    /// With its CRLF.
    length: usize,
    whole: bool,
    limit: usize,
}

impl<'a> Line<'a> {
    fn split(rest: &'a [u8], limit: usize) -> Result<Line<'a>, ProxyProtocolError> {
        let window = rest.get(..limit).unwrap_or(rest);
        if let Some(end) = memchr::memmem::find(window, b"\r\n") {
            let text = window.get(..end).unwrap_or_default();
            return Ok(Line { text, length: end + 2, whole: true, limit });
        }
        // A CR at the very end may be half of the CRLF.
        let text = window.strip_suffix(b"\r").unwrap_or(window);
        if text.len() + 2 > limit {
            return Err(Broken);
        }
        Ok(Line { text, length: window.len(), whole: false, limit })
    }

    fn addresses(&self) -> Result<Option<(SocketAddr, SocketAddr)>, ProxyProtocolError> {
        const UNKNOWN: &[u8] = b"UNKNOWN";
        if let Some(ignored) = self.text.strip_prefix(UNKNOWN) {
            return match (self.whole, ignored.first()) {
                (_, Some(byte)) if *byte != b' ' => Err(Broken),
                (true, _) => Ok(None),
                (false, _) => Err(Incomplete),
            };
        }
        let half_ended = !self.whole && self.length > self.text.len();
        if !self.whole && !half_ended && (UNKNOWN.starts_with(self.text) || b"TCP".starts_with(self.text)) {
            return Err(Incomplete);
        }
        let text = std::str::from_utf8(self.text).map_err(|_| Broken)?;
        let fields: Vec<&str> = text.splitn(6, ' ').collect();
        let v6 = match fields.first() {
            Some(&"TCP4") => false,
            Some(&"TCP6") => true,
            _ => return Err(Broken),
        };
        match fields.as_slice() {
            [_, source, destination, sport, dport] if self.whole || half_ended => {
                let source = SocketAddr::new(ip(source, v6).ok_or(Broken)?, port(sport).ok_or(Broken)?);
                let destination = SocketAddr::new(ip(destination, v6).ok_or(Broken)?, port(dport).ok_or(Broken)?);
                if self.whole { Ok(Some((source, destination))) } else { Err(Incomplete) }
            }
            fields if !self.whole && !half_ended && self.may_go_on(fields, v6) => Err(Incomplete),
            _ => Err(Broken),
        }
    }

    /// Whether some bytes after `fields`, the last of which may be cut, make a line that is not too long.
    fn may_go_on(&self, fields: &[&str], v6: bool) -> bool {
        let Some(((last, whole), place)) = fields.split_last().zip(fields.len().checked_sub(1)) else { return true };
        let sound = whole.iter().enumerate().skip(1).all(|(place, field)| field_is_sound(field, place, v6));
        // The shortest line's words, from the one after `last` on, and the CRLF.
        let least = [if v6 { " ::" } else { " 0.0.0.0" }, if v6 { " ::" } else { " 0.0.0.0" }, " 0", " 0"];
        let after: usize = least.iter().skip(place).map(|word| word.len()).sum::<usize>() + 2;
        let fits = |ending: &&str| self.text.len() + ending.len() + after <= self.limit;
        sound
            && match place {
                0 => true,
                1..=4 => ENDINGS
                    .iter()
                    .filter(|ending| fits(ending))
                    .any(|ending| field_is_sound(&format!("{last}{ending}"), place, v6)),
                _ => false,
            }
    }
}

/// One of these completes any word that can be completed, and no shorter text does.
const ENDINGS: [&str; 10] = ["", "0", ":", "::", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0"];

fn field_is_sound(field: &str, place: usize, v6: bool) -> bool {
    match place {
        1 | 2 => ip(field, v6).is_some(),
        _ => port(field).is_some(),
    }
}

/// The standard library refuses leading zeroes in IPv4, as the document does.
fn ip(text: &str, v6: bool) -> Option<IpAddr> {
    if v6 { text.parse().ok().map(IpAddr::V6) } else { text.parse().ok().map(IpAddr::V4) }
}

/// Digits only, and no leading zero.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The block of addresses of version 2 by its family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Unspecified,
    Inet,
    Inet6,
    Unix,
}

fn parse_v2(bytes: &[u8]) -> Result<(ProxyHeader, usize), ProxyProtocolError> {
    let fixed = bytes.get(V2.len()..).unwrap_or_default();
    let local = match fixed.first() {
        None => return Err(Incomplete),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Broken),
    };
    let kind = *fixed.get(1).ok_or(Incomplete)?;
    if local {
        let length = length_v2(fixed)?;
        return match bytes.len() >= length {
            true => Ok((ProxyHeader { addresses: None, tlvs: Vec::new() }, length)),
            false => Err(Incomplete),
        };
    }
    let family = match (kind >> 4, kind & 0xf) {
        (0, 0..=2) => Family::Unspecified,
        (1, 0..=2) => Family::Inet,
        (2, 0..=2) => Family::Inet6,
        (3, 0..=2) => Family::Unix,
        _ => return Err(Broken),
    };
    let length = length_v2(fixed)?;
    let header = bytes.get(..length).unwrap_or(bytes);
    let mut parsed = parse_block(header, length, family)?;
    if kind & 0xf == 0 {
        parsed.addresses = None;
    }
    Ok((parsed, length))
}

/// Bytes of the whole header, from its two bytes of length.
fn length_v2(fixed: &[u8]) -> Result<usize, ProxyProtocolError> {
    let length = fixed.get(2..4).and_then(|bytes| bytes.first_chunk::<2>()).ok_or(Incomplete)?;
    Ok(V2.len() + 4 + usize::from(u16::from_be_bytes(*length)))
}

/// Addresses and TLVs; `header` holds what has arrived of `length` bytes.
fn parse_block(header: &[u8], length: usize, family: Family) -> Result<ProxyHeader, ProxyProtocolError> {
    const START: usize = 16;
    let size = match family {
        Family::Unspecified => 0,
        Family::Inet => 12,
        Family::Inet6 => 36,
        Family::Unix => 216,
    };
    let tlvs_at = START + size;
    if length < tlvs_at {
        return Err(Broken);
    }
    let tlvs = match parse_tlvs(header, tlvs_at, length) {
        // Whatever stands there, it is to be ignored: only the length counts.
        Err(Broken) if family == Family::Unspecified && header.len() < length => return Err(Incomplete),
        Err(Broken) if family == Family::Unspecified => Vec::new(),
        other => other?,
    };
    if family != Family::Unspecified && !checksum_is_right(header, tlvs_at) {
        return Err(Broken);
    }
    let block = header.get(START..tlvs_at).ok_or(Incomplete)?;
    let addresses = match family {
        Family::Inet => addresses::<4>(block),
        Family::Inet6 => addresses::<16>(block),
        Family::Unspecified | Family::Unix => None,
    };
    Ok(ProxyHeader { addresses, tlvs })
}

/// Two addresses of `N` bytes, then two ports.
fn addresses<const N: usize>(block: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (sport, rest) = rest.split_first_chunk::<2>()?;
    let dport = rest.first_chunk::<2>()?;
    let address = |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port));
    Some((address(source, sport), address(destination, dport)))
}

/// `header` may still be short of `length`: a vector that cannot fit is broken all the same.
fn parse_tlvs(header: &[u8], start: usize, length: usize) -> Result<Vec<(u8, Vec<u8>)>, ProxyProtocolError> {
    let mut tlvs = Vec::new();
    let walked = walk_tlvs(header, start, length, |_, kind, value| tlvs.push((kind, value.to_vec())));
    match walked {
        ControlFlow::Continue(()) => Ok(tlvs),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Calls `each` with the place of the value, its type and the value.
fn walk_tlvs(
    header: &[u8],
    start: usize,
    length: usize,
    mut each: impl FnMut(usize, u8, &[u8]),
) -> ControlFlow<ProxyProtocolError> {
    let mut at = start;
    while at < length {
        let room = match (length - at).checked_sub(3) {
            Some(room) => room,
            None => return ControlFlow::Break(Broken),
        };
        let high = header.get(at + 1).map(|high| usize::from(*high) << 8);
        if high.is_some_and(|high| high > room) {
            return ControlFlow::Break(Broken);
        }
        let (Some(kind), Some(high), Some(low)) = (header.get(at), high, header.get(at + 2)) else {
            return ControlFlow::Break(Incomplete);
        };
        let size = high + usize::from(*low);
        let left = room.checked_sub(size);
        if !left.is_some_and(|left| left == 0 || left >= 3) {
            return ControlFlow::Break(Broken);
        }
        let Some(value) = header.get(at + 3..at + 3 + size) else {
            return ControlFlow::Break(Incomplete);
        };
        each(at + 3, *kind, value);
        at += 3 + size;
    }
    ControlFlow::Continue(())
}

const CRC32C: u8 = 0x03;

/// A checksum is optional, but one that is there must be right (section 2.2.3).
fn checksum_is_right(header: &[u8], tlvs_at: usize) -> bool {
    let mut claim = None;
    let walked = walk_tlvs(header, tlvs_at, header.len(), |at, kind, value| {
        if kind == CRC32C {
            claim = Some((at, value.try_into().map_or(None, |value| Some(u32::from_be_bytes(value)))));
        }
    });
    match (walked, claim) {
        (ControlFlow::Continue(()), Some((at, Some(claim)))) => crc32c(header, at..at + 4) == claim,
        (ControlFlow::Continue(()), Some((_, None))) => false,
        _ => true,
    }
}

/// RFC 4960 appendix B, with the bytes of `zeroed` taken as zero.
fn crc32c(bytes: &[u8], zeroed: std::ops::Range<usize>) -> u32 {
    let crc = bytes.iter().enumerate().fold(u32::MAX, |crc, (at, byte)| {
        let byte = if zeroed.contains(&at) { 0 } else { *byte };
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    });
    !crc
}

/// Version 1: `PROXY TCP4 source destination sport dport\r\n`; `PROXY UNKNOWN\r\n` without addresses.
pub fn write_proxy_v1(source: Option<SocketAddr>, destination: Option<SocketAddr>, out: &mut Vec<u8>) {
    let Some((source, destination)) = source.zip(destination).map(of_one_family) else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to, sport, dport) = (source.ip(), destination.ip(), source.port(), destination.port());
    out.extend_from_slice(format!("PROXY {family} {from} {to} {sport} {dport}\r\n").as_bytes());
}

/// Version 2; `datagram` says UDP. `LOCAL` without addresses.
pub fn write_proxy_v2(source: Option<SocketAddr>, destination: Option<SocketAddr>, datagram: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(V2);
    let Some((source, destination)) = source.zip(destination).map(of_one_family) else {
        return out.extend_from_slice(&[0x20, 0, 0, 0]);
    };
    let transport = if datagram { 2 } else { 1 };
    match source.is_ipv4() {
        true => out.extend_from_slice(&[0x21, 0x10 | transport, 0, 12]),
        false => out.extend_from_slice(&[0x21, 0x20 | transport, 0, 36]),
    }
    push_ip(source.ip(), out);
    push_ip(destination.ip(), out);
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

fn push_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
}

/// Both families have to be the same on the wire: an IPv4 address beside an IPv6 one is mapped.
fn of_one_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let map = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(Ipv4Addr::to_ipv6_mapped(&ip)), address.port()),
        IpAddr::V6(ip) => SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip.octets())), address.port()),
    };
    (map(source), map(destination))
}

#[cfg(test)]
mod tests;
