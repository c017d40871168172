//! `hash KEY maglev`: keys belong to peers by a table that every balancer makes alike.

use std::io::Write;

use fairlead_harness::{Proxy, TcpPeer, connect_from, eventually, read_line};

use crate::fairlead;

fn ask(proxy: &Proxy, client: usize) -> String {
    let mut stream = connect_from(&format!("127.6.{}.{}", client / 200, 1 + client % 200), proxy.address());
    writeln!(stream, "who").unwrap();
    read_line(&stream).trim_end_matches(": who").to_owned()
}

fn ask_all(proxy: &Proxy) -> Vec<String> {
    (0..80).map(|client| ask(proxy, client)).collect()
}

fn start(peers: &[TcpPeer; 4], servers: &str) -> Proxy {
    let setup = fairlead().set("a", peers[0].address()).set("b", peers[1].address());
    setup.set("c", peers[2].address()).set("d", peers[3].address()).stream(&format!(
        "upstream group {{ hash $remote_addr maglev; {servers} }}
        server {{ listen 127.0.0.1:{{port}}; proxy_pass group; }}"
    ))
}

#[test]
fn two_balancers_with_the_same_servers_agree_whatever_their_order() {
    let peers = ["a", "b", "c", "d"].map(TcpPeer::named);
    let one = start(&peers, "server {a}; server {b} weight=2; server {c}; server {d};");
    let other = start(&peers, "server {d}; server {c}; server {a}; server {b} weight=2;");
    let answers = ask_all(&one);
    assert_eq!(answers, ask_all(&one), "a key keeps its peer");
    assert_eq!(answers, ask_all(&other));
    let share = |name: &str| answers.iter().filter(|answer| *answer == name).count();
    assert!(["a", "c", "d"].iter().all(|name| share(name) >= 5) && share("b") >= 16, "{answers:?}");
}

#[test]
fn keys_of_a_peer_that_fails_move_alone_and_come_back() {
    let peers = ["a", "b", "c", "d"].map(TcpPeer::named);
    let proxy = start(&peers, "server {a}; server {b}; server {c} fail_timeout=1s; server {d};");
    let before = ask_all(&proxy);
    let [_a, _b, c, _d] = peers;
    let port = c.stop().unwrap();
    let without = ask_all(&proxy);
    for (before, without) in before.iter().zip(&without) {
        assert!(if before == "c" { without != "c" } else { without == before }, "{before}, then {without}");
    }
    let _c = TcpPeer::named_at("c", port.address());
    let of_c = before.iter().position(|name| name == "c").unwrap();
    eventually("the peer is back", || ask(&proxy, of_c) == "c");
    assert_eq!(ask_all(&proxy), before);
}

#[test]
fn a_server_that_is_down_keeps_its_place() {
    let peers = ["a", "b", "c", "d"].map(TcpPeer::named);
    let all = ask_all(&start(&peers, "server {a}; server {b}; server {c}; server {d};"));
    let down = ask_all(&start(&peers, "server {a}; server {b}; server {c} down; server {d};"));
    for (all, down) in all.iter().zip(&down) {
        assert!(if all == "c" { down != "c" } else { down == all }, "{all}, then {down}");
    }
}
