//! `hash KEY consistent`: the ketama ring with nginx's points.
//!
//! The ring is part of the group and shared by all workers. What a server
//! with several addresses needs besides (their round robin) is each worker's.

use super::MAX_TRIES;
use super::hash::Crc32;
use super::round_robin::Rotation;
use crate::clock::Tick;
use crate::upstream::{Peer, Tried};
use ahash::AHashMap;
use std::sync::Arc;

const POINTS_PER_WEIGHT: u64 = 160;

/// More points than this would take gigabytes and minutes.
pub(in crate::upstream) const MAX_POINTS: u64 = 1 << 26;

/// The points of a group's primary peers.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Ring {
    /// Hash and server of each point, by hash, no hash twice.
    points: Vec<(u32, u32)>,
    /// Positions of each server's peers in the group. Servers written alike are one.
    servers: Vec<Vec<usize>>,
    /// Server of each peer and its place there.
    places: Vec<(u32, u32)>,
}

impl Ring {
    pub fn new(primaries: &[Arc<Peer>]) -> Ring {
        let mut ring = Ring::default();
        let mut known: AHashMap<&str, u32> = AHashMap::new();
        let mut heaviest: AHashMap<u32, u32> = AHashMap::new();
        for (index, peer) in primaries.iter().enumerate() {
            let new = ring.servers.len() as u32;
            let server = *known.entry(&peer.server).or_insert(new);
            if server == new {
                ring.servers.push(Vec::new());
            }
            let peers = &mut ring.servers[server as usize];
            ring.places.push((server, peers.len() as u32));
            peers.push(index);
            // The addresses of one server fall on the same points: a heavier one only adds some.
            let most = heaviest.entry(server).or_insert(0);
            if peer.weight > *most {
                *most = peer.weight;
                ring.place(server, peer);
            }
        }
        // Stable: of two servers on one point the first in the file keeps it.
        ring.points.sort_by_key(|point| point.0);
        ring.points.dedup_by_key(|point| point.0);
        ring
    }

    pub fn points_of(peer: &Peer) -> u64 {
        u64::from(peer.weight) * POINTS_PER_WEIGHT
    }

    fn place(&mut self, server: u32, peer: &Peer) {
        let (host, port) = host_and_port(&peer.server);
        let base = Crc32::default().update(host.as_bytes()).update(&[0]).update(port.as_bytes());
        let mut previous = 0_u32;
        for _ in 0..Ring::points_of(peer) {
            previous = base.update(&previous.to_le_bytes()).value();
            self.points.push((previous, server));
        }
    }

    /// The servers that have more than one address, as rotations of their own.
    pub(super) fn rotations(&self, peers: &[Arc<Peer>]) -> Vec<Option<Rotation>> {
        let rotation = |of: &Vec<usize>| {
            let members = of.iter().filter_map(|index| peers.get(*index).map(|peer| (*index, peer.clone())));
            (of.len() > 1).then(|| Rotation::new(members, false))
        };
        self.servers.iter().map(rotation).collect()
    }

    /// Server of a primary peer, and its place among the addresses of that server.
    pub fn place_of(&self, index: usize) -> Option<(usize, usize)> {
        self.places.get(index).map(|(server, place)| (*server as usize, *place as usize))
    }

    fn first_at_or_after(&self, hash: u32) -> u32 {
        self.points.partition_point(|point| point.0 < hash) as u32
    }
}

fn host_and_port(server: &str) -> (&str, &str) {
    if let Some((prefix, path)) = server.split_at_checked(5)
        && prefix.eq_ignore_ascii_case("unix:")
    {
        return (path, "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}

/// The peer that `key` belongs to, or that of a point further round the ring; `None` leaves the
/// pick to round robin.
pub(super) fn pick(
    (rotation, servers): (&mut Rotation, &mut [Option<Rotation>]),
    ring: &Ring,
    key: &[u8],
    now: Tick,
    tried: &mut Tried,
) -> Option<usize> {
    let points = u32::try_from(ring.points.len()).ok().filter(|points| *points > 0)?;
    if !tried.rehash.started {
        tried.rehash.started = true;
        tried.rehash.hash = ring.first_at_or_after(Crc32::default().update(key).value());
    }
    while tried.rehash.tries <= MAX_TRIES {
        let point = (tried.rehash.hash % points) as usize;
        let server = ring.points.get(point)?.1 as usize;
        let picked = match (servers.get_mut(server), ring.servers.get(server)?.as_slice()) {
            (Some(Some(addresses)), of) => addresses.pick(now, tried).and_then(|place| of.get(place).copied()),
            (_, [only]) => (!tried.holds(*only) && rotation.take_found(*only, now)).then_some(*only),
            _ => None,
        };
        if picked.is_some() {
            return picked;
        }
        tried.rehash.hash = tried.rehash.hash.wrapping_add(1);
        tried.rehash.tries += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_split_where_nginx_splits_it() {
        assert_eq!(host_and_port("10.0.0.1:80"), ("10.0.0.1", "80"));
        assert_eq!(host_and_port("a.example"), ("a.example", ""));
        assert_eq!(host_and_port("[::1]"), ("[::1]", ""));
        assert_eq!(host_and_port("[::1]:81"), ("[::1]", "81"));
        assert_eq!(host_and_port("UNIX:/run/a:9"), ("/run/a:9", ""));
    }
}
