use super::*;
use crate::net::Address;
use crate::upstream::{Balancer, Choice, Group, Method, Peer, Tried};
use std::collections::HashMap;
use std::rc::Rc;

const HOUR: Duration = Duration::from_secs(3600);

fn client(number: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + number).to_be_bytes())
}

fn sid(number: u8) -> Sid {
    Sid([number; 16])
}

fn server(number: u8) -> Peer {
    Peer::new(Address::Ip(([127, 0, 0, number], 9000).into()), &format!("127.0.0.{number}:9000"))
}

fn group(peers: Vec<Peer>, bindings: &Arc<Bindings>) -> Arc<Group> {
    let mut group = Group::new("sticky", peers, Method::RoundRobin);
    group.kept.bindings = Some(bindings.clone());
    Arc::new(group)
}

fn go(balancer: &Rc<Balancer>, number: u32, now: u64) -> Box<str> {
    let choice = Choice { now: Tick(now), client: Some(client(number)), key: b"", sid: None };
    balancer.pick(&choice, &mut Tried::default()).unwrap().peer.name.clone()
}

fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |limit| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    }
}

#[test]
fn a_shard_is_a_list_by_age_that_forgets_the_oldest() {
    for seed in 0..256 {
        let mut dice = dice(seed);
        let capacity = 1 + dice(30) as usize;
        let mut shard = Shard::new(capacity);
        // Newest last.
        let mut model: Vec<([u8; 16], Sid, Tick)> = Vec::new();
        for step in 0..600 {
            let key = key(client(dice(50) as u32));
            // Hashes that collide, and share buckets.
            let hash = u64::from(key[15] % 7);
            let (sid, now) = (sid(dice(5) as u8), Tick(step));
            let known = model.iter().position(|entry| entry.0 == key);
            let got = shard.get(hash, &key);
            assert_eq!(got, known.map(|at| (model[at].1, model[at].2)), "seed {seed}, step {step}");
            if dice(3) > 0 {
                let forgotten = match known {
                    Some(at) => {
                        model.remove(at);
                        None
                    }
                    None if model.len() == capacity => Some(model.remove(0).2),
                    None => None,
                };
                model.push((key, sid, now));
                assert_eq!(shard.put(hash, key, sid, now), forgotten, "seed {seed}, step {step}");
            }
            assert_eq!(shard.len(), model.len(), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn clients_are_remembered_for_the_timeout_after_their_last_session() {
    for seed in 0..256 {
        let mut dice = dice(seed);
        let bindings = Bindings::over(1 << 20, Duration::from_millis(500), None);
        let mut model: HashMap<u32, (Sid, u64)> = HashMap::new();
        let mut now = 0;
        for step in 0..500 {
            now += dice(20);
            let number = dice(40) as u32;
            let expected = model.get(&number).filter(|(_, last)| now - last < 500).map(|(sid, _)| *sid);
            let found = bindings.find(client(number), Tick(now));
            assert_eq!(found, expected, "seed {seed}, step {step}");
            let to = found.unwrap_or(sid(dice(9) as u8));
            assert_eq!(bindings.bind(client(number), found, to, Tick(now)), Bound::Here, "seed {seed}, step {step}");
            model.insert(number, (to, now));
        }
        assert_eq!(bindings.evicted.load(), 0);
    }
}

#[test]
fn sessions_are_where_they_were_used_last_and_begin_only_where_a_peer_begins_them() {
    for seed in 0..256 {
        let mut dice = dice(seed);
        let mut timeout = 400;
        let mut table = Bindings::over(1 << 20, Duration::from_millis(timeout), None);
        let mut model: HashMap<Vec<u8>, (Sid, u64)> = HashMap::new();
        let mut now = 0;
        for step in 0..500 {
            now += dice(20);
            let session = format!("session {}", dice(40)).into_bytes();
            let known = model.get(&session).filter(|(_, last)| now - last < timeout).map(|(sid, _)| *sid);
            assert_eq!(table.session(&session, Tick(now)), known, "seed {seed}, step {step}");
            // Requests stay with their peer, but where it is gone; some peers begin a session anew.
            let (to, begins) = (known.filter(|_| dice(8) > 0).unwrap_or(sid(dice(9) as u8)), dice(3) == 0);
            table.learn(&session, to, begins, Tick(now));
            if known.is_some() || begins {
                model.insert(session, (to, now));
            }
            // A reload with another zone and another timeout.
            if dice(50) == 0 {
                timeout = 200 + dice(400);
                table = Bindings::over((1 << 20) << dice(3), Duration::from_millis(timeout), Some(&table));
            }
        }
        assert_eq!(table.evicted.load(), 0, "seed {seed}");
    }
}

#[test]
fn a_full_zone_forgets_the_session_that_was_away_longest() {
    for seed in 0..256 {
        let mut dice = dice(seed);
        // One shard: 512 clients.
        let table = Bindings::over(511 * BYTES_PER_CLIENT, HOUR, None);
        let mut model: Vec<u64> = Vec::new();
        for step in 0..1500 {
            let number = dice(700);
            table.learn(&number.to_le_bytes(), sid(1), true, Tick(step));
            model.retain(|known| *known != number);
            model.push(number);
            if model.len() > 511 {
                let oldest = model.remove(0);
                assert_eq!(table.session(&oldest.to_le_bytes(), Tick(step)), None, "seed {seed}, step {step}");
            }
            let any = model[dice(model.len() as u64) as usize];
            assert_eq!(table.session(&any.to_le_bytes(), Tick(step)), Some(sid(1)), "seed {seed}, step {step}");
        }
        assert_eq!(table.len(), model.len(), "seed {seed}");
    }
}

#[test]
fn a_full_zone_stays_within_its_size_and_counts_what_it_forgets() {
    let bindings = Bindings::over(64 * 1024, HOUR, None);
    assert_eq!(bindings.capacity(), 1024);
    for number in 0..10_000 {
        bindings.bind(client(number), None, sid(1), Tick(u64::from(number)));
    }
    assert_eq!(bindings.len(), 1024);
    assert_eq!(bindings.evicted.load(), 10_000 - 1024);
    let newest = (9_500..10_000).filter(|number| bindings.find(client(*number), Tick(10_000)).is_some()).count();
    assert!(newest > 450, "the newest stay, {newest} of 500");
    assert!(size_of::<Mutex<Shard>>() < 256);
}

#[test]
fn sessions_begun_at_once_on_two_workers_go_to_one_peer() {
    let bindings = Bindings::over(1 << 20, HOUR, None);
    // Both have found nothing.
    assert_eq!(bindings.bind(client(1), None, sid(1), Tick(5)), Bound::Here);
    assert_eq!(bindings.bind(client(1), None, sid(2), Tick(5)), Bound::Elsewhere(sid(1)));
    // One that knew the binding replaces it.
    assert_eq!(bindings.bind(client(1), Some(sid(1)), sid(2), Tick(6)), Bound::Here);
    assert_eq!(bindings.find(client(1), Tick(7)), Some(sid(2)));
}

#[test]
fn workers_agree_on_each_clients_peer() {
    let bindings = Bindings::over(1 << 20, HOUR, None);
    let group = group((1..=5).map(server).collect(), &bindings);
    let names: Vec<HashMap<u32, Box<str>>> = std::thread::scope(|scope| {
        let worker = |seed: u64| {
            let group = group.clone();
            move || {
                let balancer = Balancer::new(group, seed);
                (0..20_000).map(|turn| (turn % 2_000, go(&balancer, turn % 2_000, 1))).fold(
                    HashMap::new(),
                    |mut seen: HashMap<u32, Box<str>>, (number, name)| {
                        let before = seen.insert(number, name.clone());
                        assert!(before.is_none_or(|before| before == name), "client {number} moved");
                        seen
                    },
                )
            }
        };
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(worker(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(names.iter().all(|seen| *seen == names[0]));
    let uses = group.peers.iter().map(|peer| names[0].values().filter(|name| **name == peer.name).count());
    assert!(uses.clone().all(|uses| uses > 200), "{:?}", uses.collect::<Vec<_>>());
}

#[test]
fn a_client_whose_peer_is_gone_or_down_gets_another_and_keeps_it() {
    let bindings = Bindings::over(1 << 20, HOUR, None);
    let four = group((1..=4).map(server).collect(), &bindings);
    let balancer = Balancer::new(four.clone(), 0);
    let first = go(&balancer, 7, 1);
    let at = four.peers.iter().position(|peer| peer.name == first).unwrap();
    let without = (1..=4).map(server).filter(|peer| peer.name != first).collect();
    let three = Balancer::new(group(without, &bindings), 1);
    let second = go(&three, 7, 2);
    assert_ne!(second, first);
    assert!((3..9).all(|now| go(&three, 7, now) == second));
    assert_eq!(go(&balancer, 7, 10), second, "and keeps it when the first one is there again");
    four.peers
        .iter()
        .find(|peer| peer.name == second)
        .unwrap()
        .set_health(crate::upstream::Availability::Unhealthy, Tick(11));
    let third = go(&balancer, 7, 12);
    assert_ne!(third, second);
    assert!((13..20).all(|now| go(&balancer, 7, now) == third));
    assert!(four.peers[at].state.active.load(std::sync::atomic::Ordering::Relaxed) == 0);
}

#[test]
fn a_retry_within_a_session_is_remembered() {
    let bindings = Bindings::over(1 << 20, HOUR, None);
    let balancer = Balancer::new(group((1..=3).map(server).collect(), &bindings), 0);
    let choice = Choice { now: Tick(1), client: Some(client(1)), key: b"", sid: None };
    let mut tried = Tried::default();
    let first = balancer.pick(&choice, &mut tried).unwrap();
    let second = balancer.pick(&choice, &mut tried).unwrap();
    assert_ne!(first.index, second.index);
    assert_eq!(go(&balancer, 1, 2), second.peer.name);
}

#[test]
fn a_reload_keeps_what_fits() {
    let old = Bindings::over(1 << 20, HOUR, None);
    for number in 0..5_000 {
        old.bind(client(number), None, sid(3), Tick(u64::from(number)));
    }
    assert!(Arc::ptr_eq(&old, &Bindings::over(1 << 20, HOUR, Some(&old))));
    let larger = Bindings::over(2 << 20, HOUR * 2, Some(&old));
    assert!((0..5_000).all(|number| larger.find(client(number), Tick(5_000)) == Some(sid(3))));
    let smaller = Bindings::over(64 * 1024, HOUR, Some(&old));
    assert_eq!(smaller.len(), 1024);
    let newest = (4_500..5_000).filter(|number| smaller.find(client(*number), Tick(5_000)).is_some()).count();
    assert!(newest > 450, "{newest} of 500");
}

#[test]
fn a_sid_is_the_peers_in_binary() {
    let peer = server(1);
    assert_eq!(peer.id.text(), peer.sid);
}
