//! 256 seeds of requests, retries, failures, recoveries, full and unhealthy
//! peers: the balancer and the model must pick the same peer every time.

use super::model::{Model, Request, Way};
use super::*;

struct Run {
    seed: u64,
    dice: Dice,
    now: u64,
    balancer: Rc<Balancer>,
    model: Model,
    open: Vec<Open>,
    picked: usize,
}

/// A request that has a peer.
struct Open {
    request: Request,
    tried: Tried,
    lease: Lease,
    key: Vec<u8>,
    client: IpAddr,
}

fn method(way: Way) -> Method {
    match way {
        Way::RoundRobin => Method::RoundRobin,
        Way::LeastConn => Method::LeastConn,
        Way::LeastTime => Method::LeastTime(CONNECT),
        Way::IpHash => Method::IpHash,
        Way::Hash => hash(Hashing::Modulo),
        Way::Ring => hash(Hashing::Ring),
    }
}

fn random_peers(dice: &mut Dice, way: Way) -> Vec<Peer> {
    let count = [1, 2, 3, 5, 9, 40, 130][dice.roll(if way == Way::Ring { 5 } else { 7 }) as usize];
    // Of two peers a worker looks at both in each pick; of more it learns by and by what time changes.
    let patient = way == Way::LeastTime && count > 2;
    let heaviest = [1, 1, 3, 10, 100][dice.roll(if way == Way::Ring { 3 } else { 5 }) as usize];
    let limited = dice.roll(2) == 0;
    let peer = |at: usize| Peer {
        weight: 1 + dice.roll(heaviest) as u32,
        max_conns: if limited { [0, 1, 2, 5][dice.roll(4) as usize] } else { 0 },
        // The ring keeps the weights of round robin to itself, so failures would tell them apart.
        max_fails: if way == Way::Ring { 0 } else { [1, 1, 2, 3, 0][dice.roll(5) as usize] },
        fail_timeout: if patient { 1 << 40 } else { [5, 50, 300][dice.roll(3) as usize] },
        backup: at > 0 && dice.roll(6) == 0,
        down: dice.roll(12) == 0,
        ..server(at)
    };
    let mut peers: Vec<Peer> = (0..count).map(peer).collect();
    peers.sort_by_key(|peer| peer.backup);
    peers
}

impl Run {
    fn new(seed: u64, way: Way) -> Run {
        let mut dice = Dice::new(seed);
        let peers = random_peers(&mut dice, way);
        let model = Model::new(way, &peers);
        let balancer = Balancer::new(Arc::new(Group::new("simulated", peers, method(way))), seed);
        Run { seed, dice, now: 1, balancer, model, open: Vec::new(), picked: 0 }
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..9 => self.start(),
            9..12 => self.finish(),
            12..15 => self.fail_and_retry(),
            15..18 => self.now += self.dice.roll(8),
            18 => self.now += self.dice.roll(200),
            _ => self.flip_health(),
        }
    }

    fn start(&mut self) {
        let key = self.dice.roll(50).to_string().into_bytes();
        let client = IpAddr::from([10, 0, self.dice.roll(50) as u8, 1]);
        self.pick(Request::default(), Tried::default(), key, client);
    }

    fn pick(&mut self, mut request: Request, mut tried: Tried, key: Vec<u8>, client: IpAddr) {
        let choice = Choice { now: Tick(self.now), client: Some(client), key: &key, sid: None };
        let got = self.balancer.pick(&choice, &mut tried).ok();
        let expected = self.model.pick(&mut request, self.now, &key, client);
        let (seed, way, count) = (self.seed, self.model.way, self.model.peers.len());
        assert_eq!(
            got.as_ref().map(|lease| lease.index),
            expected,
            "seed {seed}, {way:?} over {count} peers, pick {} at {}",
            self.picked,
            self.now
        );
        self.picked += 1;
        if let Some(mut lease) = got {
            if way == Way::LeastTime && self.dice.roll(3) > 0 {
                let took = 1 + self.dice.roll([10, 60, 400, 9_000][lease.index % 4]);
                lease.connected(Duration::from_millis(took));
                self.model.connected(lease.index, took, self.now + took);
            }
            self.open.push(Open { request, tried, lease, key, client });
        }
    }

    fn some_open(&mut self) -> Option<Open> {
        let count = self.open.len() as u64;
        (count > 0).then(|| self.open.swap_remove(self.dice.roll(count) as usize))
    }

    fn finish(&mut self) {
        let Some(mut open) = self.some_open() else { return };
        let index = open.lease.index;
        if self.dice.roll(8) > 0 {
            open.lease.succeed(Tick(self.now));
            self.model.succeed(index);
        }
        self.model.release(index);
    }

    fn fail_and_retry(&mut self) {
        let Some(mut open) = self.some_open() else { return };
        let index = open.lease.index;
        open.lease.fail(Tick(self.now));
        self.model.fail(index, self.now);
        self.model.release(index);
        drop(open.lease);
        self.pick(open.request, open.tried, open.key, open.client);
    }

    /// Health is noticed at the next tick.
    fn flip_health(&mut self) {
        let at = self.dice.roll(self.model.peers.len() as u64) as usize;
        let peer = self.balancer.group.peers[at].clone();
        self.now += 1;
        if !peer.down {
            let up = self.model.peers[at].off;
            peer.set_health(if up { Availability::Up } else { Availability::Unhealthy }, Tick(self.now));
            self.model.peers[at].off = !up;
        }
    }
}

