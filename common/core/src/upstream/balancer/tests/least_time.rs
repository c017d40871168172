//! `least_time` and `random two least_time`: by time, load and weight.

use super::*;

fn took(peer: &Peer, millis: u64) {
    peer.state.times.add(Metric::Connect, Duration::from_millis(millis), Tick(1), peer.aging());
}

fn timed(weights: &[u32], times: &[u64], method: Method) -> Rc<Balancer> {
    let group = group(weights, method);
    for (peer, millis) in group.peers.iter().zip(times) {
        took(peer, *millis);
        peer.state.checked.store(1, Ordering::Relaxed);
    }
    Balancer::new(group, 3)
}

fn uses(held: &[Lease], peers: usize) -> Vec<usize> {
    (0..peers).map(|at| held.iter().filter(|lease| lease.index == at).count()).collect()
}

#[test]
fn the_quickest_is_picked_and_a_new_one_counts_as_quick() {
    let balancer = timed(&[1, 1, 1], &[100, 30, 500], Method::LeastTime(CONNECT));
    assert_eq!(picks(&balancer, 5), [1; 5]);
    let balancer = timed(&[1, 1, 1], &[100, 30], Method::LeastTime(CONNECT));
    assert_eq!(picks(&balancer, 5), [2; 5], "nothing is known of the last");
}

#[test]
fn times_within_a_step_go_by_turns_and_weights() {
    let balancer = timed(&[2, 1], &[3, 17], Method::LeastTime(CONNECT));
    // With nobody at work the heavier one has half the load.
    assert_eq!(picks(&balancer, 6), [0; 6]);
    let balancer = timed(&[1, 1], &[3, 17], Method::LeastTime(CONNECT));
    assert_eq!(picks(&balancer, 6), [0, 1, 0, 1, 0, 1]);
}

#[test]
fn sessions_in_progress_multiply_the_time() {
    let balancer = timed(&[1, 1, 2], &[85, 185, 185], Method::LeastTime(CONNECT));
    // 100 ms, 200 ms and 200 ms for a weight of 2, in steps.
    let held: Vec<Lease> = (0..250).map(|_| balancer.pick(&at(2), &mut Tried::default()).unwrap()).collect();
    let uses = uses(&held, 3);
    for (uses, expected) in uses.iter().zip([100, 50, 100]) {
        assert!(uses.abs_diff(expected) <= 2, "{uses}, not {expected}");
    }
}

#[test]
fn a_slow_peer_has_another_chance_after_a_while() {
    let balancer = timed(&[1, 1], &[25, 400], Method::LeastTime(CONNECT));
    let pick = |now| balancer.pick(&at(now), &mut Tried::default()).unwrap().index;
    let turns: Vec<u64> = (1..200).map(|turn| turn * 1_000).filter(|now| pick(*now) == 1).collect();
    // 21 steps against 2: halved four times, once in 10 s.
    assert!(turns.first().is_some_and(|first| (40_000..=52_000).contains(first)), "{turns:?}");
    assert!(turns.len() >= 3 && turns.windows(2).all(|pair| pair[1] - pair[0] >= 10_000), "{turns:?}");
}

#[test]
fn what_is_under_way_counts_with_inflight() {
    let inflight = Measure::Time { metric: Metric::Connect, inflight: true };
    for (by, stalled) in [(CONNECT, false), (inflight, true)] {
        let balancer = timed(&[10, 1], &[10, 300], Method::LeastTime(by));
        let pick = |now| balancer.pick(&at(now), &mut Tried::default()).unwrap();
        let mut hung = pick(2);
        assert_eq!(hung.index, 0);
        assert_eq!(pick(100).index, 0, "{by:?}");
        // Its connection has been coming for ten times what the weight makes up for.
        assert_eq!(pick(9_000).index == 1, stalled, "{by:?}");
        hung.connected(Duration::from_millis(1));
        assert_eq!(pick(9_001).index, 0, "{by:?}: it came");
        drop((hung, pick(9_100)));
        assert_eq!(pick(9_900).index, 0, "{by:?}: nothing is under way any more");
    }
}

