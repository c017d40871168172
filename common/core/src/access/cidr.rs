//! An address or a network as nginx writes it: `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`.

use fairlead_conf::{Diagnostic, Given};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network; an address alone is one of its whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cidr {
    V4 { address: u32, prefix: u8 },
    V6 { address: u128, prefix: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network")]
pub struct InvalidCidr;

impl Cidr {
    /// The network, its low bits cleared, and whether any of them was set.
    ///
    /// # Errors
    /// `text` is neither an address nor a network; IPv6 stands without brackets.
    pub fn parse(text: &str) -> Result<(Cidr, bool), InvalidCidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(number(prefix)?)),
            None => (text, None),
        };
        if let Some(given) = ipv4(address).map(u32::from) {
            let prefix = prefix.unwrap_or(32);
            let address = given & mask4(prefix)?;
            return Ok((Cidr::V4 { address, prefix }, address != given));
        }
        let given = u128::from(address.parse::<Ipv6Addr>().map_err(|_| InvalidCidr)?);
        let prefix = prefix.unwrap_or(128);
        let address = given & mask6(prefix)?;
        Ok((Cidr::V6 { address, prefix }, address != given))
    }

    /// Argument `index`, with nginx's warning about low bits that mean nothing.
    ///
    /// # Errors
    /// As [`Cidr::parse`], in nginx's words.
    pub fn given(given: &Given<'_>, index: usize) -> Result<Cidr, Diagnostic> {
        let text = given.text(index);
        let (cidr, low_bits) = Cidr::parse(text).map_err(|_| {
            let help = "write an address (IPv6 without brackets) or a network: 10.0.0.0/8, 2001:db8::/32";
            given.error(index, format!("invalid parameter \"{text}\"")).help(help)
        })?;
        if low_bits {
            let message = format!("low address bits of {text} are meaningless");
            let help = format!("the network is {cidr}");
            given.cx.report(Diagnostic::warning(given.word(index).span, message).help(help));
        }
        Ok(cidr)
    }

    /// A network of one address.
    pub fn host(ip: IpAddr) -> Cidr {
        match ip {
            IpAddr::V4(ip) => Cidr::V4 { address: ip.into(), prefix: 32 },
            IpAddr::V6(ip) => Cidr::V6 { address: ip.into(), prefix: 128 },
        }
    }
}

/// The first and the last address of a network.
pub(super) enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

impl Cidr {
    pub(super) fn range(self) -> Range {
        match self {
            Cidr::V4 { address, prefix } => {
                Range::V4(address, address | u32::MAX.checked_shr(prefix.into()).unwrap_or(0))
            }
            Cidr::V6 { address, prefix } => {
                Range::V6(address, address | u128::MAX.checked_shr(prefix.into()).unwrap_or(0))
            }
        }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cidr::V4 { address, prefix } => write!(f, "{}/{prefix}", Ipv4Addr::from(*address)),
            Cidr::V6 { address, prefix } => write!(f, "{}/{prefix}", Ipv6Addr::from(*address)),
        }
    }
}

/// Zeroes in front of an octet are allowed and mean nothing, as in nginx.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = parts.next().and_then(|part| number(part).ok())?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Digits only.
fn number(text: &str) -> Result<u8, InvalidCidr> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| InvalidCidr) } else { Err(InvalidCidr) }
}

/// The bits that a network of this length leaves as they are.
fn mask4(prefix: u8) -> Result<u32, InvalidCidr> {
    match prefix {
        0 => Ok(0),
        1..=32 => Ok(u32::MAX << (32 - prefix)),
        _ => Err(InvalidCidr),
    }
}

fn mask6(prefix: u8) -> Result<u128, InvalidCidr> {
    match prefix {
        0 => Ok(0),
        1..=128 => Ok(u128::MAX << (128 - prefix)),
        _ => Err(InvalidCidr),
    }
}
