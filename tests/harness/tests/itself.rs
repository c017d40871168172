//! The harness against nginx, whose behaviour is known: what these tests rely on is not our product.

use std::io::Write;

use fairlead_harness::{Answer, Client, HttpPeer, Load, Setup, TcpPeer, UdpClient, UdpPeer, WebSocket};
use fairlead_harness::{connect, read_line};

#[test]
fn sees_what_the_peer_got_and_what_the_client_gets() {
    let peer = HttpPeer::start(|request| Answer::ok(format!("you sent {}", request.body.len())));
    let nginx = Setup::nginx().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_set_header X-Test yes; } }",
    );
    let mut client = Client::connect(nginx.address());
    let answer = client.request("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!((answer.status(), answer.text()), (200, "you sent 3".into()));
    assert_eq!(peer.last().line(), "POST /a HTTP/1.0");
    assert_eq!(peer.last().header("x-test"), Some("yes"));
    assert!(nginx.access_lines(1)[0].contains("\"POST /a HTTP/1.1\" 200"));
}

#[test]
fn talks_tcp_udp_and_websocket() {
    let (tcp, udp) = (TcpPeer::named("a"), UdpPeer::named("b"));
    let http = HttpPeer::start(|_| Answer::websocket());
    let nginx = Setup::nginx().set("tcp", tcp.address()).set("udp", udp.address()).set("http", http.address()).start(
        "stream {
            server { listen 127.0.0.1:{port_tcp}; proxy_pass {tcp}; }
            server { listen 127.0.0.1:{port_udp} udp; proxy_pass {udp}; }
        }
        http { server { listen 127.0.0.1:{port}; location / {
            proxy_pass http://{http}; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        } } }",
    );
    let mut stream = connect(nginx.port("port_tcp"));
    stream.write_all(b"hi\n").expect("sent");
    assert_eq!(read_line(&stream), "a: hi");
    assert_eq!(UdpClient::connect(nginx.port("port_udp")).ask("hi"), "b: hi");
    let mut websocket = WebSocket::connect(nginx.address(), "/");
    assert_eq!(websocket.ask("hello"), "hello");
    drop((stream, websocket));
    nginx.stop();
}

#[test]
fn load_counts_answers_and_errors() {
    let nginx = Setup::nginx()
        .http("server { listen 127.0.0.1:{port}; location / { return 200 x; } location /bad { return 500; } }");
    let good = Load::keepalive(nginx.address(), "/", 2);
    let bad = Load::new_connections(nginx.address(), "/bad", 1);
    good.advance(100);
    let (good, bad) = (good.stop(), bad.stop());
    assert!(good.requests >= 100 && good.errors.is_empty(), "{good:?}");
    assert!(bad.requests == 0 && !bad.errors.is_empty(), "{bad:?}");
}

#[test]
fn a_configuration_that_does_not_load_is_reported() {
    let (loads, printed) = Setup::nginx().check("http { server { lisen 80; } }");
    assert!(!loads && printed.contains("unknown directive \"lisen\""), "{printed}");
}
