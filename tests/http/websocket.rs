//! A connection that changes its protocol is passed through both ways until one side ends it.

use fairlead_harness::{Answer, Client, HttpPeer, WebSocket};

use crate::fairlead;

const SERVER: &str = "server { listen 127.0.0.1:{port}; location / {
    proxy_pass http://{peer}; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";
} }";

#[test]
fn messages_pass_both_ways() {
    let peer = HttpPeer::start(|_| Answer::websocket());
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut sockets: Vec<WebSocket> = (0..5).map(|_| WebSocket::connect(proxy.address(), "/chat")).collect();
    for round in 0..20 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            let message = format!("message {round} of {number}");
            assert_eq!(socket.ask(&message), message);
        }
    }
    assert_eq!(peer.last().header("upgrade"), Some("websocket"));
    assert_eq!(peer.last().header("connection"), Some("upgrade"));
}

#[test]
fn bytes_sent_right_behind_the_upgrade_are_not_lost() {
    let peer = HttpPeer::start(|_| {
        Answer::Talk(Box::new(|stream| {
            use std::io::{Read, Write};
            let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\nearly";
            let _ = stream.write_all(head);
            let mut bytes = [0; 5];
            if stream.read_exact(&mut bytes).is_ok() {
                let _ = stream.write_all(&bytes);
            }
        }))
    });
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.bytes(5), b"early");
    client.send("later");
    assert_eq!(client.rest(), b"later");
}

#[test]
fn an_upgrade_the_peer_declines_is_a_plain_answer() {
    let peer = HttpPeer::start(|_| Answer::status("426 Upgrade Required", "no"));
    let proxy = fairlead().set("peer", peer.address()).http(SERVER);
    let mut client = Client::connect(proxy.address());
    let answer = client.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    assert_eq!(client.get("/again").status(), 426, "the connection stays usable");
}

#[test]
fn an_idle_upgraded_connection_ends_after_proxy_read_timeout() {
    let peer = HttpPeer::start(|_| Answer::websocket());
    let proxy = fairlead().set("peer", peer.address()).http(&format!("proxy_read_timeout 500ms; {SERVER}"));
    let mut client = Client::connect(proxy.address());
    client.send(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(client.response().status(), 101);
    client.assert_closed();
}
