//! `drain`: only what a sticky session binds to a peer goes there.

use super::*;

fn draining(method: Method) -> Arc<Group> {
    let peers = (0..3).map(|at| Peer { drain: at == 1, ..server(at) }).collect();
    Arc::new(Group::new("draining", peers, method))
}

fn methods() -> [Method; 9] {
    [
        Method::RoundRobin,
        Method::LeastConn,
        Method::LeastTime(CONNECT),
        Method::IpHash,
        Method::Random { two: None },
        Method::Random { two: Some(Measure::Conns) },
        hash(Hashing::Modulo),
        hash(Hashing::Ring),
        hash(Hashing::Maglev),
    ]
}

#[test]
fn a_draining_peer_gets_nothing_new() {
    for method in methods() {
        let balancer = Balancer::new(draining(method.clone()), 5);
        for turn in 0..200_u32 {
            let (key, client) = (turn.to_string(), Some(IpAddr::from([10, 0, turn as u8, 1])));
            let choice = Choice { key: key.as_bytes(), client, ..at(1) };
            let mut tried = Tried::default();
            for _ in 0..2 {
                assert_ne!(balancer.pick(&choice, &mut tried).unwrap().index, 1, "{method:?}");
            }
            assert!(balancer.pick(&choice, &mut tried).is_err(), "{method:?}: nor as the last one left");
        }
    }
}

#[test]
fn a_draining_peer_keeps_those_bound_to_it_while_it_can_take_them() {
    for method in methods() {
        let group = draining(method.clone());
        let balancer = Balancer::new(group.clone(), 5);
        let bound = Choice { sid: Some(group.peers[1].sid.as_bytes()), key: b"key", ..at(1) };
        let held: Vec<Lease> = (0..10).map(|_| balancer.pick(&bound, &mut Tried::default()).unwrap()).collect();
        assert!(held.iter().all(|lease| lease.index == 1), "{method:?}");
        let mut tried = Tried::default();
        let mut lease = balancer.pick(&bound, &mut tried).unwrap();
        lease.fail(Tick(1));
        assert_ne!(balancer.pick(&bound, &mut tried).unwrap().index, 1, "{method:?}: tried");
        assert_ne!(balancer.pick(&bound, &mut Tried::default()).unwrap().index, 1, "{method:?}: failed");
        drop((held, lease));
        assert_eq!(group.peers[1].state.active.load(Ordering::Relaxed), 0, "{method:?}");
    }
}

#[test]
fn the_only_peer_drains_too_and_so_does_a_backup() {
    let only = Arc::new(Group::new("only", vec![Peer { drain: true, ..server(0) }], Method::RoundRobin));
    let peers = vec![Peer { down: true, ..server(0) }, Peer { backup: true, drain: true, ..server(1) }];
    let backup = Arc::new(Group::new("backup", peers, Method::LeastConn));
    for group in [only, backup] {
        let sid = group.peers.last().unwrap().sid.clone();
        let balancer = Balancer::new(group, 0);
        assert!(balancer.pick(&at(1), &mut Tried::default()).is_err());
        let bound = Choice { sid: Some(sid.as_bytes()), ..at(1) };
        assert!(balancer.pick(&bound, &mut Tried::default()).is_ok());
    }
}
