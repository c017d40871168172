//! `ip_hash`: clients of one IPv4 /24, or one IPv6 address, share a peer.

use super::MAX_TRIES;
use super::round_robin::Rotation;
use crate::clock::Tick;
use crate::upstream::Tried;
use crate::upstream::group::Weights;
use std::net::IpAddr;

const SEED: u32 = 89;

/// The peer that the client's address belongs to, or the next one by hash; `None` leaves the pick
/// to round robin.
pub(super) fn pick(
    rotation: &mut Rotation,
    weights: &Weights,
    client: Option<IpAddr>,
    now: Tick,
    tried: &mut Tried,
) -> Option<usize> {
    let mut hash = if tried.rehash.started { tried.rehash.hash } else { SEED };
    while tried.rehash.tries <= MAX_TRIES {
        hash = round(hash, client);
        let member = weights.find(u64::from(hash) % weights.total().max(1));
        if !tried.holds(member) && rotation.take_found(member, now) {
            tried.rehash.hash = hash;
            tried.rehash.started = true;
            return Some(member);
        }
        tried.rehash.tries += 1;
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
