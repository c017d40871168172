//! `hash KEY consistent`: the ketama ring with nginx's points.
//!
//! The ring is part of the group and shared by all workers. What a server
//! with several addresses needs besides (their round robin) is each worker's.

use super::hash::Crc32;
use super::round_robin::Rotation;
use super::search::Search;
use crate::upstream::Peer;
use crate::upstream::peer::Version;
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
    /// Where the points of each slice of the hashes begin, one slice for a point or two: a search
    /// through millions of points would miss the caches at every step.
    slices: Vec<u32>,
    slice_bits: u32,
    /// Positions of each server's peers in the group. Servers written alike are one.
    servers: Vec<Vec<usize>>,
    /// Server of each peer and its place there.
    places: Vec<(u32, u32)>,
    /// For each server with several addresses, its place among those.
    shared: Vec<Option<u32>>,
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
        let mut rotations = 0..;
        ring.shared = ring.servers.iter().map(|of| if of.len() > 1 { rotations.next() } else { None }).collect();
        // Stable: of two servers on one point the first in the file keeps it.
        ring.points.sort_by_key(|point| point.0);
        ring.points.dedup_by_key(|point| point.0);
        ring.slice();
        ring
    }

    fn slice(&mut self) {
        self.slice_bits = self.points.len().max(1).ilog2();
        let first_of = |slice: u64| {
            let hash = slice << (32 - self.slice_bits);
            self.points.partition_point(|point| u64::from(point.0) < hash) as u32
        };
        self.slices = (0..=1 << self.slice_bits).map(first_of).collect();
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

    /// The servers that have several addresses, each as a rotation of its own.
    pub(super) fn rotations(&self, peers: &[Arc<Peer>], version: &Version) -> Vec<Rotation> {
        let rotation = |of: &Vec<usize>| {
            let members = of.iter().filter_map(|index| peers.get(*index).map(|peer| (*index, peer.clone())));
            Rotation::new(members, None, version)
        };
        self.servers.iter().filter(|of| of.len() > 1).map(rotation).collect()
    }

    /// The rotation of a primary peer's server, if that has several addresses, and its place there.
    pub(super) fn place_of(&self, index: usize) -> Option<(usize, usize)> {
        let (server, place) = *self.places.get(index)?;
        Some((self.rotation_of(server)?, place as usize))
    }

    fn rotation_of(&self, server: u32) -> Option<usize> {
        self.shared.get(server as usize).copied().flatten().map(|rotation| rotation as usize)
    }

    fn first_at_or_after(&self, hash: u32) -> u32 {
        let slice = (u64::from(hash) >> (32 - self.slice_bits)) as usize;
        let Some([from, to]) = self.slices.get(slice..).and_then(|slices| slices.first_chunk()) else { return 0 };
        let points = self.points.get(*from as usize..*to as usize).unwrap_or_default();
        from + points.partition_point(|point| point.0 < hash) as u32
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
pub(super) fn pick(mut search: Search<'_>, servers: &mut [Rotation], ring: &Ring, key: &[u8]) -> Option<usize> {
    let points = u32::try_from(ring.points.len()).ok().filter(|points| *points > 0)?;
    if !search.tried.rehash.started {
        search.tried.rehash.started = true;
        search.tried.rehash.hash = ring.first_at_or_after(Crc32::default().update(key).value());
    }
    while search.goes_on() {
        let (_, server) = *ring.points.get((search.tried.rehash.hash % points) as usize)?;
        let addresses = ring.servers.get(server as usize)?;
        let shared = ring.rotation_of(server).and_then(|at| servers.get_mut(at));
        let picked = match (shared, addresses.as_slice()) {
            (Some(shared), _) => take_turns(&mut search, shared).and_then(|place| addresses.get(place).copied()),
            (None, [only, ..]) => search.take(*only),
            (None, []) => None,
        };
        if picked.is_some() {
            return picked;
        }
        search.tried.rehash.hash = search.tried.rehash.hash.wrapping_add(1);
    }
    None
}

/// The next address of a server that has several.
fn take_turns(search: &mut Search<'_>, addresses: &mut Rotation) -> Option<usize> {
    addresses.catch_up(search.now);
    let picked = addresses.pick(search.now, search.tried);
    if picked.is_none() {
        search.miss();
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_finds_the_first_point_at_or_after_it() {
        for count in [0, 1, 2, 3, 50] {
            let peers: Vec<Arc<Peer>> =
                (0..count).map(|at| Arc::new(crate::upstream::balancer::tests::server(at))).collect();
            let ring = Ring::new(&peers);
            let near =
                ring.points.iter().flat_map(|point| [point.0.saturating_sub(1), point.0, point.0.saturating_add(1)]);
            for hash in near.chain([0, 1, u32::MAX / 2, u32::MAX]) {
                let expected = ring.points.iter().position(|point| point.0 >= hash).unwrap_or(ring.points.len());
                assert_eq!(ring.first_at_or_after(hash) as usize, expected, "{count} peers, hash {hash:x}");
            }
        }
    }

    #[test]
    fn a_server_is_split_where_nginx_splits_it() {
        assert_eq!(host_and_port("10.0.0.1:80"), ("10.0.0.1", "80"));
        assert_eq!(host_and_port("a.example"), ("a.example", ""));
        assert_eq!(host_and_port("[::1]"), ("[::1]", ""));
        assert_eq!(host_and_port("[::1]:81"), ("[::1]", "81"));
        assert_eq!(host_and_port("UNIX:/run/a:9"), ("/run/a:9", ""));
    }
}