#[test]
fn a_lease_records_each_time_of_the_peer_it_was_given() {
    let balancer = timed(&[1, 1], &[], Method::RoundRobin);
    let mut lease = balancer.pick(&at(1), &mut Tried::default()).unwrap();
    let peer = lease.peer.clone();
    lease.peer = balancer.group.peers[1 - lease.index].clone();
    lease.connected(Duration::from_millis(5));
    lease.first_byte(Duration::from_millis(25));
    lease.last_byte(Duration::from_millis(125));
    let times = [Metric::Connect, Metric::FirstByte, Metric::LastByte].map(|metric| peer.state.times.average(metric));
    assert_eq!(times, [5, 25, 125]);
}

#[test]
fn workers_and_large_groups_find_the_quickest_within_a_sweep() {
    for seed in 0..256 {
        let group = group(&[1; 64], Method::LeastTime(CONNECT));
        for peer in &group.peers {
            took(peer, 200);
            peer.state.checked.store(1, Ordering::Relaxed);
        }
        let (one, other) = (Balancer::new(group.clone(), seed), Balancer::new(group.clone(), seed));
        let mut dice = Dice::new(seed);
        let quick = dice.roll(64) as usize;
        // The other worker measures; this one hears of it.
        let mut tried = Tried::default();
        while let Ok(mut lease) = other.pick(&at(2), &mut tried) {
            let millis = if lease.index == quick { 1 } else { 200 };
            (0..100).for_each(|_| lease.connected(Duration::from_millis(millis)));
        }
        drop(picks(&one, 32));
        assert_eq!(one.pick(&at(3), &mut Tried::default()).unwrap().index, quick, "seed {seed}");
    }
}

#[test]
fn the_quicker_of_two_by_chance_is_picked() {
    for seed in 0..8 {
        let group = group(&[1; 4], Method::Random { two: Some(CONNECT) });
        for (at, peer) in group.peers.iter().enumerate() {
            took(peer, 100 * at as u64);
            peer.state.checked.store(1, Ordering::Relaxed);
        }
        let balancer = Balancer::new(group, seed);
        let mut counts = [0_i32; 4];
        for index in picks(&balancer, 12_000) {
            counts[index] += 1;
        }
        // Of the six pairs it is in three, two, one and none that each is the quicker.
        for (count, expected) in counts.iter().zip([6_000, 4_000, 2_000, 0]) {
            assert!((count - expected).abs() < 400, "seed {seed}: {counts:?}");
        }
    }
}

/// One request after another for so many seconds; gives the picks of each peer in the second half.
fn served(group: &Arc<Group>, seed: u64, (seconds, takes): (u64, [u64; 2])) -> [usize; 2] {
    let (balancer, mut dice) = (Balancer::new(group.clone(), seed), Dice::new(seed));
    let (mut now, mut uses) = (10_000, [0; 2]);
    while now < 10_000 + seconds * 1_000 {
        let mut lease = balancer.pick(&at(now), &mut Tried::default()).unwrap();
        let took = takes[lease.index] + dice.roll(10);
        now += took + dice.roll(100);
        lease.connected(Duration::from_millis(took));
        lease.succeed(Tick(now));
        if now >= 10_000 + seconds * 500 {
            uses[lease.index] += 1;
        }
    }
    uses
}

#[test]
fn one_bad_time_does_not_keep_a_quick_peer_away() {
    for seed in 0..256 {
        for (fail_timeout, bad) in [(10_000, 5_000), (1_000, 60_000), (3_600_000, 5_000), (0, 5_000)] {
            let peers = [0, 1].map(|number| Peer { fail_timeout, ..server(number) });
            let group = Arc::new(Group::new("test", peers.into(), Method::LeastTime(CONNECT)));
            // Peer 0 answers within 10 ms; it was cold when it was asked first.
            let first = &group.peers[0];
            first.state.times.add(Metric::Connect, Duration::from_millis(bad), Tick(10_000), first.aging());
            first.state.checked.store(10_000, Ordering::Relaxed);
            let [quick, slow] = served(&group, seed, (240, [0, 80]));
            assert!(slow * 50 < quick, "seed {seed}, fail_timeout {fail_timeout}: {quick} and {slow} uses");
        }
    }
}

#[test]
fn a_peer_that_stays_slow_is_asked_now_and_then_only() {
    for seed in 0..256 {
        let group = group(&[1, 1], Method::LeastTime(CONNECT));
        let [quick, slow] = served(&group, seed, (600, [0, 2_000]));
        assert!((1..=10).contains(&slow) && quick > 2_000, "seed {seed}: {quick} and {slow} uses");
    }
}