fn compare(way: Way, steps: usize) {
    for seed in 0..256 {
        let mut run = Run::new(seed, way);
        for _ in 0..steps {
            run.step();
        }
        let balancer = run.balancer.clone();
        let open = run.open.len() as u32;
        let active = || balancer.group.peers.iter().map(|peer| peer.state.active.load(Ordering::Relaxed)).sum::<u32>();
        assert_eq!(active(), open, "seed {seed}: every open request is counted");
        drop(run);
        assert_eq!(active(), 0, "seed {seed}: every use was given back");
    }
}

#[test]
fn round_robin_picks_as_nginx_s_walk() {
    compare(Way::RoundRobin, 1500);
}

#[test]
fn least_conn_picks_as_nginx_s_walk() {
    compare(Way::LeastConn, 1500);
}

#[test]
fn least_time_picks_as_nginx_s_walk() {
    compare(Way::LeastTime, 1500);
}

#[test]
fn ip_hash_picks_as_nginx_s_walk() {
    compare(Way::IpHash, 500);
}

#[test]
fn hash_picks_as_nginx_s_walk() {
    compare(Way::Hash, 500);
}

#[test]
fn the_consistent_hash_picks_as_nginx_s_walk() {
    compare(Way::Ring, 500);
}

#[test]
fn the_addresses_of_one_server_share_its_keys_in_turn() {
    let mut peers: Vec<Peer> = (0..6).map(|at| Peer { weight: [2, 2, 2, 1, 3, 3][at], ..server(at) }).collect();
    for (at, like) in [(1, 0), (2, 0), (5, 4)] {
        peers[at].server = peers[like].server.clone();
    }
    let mut model = Model::new(Way::Ring, &peers);
    let balancer = Balancer::new(Arc::new(Group::new("shared", peers, hash(Hashing::Ring))), 0);
    let mut used = [0; 6];
    for turn in 0..5_000_u64 {
        let key = turn.to_string().into_bytes();
        let (mut request, mut tried) = (Request::default(), Tried::default());
        for attempt in 0..2 {
            let choice = Choice { key: &key, ..at(turn) };
            let got = balancer.pick(&choice, &mut tried).unwrap().index;
            let expected = model.pick(&mut request, turn, &key, [127, 0, 0, 1].into());
            assert_eq!(Some(got), expected, "key {turn}, attempt {attempt}");
            model.release(got);
            used[got] += 1;
        }
    }
    assert!(used.iter().all(|used| *used > 300), "{used:?}");
}
