//! Names that stand for other addresses all the time, against a plain account of who should be there.
use crate::dice::Dice;

use super::*;
use crate::clock::Tick;
use crate::resolver;
use crate::upstream::roster::{Change, Roster};
use crate::upstream::{Balancer, Choice, Group, Hashing, Lease, Settings, Slot, Tried};
use fairlead_conf::{Span, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::Ordering;

fn word(text: &str) -> Word {
    Word { text: text.into(), span: Span::default(), quoted: false }
}

fn named(address: &str, service: Option<&str>) -> Server {
    let service = service.map(word);
    Server { resolve: true, service, default_port: Some(80), ..Server::new(word(address)) }
}

fn line(server: Server) -> Line {
    let members = match source(&server).unwrap() {
        Some(source) => Members::Named(source),
        None => Members::Fixed(vec![Address::Ip(server.address.text.parse().unwrap())]),
    };
    Line { server, members }
}

fn host(last: u64) -> IpAddr {
    [10, 0, 0, last as u8].into()
}

/// A planned group with nothing known of its names yet, and the roster of it.
fn planned(lines: Vec<Line>, method: Method) -> (Arc<Group>, Arc<Roster>) {
    let settings = Settings { method, ..Settings::new(word("app")) };
    Group::with_roster(&settings, lines, resolver::Settings::default())
}

/// One answer alone.
fn learn(roster: &Roster, line: usize, answer: Answer) -> Result<Option<Change>, String> {
    roster.make([(line, answer)].into()).map(|next| roster.stage(next))
}

fn shown(peers: &[Arc<Peer>]) -> Vec<String> {
    peers.iter().map(|peer| format!("{}{} w{}", if peer.backup { "-" } else { "" }, peer.name, peer.weight)).collect()
}

fn pick(slot: &Slot) -> Option<Lease> {
    let choice = Choice { now: Tick(1), client: Some(host(1)), key: b"key", sid: None };
    slot.balancer().pick(&choice, &mut Tried::default()).ok()
}

#[test]
fn members_follow_their_names_and_keep_their_states() {
    for seed in 0..256 {
        follow(seed);
    }
}

fn follow(seed: u64) {
    let mut dice = Dice::new(seed);
    let method = match dice.roll(5) {
        0 => Method::RoundRobin,
        1 => Method::LeastConn,
        2 => Method::IpHash,
        3 => Method::Random { two: None },
        _ => Method::Hash {
            key: word("$a"),
            table: [Hashing::Modulo, Hashing::Ring, Hashing::Maglev][dice.roll(3) as usize],
        },
    };
    let lines = vec![
        line(Server::new(word("10.9.9.9:80"))),
        line(named("a.test:81", None)),
        line(Server { backup: method.allows_backup(), weight: 3, ..named("b.test", None) }),
    ];
    let fixed = dice.roll(2) == 0;
    let lines = if fixed { lines } else { lines.into_iter().skip(1).collect() };
    let base = usize::from(fixed);
    let (group, roster) = planned(lines, method);
    let slot = Slot::new(group.clone(), seed);
    let mut states: BTreeMap<String, Arc<State>> =
        group.peers.iter().map(|peer| (peer.name.to_string(), peer.state.clone())).collect();
    let mut names: [BTreeSet<u64>; 2] = Default::default();
    let mut held: Vec<Lease> = Vec::new();
    for step in 0..60 {
        let at = format!("seed {seed} step {step}");
        let which = dice.roll(2) as usize;
        names[which] = (0..dice.roll(5)).map(|_| 1 + dice.roll(6)).collect();
        let mut answer: Answer = names[which].iter().map(|last| Member::plain(host(*last))).collect();
        let turn = dice.roll(5) as usize % answer.len().max(1);
        answer.rotate_left(turn);
        let edition = roster.edition();
        let change = learn(&roster, base + which, answer).unwrap();
        assert_eq!(roster.edition(), edition, "{at}: workers hear of it when it is announced");
        if let Some(change) = &change {
            roster.announce(change, Tick(1));
        }
        let wanted: BTreeSet<String> = names[0]
            .iter()
            .map(|last| format!("10.0.0.{last}:81"))
            .chain(names[1].iter().map(|last| format!("10.0.0.{last}:80")))
            .chain(fixed.then(|| "10.9.9.9:80".to_owned()))
            .collect();
        let now = group.current();
        let have: BTreeSet<String> = now.peers.iter().map(|peer| peer.name.to_string()).collect();
        assert_eq!(have, wanted, "{at}");
        assert_eq!(change.is_some(), states.keys().cloned().collect::<BTreeSet<_>>() != wanted, "{at}");
        for peer in &now.peers {
            let kept = states.get(&*peer.name);
            assert!(kept.is_none_or(|state| Arc::ptr_eq(state, &peer.state)), "{at}: {} keeps its state", peer.name);
            assert!(!peer.state.is_removed() && !peer.is_lost(), "{at}: {}", peer.name);
            assert_eq!(peer.weight, if peer.name.ends_with(":80") && &*peer.server == "b.test" { 3 } else { 1 });
        }
        for (name, state) in &states {
            assert_eq!(state.is_removed(), !wanted.contains(name), "{at}: {name}");
        }
        states = now.peers.iter().map(|peer| (peer.name.to_string(), peer.state.clone())).collect();
        match pick(&slot) {
            Some(lease) => {
                assert!(wanted.contains(&*lease.peer.name), "{at}: picked {}", lease.peer.name);
                held.push(lease);
            }
            None => assert!(wanted.is_empty(), "{at}: nobody was picked"),
        }
        if dice.roll(3) == 0 && !held.is_empty() {
            held.swap_remove(dice.roll(held.len() as u64) as usize);
        }
        for (name, state) in &states {
            let uses = held.iter().filter(|lease| Arc::ptr_eq(&lease.peer.state, state)).count();
            assert_eq!(state.active.load(Ordering::Relaxed) as usize, uses, "{at}: uses of {name}");
        }
    }
    let all: Vec<Arc<State>> = held.iter().map(|lease| lease.peer.state.clone()).collect();
    drop(held);
    assert!(
        all.iter().all(|state| state.active.load(Ordering::Relaxed) == 0),
        "seed {seed}: every lease is given back"
    );
}

fn services(records: &[(u16, u16, u16, &str, u64)]) -> Answer {
    let member = |(priority, weight, port, target, last): &(u16, u16, u16, &str, u64)| {
        let service = Service { priority: *priority, weight: *weight, port: *port, target: (*target).into() };
        Member::of(&service, host(*last))
    };
    records.iter().map(member).collect()
}

fn peers_of(server: Server, method: Method, answer: Answer) -> Vec<String> {
    let (group, roster) = planned(vec![line(server)], method);
    if let Some(change) = learn(&roster, 0, answer).unwrap() {
        roster.announce(&change, Tick(1));
    }
    shown(&group.current().peers)
}

#[test]
fn srv_records_say_who_is_first_where_and_how_much() {
    let records = [(20, 1, 8082, "c", 3), (10, 5, 8080, "a", 1), (10, 0, 8081, "b", 2), (30, 9, 8083, "d", 4)];
    let primary = ["10.0.0.1:8080 w5", "10.0.0.2:8081 w1"];
    let backups = ["-10.0.0.3:8082 w1", "-10.0.0.4:8083 w9"];
    let server = || named("app.test", Some("http"));
    assert_eq!(peers_of(server(), Method::LeastConn, services(&records)), [primary, backups].concat());
    assert_eq!(peers_of(server(), Method::IpHash, services(&records)), primary, "a method without backups");
    let backup = Server { backup: true, ..server() };
    let expected = primary.map(|peer| format!("-{peer}"));
    assert_eq!(peers_of(backup, Method::RoundRobin, services(&records)), expected, "the rest is of no use");
    let heavy = Server { weight: 7, ..server() };
    assert_eq!(peers_of(heavy, Method::IpHash, services(&records)), ["10.0.0.1:8080 w7", "10.0.0.2:8081 w7"]);
}

#[test]
fn srv_members_always_come_from_the_best_priority_there_is() {
    for seed in 0..256 {
        let mut dice = Dice::new(seed);
        let records: Vec<_> = (0..dice.roll(8))
            .map(|_| {
                let target = ["a", "b", "c"][dice.roll(3) as usize];
                (dice.roll(3) as u16, dice.roll(4) as u16, 80 + dice.roll(2) as u16, target, 1 + dice.roll(3))
            })
            .collect();
        let found = peers_of(named("app.test", Some("http")), Method::RoundRobin, services(&records));
        let best = records.iter().map(|record| record.0).min();
        let places = |first: bool| -> BTreeSet<(String, &str)> {
            let of = records.iter().filter(|record| (Some(record.0) == best) == first);
            of.map(|(_, _, port, target, last)| (format!("10.0.0.{last}:{port}"), *target)).collect()
        };
        let primaries = found.iter().filter(|peer| !peer.starts_with('-')).count();
        assert_eq!(primaries, places(true).len(), "seed {seed}: {records:?} {found:?}");
        assert!(found.iter().skip(primaries).all(|peer| peer.starts_with('-')), "seed {seed}: {found:?}");
        assert!(found.len() <= places(true).len() + records.len(), "seed {seed}");
        assert!(found.iter().all(|peer| !peer.ends_with("w0")), "seed {seed}: {found:?}");
    }
}

#[test]
fn the_order_of_addresses_and_repeated_ones_change_nothing() {
    let (group, roster) = planned(vec![line(named("a.test", None))], Method::RoundRobin);
    let answer = |list: &[u64]| list.iter().map(|last| Member::plain(host(*last))).collect::<Answer>();
    roster.announce(&learn(&roster, 0, answer(&[2, 1])).unwrap().unwrap(), Tick(1));
    assert_eq!(shown(&group.current().peers), ["10.0.0.1:80 w1", "10.0.0.2:80 w1"]);
    assert!(learn(&roster, 0, answer(&[1, 2, 1])).unwrap().is_none());
    assert_eq!(roster.edition(), 1);
}

#[test]
fn who_joins_others_starts_slowly() {
    let slow = Server { slow_start: Duration::from_secs(64), ..named("a.test", None) };
    let (group, roster) = planned(vec![line(slow)], Method::RoundRobin);
    let answer = |list: &[u64]| list.iter().map(|last| Member::plain(host(*last))).collect::<Answer>();
    let parts = |now| -> Vec<Option<u64>> {
        let recovery = |peer: &Arc<Peer>| peer.recovery(Tick(now)).map(|(parts, _)| parts);
        group.current().peers.iter().map(recovery).collect()
    };
    roster.announce(&learn(&roster, 0, answer(&[1, 2])).unwrap().unwrap(), Tick(1_000));
    assert_eq!(parts(1_000), [None, None], "the first ones have nobody to leave the work to");
    roster.announce(&learn(&roster, 0, answer(&[1, 2, 3])).unwrap().unwrap(), Tick(5_000));
    assert_eq!(parts(5_000), [None, None, Some(0)]);
    assert_eq!(parts(15_000), [None, None, Some(10)]);
    assert_eq!(parts(69_000), [None, None, None]);
}

#[test]
fn an_edition_is_nobodys_while_it_is_made_and_one_for_all_that_was_heard() {
    let lines = vec![line(named("a.test", None)), line(named("b.test", None))];
    let (group, roster) = planned(lines, Method::RoundRobin);
    let slot = Slot::new(group.clone(), 1);
    let heard = [(0, vec![Member::plain(host(1))]), (1, vec![Member::plain(host(2))])];
    let next = roster.make(heard.into()).unwrap();
    assert!(Arc::ptr_eq(&group.current(), &group) && roster.answer(0).is_none());
    let change = roster.stage(next).unwrap();
    assert_eq!((group.current().edition(), roster.edition()), (1, 0));
    assert!(pick(&slot).is_none(), "no worker knows of it");
    roster.announce(&change, Tick(1));
    assert_eq!(shown(&slot.balancer().group.peers), ["10.0.0.1:80 w1", "10.0.0.2:80 w1"]);
    let (source, others) = change.cause(&roster).unwrap();
    assert_eq!((&*source.host, others), ("a.test", 1));
}

#[test]
fn a_retry_after_a_change_picks_from_the_new_members() {
    let (group, roster) = planned(vec![line(named("a.test", None))], Method::RoundRobin);
    let slot = Slot::new(group, 1);
    let answer = |last: u64| vec![Member::plain(host(last))];
    let mut tried = Tried::default();
    let choice = Choice { now: Tick(1), client: None, key: b"", sid: None };
    roster.announce(&learn(&roster, 0, answer(1)).unwrap().unwrap(), Tick(1));
    let first: Rc<Balancer> = slot.balancer();
    let lease = first.pick(&choice, &mut tried).unwrap();
    assert!(first.pick(&choice, &mut tried).is_err(), "its only peer is tried");
    roster.announce(&learn(&roster, 0, answer(2)).unwrap().unwrap(), Tick(1));
    assert!(lease.peer.state.is_removed());
    let next = slot.balancer().pick(&choice, &mut tried).unwrap();
    assert_eq!(&*next.peer.name, "10.0.0.2:80");
}

#[test]
fn an_answer_that_asks_for_too_much_changes_nothing() {
    let method = Method::Hash { key: word("$a"), table: Hashing::Ring };
    let (group, roster) = planned(vec![line(named("app.test", Some("http")))], method);
    let few = services(&[(1, 1, 80, "a", 1)]);
    roster.announce(&learn(&roster, 0, few).unwrap().unwrap(), Tick(1));
    let many: Vec<_> = (1..20).map(|last| (1, u16::MAX, 80, "a", last)).collect();
    assert!(learn(&roster, 0, services(&many)).err().unwrap().contains("points of the consistent hash"));
    assert_eq!(shown(&group.current().peers), ["10.0.0.1:80 w1"]);
}

#[test]
fn names_of_services_are_built_as_nginx_does() {
    let query = |host: &str, service: &str| source(&named(host, Some(service))).unwrap().unwrap().query().unwrap();
    assert_eq!(query("backend.test", "http"), "_http._tcp.backend.test");
    assert_eq!(query("backend.test", "_http._tcp"), "_http._tcp.backend.test");
    assert_eq!(query("test", "server1.backend"), "server1.backend.test");
    assert_eq!(source(&named("a.test:81", None)).unwrap().unwrap().query(), None);
    for fixed in ["10.0.0.1:80", "[::1]:80", "unix:/run/a"] {
        assert_eq!(source(&named(fixed, None)), Ok(None), "{fixed} needs no lookup");
    }
}
