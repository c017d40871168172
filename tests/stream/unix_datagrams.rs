//! `listen unix:… udp`: datagrams of a Unix socket in place of UDP's.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use fairlead_harness::{PATIENCE, Proxy, UdpPeer, eventually};

use crate::fairlead;

/// A socket with a name, to which answers can come.
fn client(proxy: &Proxy, name: &str) -> UnixDatagram {
    let path = proxy.directory().join(name);
    let socket = UnixDatagram::bind(&path).unwrap();
    // The workers are somebody else.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let listener = proxy.directory().join("s");
    eventually("the listener is there", || socket.connect(&listener).is_ok());
    socket
}

fn ask(socket: &UnixDatagram, question: &str) -> String {
    socket.send(question.as_bytes()).unwrap();
    let mut answer = [0; 256];
    let count = socket.recv(&mut answer).unwrap();
    String::from_utf8(answer[..count].to_vec()).unwrap()
}

#[test]
fn clients_are_told_apart_by_their_names() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead().workers(1).set("peer", peer.address()).stream(
        "log_format own '$remote_addr $protocol $status $bytes_received $bytes_sent';
        server { listen unix:{dir}/s udp; proxy_pass {peer}; proxy_timeout 1s; access_log {dir}/access.log own; }",
    );
    let clients = [client(&proxy, "one"), client(&proxy, "two")];
    for round in ["1", "2"] {
        for socket in &clients {
            assert_eq!(ask(socket, round), format!("a: {round}"));
        }
    }
    assert_eq!(peer.flows(), 2, "a session for each client");
    let mut lines = proxy.access_lines(2);
    lines.sort();
    let folder = proxy.directory().path().display();
    assert_eq!(lines, ["one", "two"].map(|name| format!("unix:{folder}/{name} UDP 200 2 8")));
}

#[test]
fn a_text_is_returned_to_a_name() {
    let proxy = fairlead().workers(1).stream("server { listen unix:{dir}/s udp; return 'hello $remote_addr'; }");
    let name = proxy.directory().join("one");
    assert_eq!(ask(&client(&proxy, "one"), "hi"), format!("hello unix:{}", name.display()));
}

#[test]
fn who_has_no_name_is_heard_but_cannot_be_answered() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead()
        .workers(1)
        .set("peer", peer.address())
        .stream("server { listen unix:{dir}/s udp; proxy_pass {peer}; }");
    let named = client(&proxy, "one");
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.connect(proxy.directory().join("s")).unwrap();
    nameless.send(b"from nobody").unwrap();
    eventually("the peer gets it", || peer.seen().iter().any(|(_, bytes)| bytes == b"from nobody"));
    assert_eq!(ask(&named, "hi"), "a: hi", "others are served as before");
}
