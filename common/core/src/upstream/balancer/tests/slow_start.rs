//! `slow_start`: the share of a peer that has come back grows from next to nothing to its own.

use super::*;

fn balancer(weights: &[u32], method: Method) -> Rc<Balancer> {
    let peers = weights.iter().enumerate();
    let peers = peers.map(|(at, weight)| Peer { weight: *weight, slow_start: 10_000, ..server(at) }).collect();
    Balancer::new(Arc::new(Group::new("slow", peers, method)), 0)
}

/// How many of 1,000 picks at `now` go to the first peer.
fn share(balancer: &Rc<Balancer>, now: u64) -> usize {
    (0..1_000).filter(|_| balancer.pick(&at(now), &mut Tried::default()).unwrap().index == 0).count()
}

fn assert_grows(balancer: &Rc<Balancer>, from: u64, how: &str) {
    let shares = [0, 2_500, 5_000, 7_500, 10_000].map(|later| share(balancer, from + later));
    // With a part p of its weight beside one whole peer it has p / (p + 1).
    for (share, expected) in shares.iter().zip([5, 200, 333, 428, 500]) {
        assert!(share.abs_diff(expected) <= 12, "{how}: {shares:?}");
    }
}

#[test]
fn a_peer_that_failed_comes_back_by_and_by() {
    for weights in [[1, 1], [5, 5]] {
        let balancer = balancer(&weights, Method::RoundRobin);
        assert_eq!(share(&balancer, 1), 500, "at first all have their weight");
        let mut lease = loop {
            let lease = balancer.pick(&at(1), &mut Tried::default()).unwrap();
            if lease.index == 0 {
                break lease;
            }
        };
        lease.fail(Tick(1));
        drop(lease);
        assert_eq!(share(&balancer, 5_000), 0);
        let trials: Vec<Lease> = (0..50).map(|_| balancer.pick(&at(20_000), &mut Tried::default()).unwrap()).collect();
        let mut trials: Vec<Lease> = trials.into_iter().filter(|lease| lease.index == 0).collect();
        assert_eq!(trials.len(), 1, "{weights:?}: one trial");
        trials[0].succeed(Tick(20_000));
        drop(trials);
        assert_grows(&balancer, 20_000, &format!("{weights:?}"));
    }
}

#[test]
fn a_peer_that_health_checks_found_well_comes_back_by_and_by_for_every_worker() {
    let one = balancer(&[3_000_000, 3_000_000], Method::RoundRobin);
    let other = Balancer::new(one.group.clone(), 1);
    let peer = one.group.peers[0].clone();
    for (now, sick) in [(10, Availability::Unhealthy), (50_000, Availability::Checking)] {
        peer.set_health(sick, Tick(now));
        assert_eq!(share(&one, now + 1), 0);
        peer.set_health(Availability::Up, Tick(now + 1_000));
        assert_grows(&one, now + 1_000, "one worker");
        assert_eq!(share(&other, now + 12_000), 500, "the other worker, which saw nothing of it");
    }
}

#[test]
fn a_peer_that_joins_starts_slowly_and_the_others_do_not() {
    let balancer = balancer(&[1, 1], Method::LeastConn);
    balancer.group.peers[0].state.begin_slow_start(Tick(100));
    let again = Balancer::new(balancer.group.clone(), 0);
    assert_grows(&again, 100, "least_conn without load");
}

#[test]
fn a_peer_that_starts_slowly_carries_less() {
    let balancer = balancer(&[1, 1], Method::LeastConn);
    balancer.group.peers[0].state.begin_slow_start(Tick(100));
    let held: Vec<Lease> = (0..300).map(|_| balancer.pick(&at(5_100), &mut Tried::default()).unwrap()).collect();
    let first = held.iter().filter(|lease| lease.index == 0).count();
    assert!((98..=102).contains(&first), "half the weight, a third of the connections: {first}");
}

#[test]
fn without_a_return_weights_are_nginxs_turn_for_turn() {
    let plain = Balancer::new(group(&[5, 1, 1], Method::RoundRobin), 0);
    assert_eq!(picks(&balancer(&[5, 1, 1], Method::RoundRobin), 100), picks(&plain, 100));
}

#[test]
fn the_only_peer_never_starts_slowly() {
    let balancer = balancer(&[1], Method::RoundRobin);
    balancer.group.peers[0].state.begin_slow_start(Tick(1));
    assert_eq!(share(&balancer, 2), 1_000);
}
