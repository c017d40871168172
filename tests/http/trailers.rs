//! Fields behind a peer's body, and hints before its answer.

use fairlead_harness::{Answer, Client, HttpPeer};

use crate::fairlead;

fn rest(address: std::net::SocketAddr, request: &str) -> String {
    let mut client = Client::connect(address);
    client.send(request);
    String::from_utf8(client.rest()).unwrap()
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn a_client_gets_the_trailers_of_a_peer_where_it_may() {
    let peer = HttpPeer::start(|_| {
        Answer::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
              X-Sum: abc\r\nX-Hidden: 1\r\nContent-Length: 3\r\nX-Two:  two words \r\n\r\n"
                .to_vec(),
        )
    });
    // One thread: its lines are in the order of the requests.
    let proxy = fairlead().workers(1).set("peer", peer.address()).http(
        "log_format trailers '$upstream_trailer_x_sum $sent_trailer_x_sum $sent_trailer_x_hidden';
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log trailers; proxy_hide_header X-Hidden;
            location / { proxy_pass http://{peer}; proxy_pass_trailers on; }
            location /off/ { proxy_pass http://{peer}; }
            location /both/ { proxy_pass http://{peer}; proxy_pass_trailers on; add_trailer X-Own 1; }
            location /packs/ { proxy_pass http://{peer}; proxy_pass_trailers on; sub_filter hello bye; } }",
    );
    let ask = |path: &str, version: &str| {
        rest(proxy.address(), &format!("GET {path} HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n"))
    };
    let came = ask("/", "1.1");
    assert!(came.ends_with("5\r\nhello\r\n0\r\nX-Sum: abc\r\nX-Two: two words\r\n\r\n"), "{came}");
    assert!(ask("/off/", "1.1").ends_with("5\r\nhello\r\n0\r\n\r\n"));
    let came = ask("/both/", "1.1");
    assert!(came.ends_with("0\r\nX-Sum: abc\r\nX-Two: two words\r\nX-Own: 1\r\n\r\n"), "{came}");
    let came = ask("/packs/", "1.1");
    assert!(came.ends_with("3\r\nbye\r\n0\r\nX-Sum: abc\r\nX-Two: two words\r\n\r\n"), "{came}");
    assert!(ask("/", "1.0").ends_with("\r\n\r\nhello"), "HTTP/1.0 has no trailers");
    let lines = proxy.access_lines(5);
    assert_eq!(lines, ["abc abc -", "abc - -", "abc abc -", "abc abc -", "abc - -"]);
}

#[test]
fn early_hints_go_on_when_a_value_says_so() {
    let peer = HttpPeer::start(|_| {
        Answer::Raw(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Hidden: 1\r\n\r\n\
              HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Hidden: 2\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
                .to_vec(),
        )
    });
    let proxy = fairlead().set("peer", peer.address()).http(
        "log_format sent '$status $body_bytes_sent'; proxy_hide_header X-Hidden;
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log sent;
            location / { early_hints $http_x_no $http_x_hints; proxy_pass http://{peer}; }
            location /off/ { proxy_pass http://{peer}; } }",
    );
    let ask = |path: &str, version: &str, field: &str| {
        rest(proxy.address(), &format!("GET {path} HTTP/{version}\r\nHost: h\r\nConnection: close\r\n{field}\r\n"))
    };
    let hinted = ask("/", "1.1", "X-Hints: 1\r\n");
    assert!(
        hinted.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{hinted}"
    );
    assert!(hinted.ends_with("\r\n\r\nbody"));
    for (path, version, field) in [
        ("/", "1.1", ""),
        ("/", "1.1", "X-Hints: 0\r\n"),
        ("/off/", "1.1", "X-Hints: 1\r\n"),
        ("/", "1.0", "X-Hints: 1\r\n"),
    ] {
        let came = ask(path, version, field);
        assert!(came.starts_with("HTTP/1.1 200 OK\r\n"), "{came}");
    }
    assert!(proxy.access_lines(5).iter().all(|line| line == "200 4"));
}

#[test]
fn too_many_hints_are_not_passed_on() {
    let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(900));
    let answer = format!("{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", hint.repeat(20));
    let peer = HttpPeer::start(move |_| Answer::Raw(answer.clone().into_bytes()));
    let proxy = fairlead().set("peer", peer.address()).http(
        "error_log {dir}/error.log info; server { listen 127.0.0.1:{port}; early_hints 1; proxy_buffer_size 4k;
            location / { proxy_pass http://{peer}; } }",
    );
    let came = rest(proxy.address(), ASK);
    assert!(came.matches("103 Early Hints").count() == 4 && came.ends_with("body"), "{}", came.matches("103").count());
    proxy.wait_for_error("upstream sent too big early hints");
}
