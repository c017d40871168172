//! What nginx's documentation and behaviour say, by the plain walk over all
//! peers: the reference the balancers are compared with.

use crate::upstream::Peer;
use std::collections::BTreeSet;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    RoundRobin,
    LeastConn,
    /// By the time to connect.
    LeastTime,
    IpHash,
    Hash,
    Ring,
}

pub struct Model {
    pub way: Way,
    pub peers: Vec<Entry>,
    points: Vec<(u32, String)>,
}

pub struct Entry {
    pub server: String,
    pub weight: i64,
    pub max_conns: u32,
    pub max_fails: u32,
    pub fail_timeout: u64,
    pub backup: bool,
    pub off: bool,
    pub conns: u32,
    /// Average time to connect in 1024ths of a millisecond; 0 while nothing is known.
    time: u64,
    /// When the last time of it was known.
    sampled: u64,
    current: i64,
    effective: i64,
    fails: u32,
    accessed: u64,
    checked: u64,
}

/// One request.
#[derive(Default)]
pub struct Request {
    pub tried: BTreeSet<usize>,
    on_backup: bool,
    tries: u32,
    rounds: u32,
    hash: Option<u32>,
}

impl Entry {
    /// One for each `fail_timeout`, of 10 s at most, that has passed.
    fn halvings(&self, since: u64, now: u64) -> u32 {
        let period = if self.fail_timeout == 0 { 10_000 } else { self.fail_timeout.min(10_000) };
        let (mut idle, mut count) = (now.saturating_sub(since), 0);
        while idle > period && count < 100 {
            (idle, count) = (idle - period - 1, count + 1);
        }
        count
    }
}

impl Model {
    pub fn new(way: Way, peers: &[Peer]) -> Model {
        let entry = |peer: &Peer| Entry {
            server: peer.server.to_string(),
            weight: i64::from(peer.weight),
            max_conns: peer.max_conns,
            max_fails: peer.max_fails,
            fail_timeout: peer.fail_timeout,
            backup: peer.backup,
            off: peer.down,
            conns: 0,
            time: 0,
            sampled: 0,
            current: 0,
            effective: i64::from(peer.weight),
            fails: 0,
            accessed: 0,
            checked: 0,
        };
        Model { way, peers: peers.iter().map(entry).collect(), points: Vec::new() }
    }

    pub fn pick(&mut self, request: &mut Request, now: u64, key: &[u8], client: IpAddr) -> Option<usize> {
        if self.peers.len() == 1 {
            let entry = &mut self.peers[0];
            let free = entry.max_conns == 0 || entry.conns < entry.max_conns;
            if entry.off || !free || !request.tried.insert(0) {
                return None;
            }
            entry.conns += 1;
            return Some(0);
        }
        let picked = self.choose(request, now, key, client)?;
        let entry = &mut self.peers[picked];
        entry.conns += 1;
        if now - entry.checked > entry.fail_timeout {
            entry.checked = now;
        }
        request.tried.insert(picked);
        Some(picked)
    }

    fn choose(&mut self, request: &mut Request, now: u64, key: &[u8], client: IpAddr) -> Option<usize> {
        if !request.on_backup {
            let many = self.peers.iter().filter(|entry| !entry.backup).count() > 1;
            let hashed = match self.way {
                Way::Hash if many => self.by_hash(request, now, |request| hash_round(request, key)),
                Way::IpHash if many => self.by_hash(request, now, |request| ip_round(request, client)),
                Way::Ring => self.by_ring(request, now, key),
                _ => None,
            };
            if let Some(picked) = hashed.or_else(|| self.walk(false, request, now)) {
                return Some(picked);
            }
        }
        let picked = self.walk(true, request, now)?;
        request.on_backup = true;
        Some(picked)
    }

    fn usable(&self, at: usize, request: &Request, now: u64) -> bool {
        let entry = &self.peers[at];
        let failed = entry.max_fails > 0 && entry.fails >= entry.max_fails && now - entry.checked <= entry.fail_timeout;
        let full = entry.max_conns > 0 && entry.conns >= entry.max_conns;
        !request.tried.contains(&at) && !entry.off && !failed && !full
    }

    fn walk(&mut self, backup: bool, request: &Request, now: u64) -> Option<usize> {
        let mut usable: Vec<usize> = (0..self.peers.len())
            .filter(|at| self.peers[*at].backup == backup && self.usable(*at, request, now))
            .collect();
        if matches!(self.way, Way::LeastConn | Way::LeastTime) {
            let load = |at: usize| (self.burden(at, now), self.peers[at].weight as u64);
            let least = usable.iter().copied().min_by(|one, other| {
                let ((conns, weight), (others, other_weight)) = (load(*one), load(*other));
                (conns * other_weight).cmp(&(others * weight))
            })?;
            let (conns, weight) = load(least);
            usable.retain(|at| load(*at).0 * weight == conns * load(*at).1);
            if let [only] = usable[..] {
                return Some(only);
            }
        }
        self.turn(&usable)
    }

