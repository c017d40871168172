//! The balancers against a model that walks over all peers as nginx does, over
//! 256 seeds, and against what Debian's nginx picked.

use super::*;
use crate::net::Address;
use crate::upstream::Availability;
use std::sync::atomic::Ordering;

mod cost;
mod drain;
mod least_time;
mod model;
mod simulation;
mod slow_start;
mod vectors;

pub(super) fn server(number: usize) -> Peer {
    let ip = IpAddr::from([127, 1, (number >> 8) as u8, number as u8]);
    let address = Address::Ip((ip, 8000).into());
    Peer::new(address.clone(), &address.to_string())
}

pub(super) fn group(weights: &[u32], method: Method) -> Arc<Group> {
    let peers = weights.iter().enumerate().map(|(at, weight)| Peer { weight: *weight, ..server(at) }).collect();
    Arc::new(Group::new("test", peers, method))
}

pub(super) fn at(now: u64) -> Choice<'static> {
    Choice { now: Tick(now), client: None, key: b"", sid: None }
}

fn picks(balancer: &Rc<Balancer>, count: usize) -> Vec<usize> {
    (0..count).map(|_| balancer.pick(&at(1), &mut Tried::default()).unwrap().index).collect()
}

#[test]
fn smooth_weighted_round_robin_interleaves() {
    let balancer = Balancer::new(group(&[5, 1, 1], Method::RoundRobin), 0);
    assert_eq!(picks(&balancer, 14), [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn a_dropped_lease_gives_its_count_back() {
    let balancer = Balancer::new(group(&[1, 1], Method::RoundRobin), 0);
    let active = || balancer.group.peers.iter().map(|peer| peer.state.active.load(Ordering::Relaxed)).sum::<u32>();
    let mut lease = balancer.pick(&at(1), &mut Tried::default()).unwrap();
    assert_eq!(active(), 1);
    // Not even writing to the lease's public fields unbalances the count.
    lease.index = 1;
    lease.peer = balancer.group.peers[1].clone();
    drop(lease);
    assert_eq!(active(), 0);
    assert!(balancer.group.peers.iter().all(|peer| peer.state.active.load(Ordering::Relaxed) == 0));
}

#[test]
fn every_peer_is_tried_once_and_then_nobody_is_left() {
    let methods = [
        Method::RoundRobin,
        Method::LeastConn,
        Method::IpHash,
        Method::Random { two: None },
        Method::Random { two: Some(Measure::Conns) },
        hash(Hashing::Modulo),
        hash(Hashing::Ring),
        hash(Hashing::Maglev),
        Method::LeastTime(CONNECT),
        Method::Random { two: Some(CONNECT) },
    ];
    for method in methods {
        let balancer = Balancer::new(group(&[1; 100], method.clone()), 7);
        let mut tried = Tried::default();
        let mut seen = [false; 100];
        for _ in 0..100 {
            let choice = Choice { key: b"some key", ..at(1) };
            let lease = balancer.pick(&choice, &mut tried).unwrap_or_else(|_| panic!("{method:?}"));
            assert!(!std::mem::replace(&mut seen[lease.index], true), "{method:?}: {} twice", lease.index);
        }
        assert!(balancer.pick(&at(1), &mut tried).is_err(), "{method:?}");
    }
}

pub(super) const CONNECT: Measure = Measure::Time { metric: Metric::Connect, inflight: false };

pub(super) fn hash(table: Hashing) -> Method {
    let key = fairlead_conf::Word { text: "$key".into(), span: fairlead_conf::Span::default(), quoted: false };
    Method::Hash { key, table }
}

#[test]
fn backups_are_picked_when_no_primary_can_be() {
    let peers = vec![Peer { backup: true, ..server(0) }, server(1), server(2)];
    let balancer = Balancer::new(Arc::new(Group::new("test", peers, Method::RoundRobin)), 0);
    assert!(balancer.group.peers[2].backup, "primary peers come first");
    let mut tried = Tried::default();
    let order: Vec<usize> = (0..3).map(|_| balancer.pick(&at(1), &mut tried).unwrap().index).collect();
    assert_eq!(order, [0, 1, 2]);
    assert!(balancer.pick(&at(1), &mut tried).is_err());
}

#[test]
fn the_only_peer_of_a_group_is_never_held_unavailable() {
    let balancer = Balancer::new(group(&[1], Method::RoundRobin), 0);
    for now in 0..5 {
        let mut lease = balancer.pick(&at(now), &mut Tried::default()).unwrap();
        assert!(!lease.fail(Tick(now)));
    }
    assert_eq!(balancer.group.peers[0].state.failures.load(), 5);
}

#[test]
fn a_failed_peer_is_tried_by_one_request_after_fail_timeout() {
    for workers in 1..=3 {
        let group = group(&[1, 1], Method::RoundRobin);
        let balancers: Vec<_> = (0..workers).map(|seed| Balancer::new(group.clone(), seed)).collect();
        let pick =
            |now: u64, turn: usize| balancers[turn % balancers.len()].pick(&at(now), &mut Tried::default()).unwrap();
        let mut first = pick(1, 0);
        assert!(first.index == 0 && first.fail(Tick(1)), "max_fails=1");
        drop(first);
        for turn in 0..20 {
            assert_eq!(pick(10_001, turn).index, 1, "{workers} workers: not before 10 s have passed");
        }
        let trials: Vec<Lease> = (0..20).map(|turn| pick(10_002, turn)).filter(|lease| lease.index == 0).collect();
        assert_eq!(trials.len(), 1, "{workers} workers");
        for mut trial in trials {
            trial.succeed(Tick(10_003));
        }
        let back = (0..20).filter(|turn| pick(10_004, *turn).index == 0).count();
        assert!(back >= 8, "{workers} workers: back in turn, {back} of 20");
    }
}

#[test]
fn health_is_seen_by_every_worker() {
    let group = group(&[1, 1], Method::LeastConn);
    let workers = [Balancer::new(group.clone(), 1), Balancer::new(group.clone(), 2)];
    for (now, health, expected) in
        [(1, Availability::Unhealthy, false), (2, Availability::Checking, false), (3, Availability::Up, true)]
    {
        group.peers[0].set_health(health, Tick(now));
        for worker in &workers {
            let picked = (0..4).any(|_| worker.pick(&at(now), &mut Tried::default()).unwrap().index == 0);
            assert_eq!(picked, expected, "{health:?}");
        }
    }
    for peer in &group.peers {
        peer.set_health(Availability::Unhealthy, Tick(3));
    }
    assert!(workers[0].pick(&at(3), &mut Tried::default()).is_err());
    group.peers[1].set_health(Availability::Up, Tick(3));
    // Within the same tick, since nobody else is left.
    assert_eq!(workers[0].pick(&at(3), &mut Tried::default()).unwrap().index, 1);
}

#[test]
fn max_conns_holds_over_all_workers() {
    let peers = (0..2).map(|at| Peer { max_conns: 2, ..server(at) }).collect();
    let group = Arc::new(Group::new("test", peers, Method::RoundRobin));
    let (one, other) = (Balancer::new(group.clone(), 1), Balancer::new(group.clone(), 2));
    let pick = |worker: &Rc<Balancer>, now| worker.pick(&at(now), &mut Tried::default());
    let mut held: Vec<Lease> = Vec::new();
    for _ in 0..2 {
        held.push(pick(&one, 1).unwrap());
        held.push(pick(&other, 1).unwrap());
    }
    assert!(pick(&one, 1).is_err() && pick(&other, 1).is_err());
    held.pop();
    assert!(pick(&one, 2).is_ok() && pick(&other, 2).is_ok(), "room again, for either worker");
}

#[test]
fn max_conns_holds_for_every_method() {
    let methods = [
        Method::LeastConn,
        Method::LeastTime(CONNECT),
        Method::IpHash,
        Method::Random { two: None },
        Method::Random { two: Some(CONNECT) },
        hash(Hashing::Modulo),
        hash(Hashing::Ring),
        hash(Hashing::Maglev),
    ];
    for method in methods {
        let peers = (0..5).map(|at| Peer { max_conns: 2, ..server(at) }).collect();
        let group = Arc::new(Group::new("test", peers, method.clone()));
        let workers = [Balancer::new(group.clone(), 1), Balancer::new(group.clone(), 2)];
        let pick_at =
            |now, turn: usize| workers[turn % 2].pick(&Choice { key: b"key", ..at(now) }, &mut Tried::default());
        let pick = |turn| pick_at(1, turn);
        let mut held: Vec<Lease> = (0..10).map(|turn| pick(turn).unwrap_or_else(|_| panic!("{method:?}"))).collect();
        assert!(pick(0).is_err() && pick(1).is_err(), "{method:?}");
        let freed = held.swap_remove(3).index;
        assert_eq!(pick_at(2, 0).unwrap().index, freed, "{method:?}: for either worker");
    }
}

#[test]
fn a_sticky_peer_is_picked_while_it_may_be() {
    for method in [
        Method::RoundRobin,
        Method::LeastConn,
        Method::IpHash,
        Method::Random { two: Some(Measure::Conns) },
        hash(Hashing::Ring),
    ] {
        let group = group(&[1, 1, 1], method.clone());
        let balancer = Balancer::new(group.clone(), 3);
        let sid = group.peers[2].sid.clone();
        let choice = |now| Choice { sid: Some(sid.as_bytes()), key: b"key", ..at(now) };
        for _ in 0..10 {
            assert_eq!(balancer.pick(&choice(1), &mut Tried::default()).unwrap().index, 2, "{method:?}");
        }
        let mut tried = Tried::default();
        let mut lease = balancer.pick(&choice(1), &mut tried).unwrap();
        assert_ne!(balancer.pick(&choice(1), &mut tried).unwrap().index, 2, "{method:?}: tried");
        lease.fail(Tick(1));
        assert_ne!(balancer.pick(&choice(2), &mut Tried::default()).unwrap().index, 2, "{method:?}: failed");
        let unknown = Choice { sid: Some(b"0123"), key: b"key", ..at(2) };
        assert!(balancer.pick(&unknown, &mut Tried::default()).is_ok());
    }
}

#[test]
fn a_server_id_is_the_md5_of_the_printed_address() {
    let address = Address::Ip(([127, 0, 0, 1], 8080).into());
    // printf 127.0.0.1:8080 | md5sum
    assert_eq!(&*Peer::new(address, "any").sid, "5958c386bf5e9109ac10d2a628645aea");
}

#[test]
fn chance_goes_by_weight() {
    for seed in 0..8 {
        let balancer = Balancer::new(group(&[1, 2, 3, 4], Method::Random { two: None }), seed);
        let mut counts = [0_i32; 4];
        for index in picks(&balancer, 20_000) {
            counts[index] += 1;
        }
        for (count, weight) in counts.iter().zip(1..) {
            assert!((count - 2_000 * weight).abs() < 300, "seed {seed}: {counts:?}");
        }
    }
}

#[test]
fn the_less_busy_of_two_by_chance_is_picked() {
    for seed in 0..8 {
        let balancer = Balancer::new(group(&[1; 8], Method::Random { two: Some(Measure::Conns) }), seed);
        let leases: Vec<Lease> = (0..800).map(|_| balancer.pick(&at(1), &mut Tried::default()).unwrap()).collect();
        let uses = |at: usize| leases.iter().filter(|lease| lease.index == at).count();
        let uses: Vec<usize> = (0..8).map(uses).collect();
        // By chance alone they would differ by some sixty.
        assert!(uses.iter().all(|uses| (90..=110).contains(uses)), "seed {seed}: {uses:?}");
    }
}

#[test]
fn least_conn_hears_of_what_other_workers_do() {
    let group = group(&[1; 4], Method::LeastConn);
    let (one, other) = (Balancer::new(group.clone(), 1), Balancer::new(group.clone(), 2));
    let pick = |worker: &Rc<Balancer>| worker.pick(&at(1), &mut Tried::default()).unwrap();
    let held: Vec<Lease> = (0..40).map(|turn| pick(if turn % 3 == 0 { &one } else { &other })).collect();
    let active = || group.peers.iter().map(|peer| peer.state.active.load(Ordering::Relaxed)).collect::<Vec<_>>();
    assert!(active().iter().all(|active| (9..=11).contains(active)), "{:?}", active());
    drop(held);
    drop(pick(&one));
    assert_eq!(active(), [0; 4]);
}

#[test]
fn a_full_peer_sits_out_until_it_has_room() {
    let peers = (0..3).map(|at| Peer { max_conns: u32::from(at == 1), ..server(at) }).collect();
    let balancer = Balancer::new(Arc::new(Group::new("full", peers, Method::RoundRobin)), 0);
    assert_eq!(picks(&balancer, 1), [0]);
    let held = balancer.pick(&at(1), &mut Tried::default()).unwrap();
    assert_eq!(held.index, 1);
    assert!(!picks(&balancer, 6).contains(&1));
    drop(held);
    assert!(picks(&balancer, 3).contains(&1));
}

#[test]
fn threads_never_exceed_max_conns_and_give_every_count_back() {
    let peers = (0..4).map(|at| Peer { max_conns: 3, max_fails: 2, fail_timeout: 3, ..server(at) }).collect();
    let group = Arc::new(Group::new("threads", peers, Method::LeastConn));
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let group = group.clone();
            scope.spawn(move || {
                let (balancer, mut dice) = (Balancer::new(group.clone(), seed), Dice::new(seed));
                let mut open: Vec<Lease> = Vec::new();
                for turn in 0..20_000 {
                    open.extend(balancer.pick(&at(turn / 8), &mut Tried::default()));
                    let active = |peer: &Arc<Peer>| peer.state.active.load(Ordering::Relaxed);
                    assert!(group.peers.iter().all(|peer| active(peer) <= 3), "seed {seed}, turn {turn}");
                    if open.len() > dice.roll(5) as usize {
                        let mut lease = open.swap_remove(dice.roll(open.len() as u64) as usize);
                        match dice.roll(10) {
                            0 => drop(lease),
                            1 => drop((lease.fail(Tick(turn / 8)), lease)),
                            _ => lease.succeed(Tick(turn / 8)),
                        }
                    }
                }
            });
        }
    });
    assert!(group.peers.iter().all(|peer| peer.state.active.load(Ordering::Relaxed) == 0));
    assert!(group.peers.iter().map(|peer| peer.state.picks.load()).sum::<u64>() > 10_000);
}
