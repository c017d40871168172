//! `ip_hash`: clients of one IPv4 /24, or one IPv6 address, share a peer.

use super::search::Search;
use std::net::IpAddr;

const SEED: u32 = 89;

/// The peer that the client's address belongs to, or the next one by hash; `None` leaves the pick
/// to round robin.
pub(super) fn pick(mut search: Search<'_>, client: Option<IpAddr>) -> Option<usize> {
    let mut hash = if search.tried.rehash.started { search.tried.rehash.hash } else { SEED };
    while search.goes_on() {
        hash = round(hash, client);
        if let Some(member) = search.take(search.under(u64::from(hash))) {
            search.tried.rehash.hash = hash;
            search.tried.rehash.started = true;
            return Some(member);
        }
    }
    None
}

/// A client on a Unix socket counts as 0.0.0.0.
fn round(hash: u32, client: Option<IpAddr>) -> u32 {
    let mix = |hash: u32, octet: &u8| (hash * 113 + u32::from(*octet)) % 6271;
    match client {
        Some(IpAddr::V4(address)) => address.octets().iter().take(3).fold(hash, mix),
        Some(IpAddr::V6(address)) => address.octets().iter().fold(hash, mix),
        None => [0; 3].iter().fold(hash, mix),
    }
}
