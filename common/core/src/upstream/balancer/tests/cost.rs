//! What a pick costs, in matches played and members looked at: by the
//! logarithm of the number of peers, whatever the method.

use super::*;
use std::collections::VecDeque;

const INFLIGHT: Measure = Measure::Time { metric: Metric::LastByte, inflight: true };

/// Steps per pick while 50 uses are in progress and one in 200 fails.
fn steps_per_pick(peers: Vec<Peer>, method: Method) -> u64 {
    const PICKS: u64 = 30_000;
    let balancer = Balancer::new(Arc::new(Group::new("cost", peers, method)), 1);
    let mut dice = Dice::new(2);
    let mut open = VecDeque::new();
    let mut start = 0;
    for turn in 0..PICKS * 2 {
        if turn == PICKS {
            // The first look at everything is not the price of a pick.
            start = balancer.steps();
        }
        let now = Tick(1 + turn / 10);
        let key = dice.roll(1 << 40).to_string();
        let client = Some(IpAddr::from(((10 << 24) + dice.roll(1 << 24) as u32).to_be_bytes()));
        let choice = Choice { now, client, key: key.as_bytes(), sid: None };
        open.extend(balancer.pick(&choice, &mut Tried::default()));
        if open.len() > 50 {
            let mut lease: Lease = open.pop_front().unwrap();
            lease.connected(Duration::from_millis(dice.roll(300)));
            if dice.roll(200) == 0 {
                lease.fail(now);
            } else {
                lease.succeed(now);
                lease.last_byte(Duration::from_millis(dice.roll(900)));
            }
        }
    }
    (balancer.steps() - start) / PICKS
}

fn peers(count: usize, weight: impl Fn(usize) -> u32, max_conns: u32) -> Vec<Peer> {
    let peer = |at| Peer { weight: weight(at), max_conns, fail_timeout: 100, ..server(at) };
    (0..count).map(peer).collect()
}

#[test]
fn a_pick_among_ten_thousand_costs_a_few_steps_per_doubling() {
    let methods = [
        Method::RoundRobin,
        Method::LeastConn,
        Method::IpHash,
        Method::Random { two: None },
        Method::Random { two: Some(Measure::Conns) },
        hash(Hashing::Modulo),
        hash(Hashing::Ring),
        Method::LeastTime(CONNECT),
        Method::LeastTime(INFLIGHT),
        Method::Random { two: Some(CONNECT) },
    ];
    for method in methods {
        // A ring of some millions of points takes long to build in a test.
        let rings = matches!(method, Method::Hash { table: Hashing::Ring, .. });
        for (name, weight) in [("equal", (|_| 1) as fn(usize) -> u32), ("some weights", |at| 1 + at as u32 % 5)] {
            if rings && name != "equal" {
                continue;
            }
            for max_conns in [0, 1] {
                let steps = steps_per_pick(peers(10_000, weight, max_conns), method.clone());
                // Every time that turns out to be another is one more way up and down the tree.
                let per_doubling = if matches!(method, Method::LeastTime(_)) { 24 } else { 10 };
                assert!(steps <= per_doubling * 14, "{method:?}, {name}, max_conns={max_conns}: {steps} steps");
            }
        }
    }
}

#[test]
fn even_ten_thousand_different_weights_need_no_walk() {
    for method in [Method::RoundRobin, Method::LeastConn] {
        let steps = steps_per_pick(peers(10_000, |at| 1 + at as u32, 0), method.clone());
        assert!(steps <= 14 * 14, "{method:?}: {steps} steps");
    }
}

#[test]
fn servers_with_several_addresses_cost_no_walk_either() {
    let mut peers = peers(4_000, |_| 1, 0);
    for at in 0..4_000 {
        peers[at].server = peers[at / 2 * 2].server.clone();
    }
    let steps = steps_per_pick(peers, hash(Hashing::Ring));
    assert!(steps <= 10 * 14, "{steps} steps");
}

#[test]
fn a_pick_costs_as_little_among_ten_thousand_as_among_two() {
    let methods = [
        (Method::LeastTime(CONNECT), 20),
        (Method::LeastTime(INFLIGHT), 20),
        (Method::Random { two: Some(CONNECT) }, 0),
        (hash(Hashing::Maglev), 0),
    ];
    for (method, per_doubling) in methods {
        let few = steps_per_pick(peers(2, |_| 1, 0), method.clone());
        let many = if matches!(method, Method::Hash { .. }) { 1_000 } else { 10_000 };
        let doublings = u64::from((many / 2_usize).ilog2());
        let steps = steps_per_pick(peers(many, |_| 1, 0), method.clone());
        assert!(steps <= few + 2 + per_doubling * doublings, "{method:?}: {few} steps among 2, {steps} among {many}");
    }
}

#[test]
fn peers_that_all_start_slowly_cost_no_walk() {
    for method in [Method::RoundRobin, Method::LeastConn, Method::LeastTime(CONNECT)] {
        let peers: Vec<Peer> =
            peers(10_000, |_| 1, 0).into_iter().map(|peer| Peer { slow_start: 5_000, ..peer }).collect();
        for peer in &peers {
            peer.state.begin_slow_start(Tick(30));
        }
        let balancer = Balancer::new(Arc::new(Group::new("cost", peers, method.clone())), 1);
        // All workers look at everything once when something has changed.
        drop(balancer.pick(&at(30), &mut Tried::default()).unwrap());
        let mut dearest = 0;
        for turn in 1..20_000 {
            let before = balancer.steps();
            drop(balancer.pick(&at(30 + turn / 2), &mut Tried::default()).unwrap());
            dearest = dearest.max(balancer.steps() - before);
        }
        // Eight weights grow, each a way up and down the tree.
        assert!(dearest <= 12 * 4 * 14, "{method:?}: {dearest} steps");
    }
}