    fn burden(&self, at: usize, now: u64) -> u64 {
        let entry = &self.peers[at];
        if self.way == Way::LeastConn {
            return u64::from(entry.conns);
        }
        let mut time = entry.time;
        time >>= entry.halvings(entry.checked.max(entry.sampled), now).min(63);
        (time / 1024 / 20 + 1).min(250) * (1 + u64::from(entry.conns))
    }

    pub fn connected(&mut self, at: usize, millis: u64, now: u64) {
        let entry = &mut self.peers[at];
        let parts = 20_u128 << entry.halvings(entry.sampled, now).min(40);
        let blended = (u128::from(entry.time) * 19 + u128::from(millis) * 1024 * (parts - 19)) / parts;
        entry.time = if entry.time == 0 { millis * 1024 } else { blended as u64 };
        entry.sampled = entry.sampled.max(now);
    }

    /// One turn of the smooth weighted round robin among `usable`.
    fn turn(&mut self, usable: &[usize]) -> Option<usize> {
        let (mut best, mut total): (Option<usize>, i64) = (None, 0);
        for &at in usable {
            let entry = &mut self.peers[at];
            entry.current += entry.effective;
            total += entry.effective;
            if entry.effective < entry.weight {
                entry.effective += 1;
            }
            if best.is_none_or(|best| self.peers[at].current > self.peers[best].current) {
                best = Some(at);
            }
        }
        self.peers[best?].current -= total;
        best
    }

    fn by_hash(&self, request: &mut Request, now: u64, mut round: impl FnMut(&mut Request) -> u32) -> Option<usize> {
        while request.tries <= 20 {
            let total: i64 = self.peers.iter().filter(|entry| !entry.backup).map(|entry| entry.weight).sum();
            let mut offset = i64::from(round(request)) % total;
            let mut at = 0;
            while offset >= self.peers[at].weight {
                offset -= self.peers[at].weight;
                at += 1;
            }
            if self.usable(at, request, now) {
                return Some(at);
            }
            request.tries += 1;
        }
        None
    }

    fn by_ring(&mut self, request: &mut Request, now: u64, key: &[u8]) -> Option<usize> {
        if self.points.is_empty() {
            self.points = points(&self.peers);
        }
        let points = std::mem::take(&mut self.points);
        let picked = self.by_points(&points, request, now, key);
        self.points = points;
        picked
    }

    fn by_points(&mut self, points: &[(u32, String)], request: &mut Request, now: u64, key: &[u8]) -> Option<usize> {
        let mut at = request.hash.map_or_else(
            || points.iter().position(|point| point.0 >= crc32(key)).unwrap_or(points.len()),
            |at| at as usize,
        );
        while request.tries <= 20 {
            let server = &points[at % points.len()].1;
            let of_server = |entry: &Entry| !entry.backup && entry.server == *server;
            let usable: Vec<usize> = (0..self.peers.len())
                .filter(|at| of_server(&self.peers[*at]) && self.usable(*at, request, now))
                .collect();
            request.hash = Some(at as u32);
            if !usable.is_empty() {
                return self.turn(&usable);
            }
            at += 1;
            request.hash = Some(at as u32);
            request.tries += 1;
        }
        None
    }

    pub fn fail(&mut self, at: usize, now: u64) {
        if self.peers.len() == 1 {
            return;
        }
        let entry = &mut self.peers[at];
        entry.fails += 1;
        (entry.accessed, entry.checked) = (now, now);
        if entry.max_fails > 0 {
            entry.effective = (entry.effective - entry.weight / i64::from(entry.max_fails)).max(0);
        }
    }

    pub fn succeed(&mut self, at: usize) {
        let entry = &mut self.peers[at];
        if entry.accessed < entry.checked {
            entry.fails = 0;
        }
    }

    pub fn release(&mut self, at: usize) {
        self.peers[at].conns -= 1;
    }
}

fn points(peers: &[Entry]) -> Vec<(u32, String)> {
    let mut points = Vec::new();
    for entry in peers.iter().filter(|entry| !entry.backup) {
        let (host, port) = entry.server.rsplit_once(':').unwrap();
        let mut previous = 0_u32;
        for _ in 0..entry.weight * 160 {
            previous = crc32(&[host.as_bytes(), b"\0", port.as_bytes(), &previous.to_le_bytes()].concat());
            points.push((previous, entry.server.clone()));
        }
    }
    points.sort_by_key(|point| point.0);
    points.dedup_by_key(|point| point.0);
    points
}

fn hash_round(request: &mut Request, key: &[u8]) -> u32 {
    let prefix = if request.rounds > 0 { request.rounds.to_string() } else { String::new() };
    let hash = crc32(&[prefix.as_bytes(), key].concat()) >> 16 & 0x7fff;
    request.rounds += 1;
    let sum = request.hash.unwrap_or(0).wrapping_add(hash);
    request.hash = Some(sum);
    sum
}

fn ip_round(request: &mut Request, client: IpAddr) -> u32 {
    let octets = match client {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let hash = octets.iter().fold(request.hash.unwrap_or(89), |hash, octet| (hash * 113 + u32::from(*octet)) % 6271);
    request.hash = Some(hash);
    hash
}

/// Bit by bit, so that it shares nothing with the balancer's.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
