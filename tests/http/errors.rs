//! The pages a client gets when something goes wrong, and the line the error log gets.

use fairlead_harness::{Answer, Client, HttpPeer, Port, get};

use crate::fairlead;

/// nginx's page; the product's name stands where nginx has its own.
#[track_caller]
fn assert_page(answer: &fairlead_harness::Response, title: &str) {
    assert_eq!(answer.status_line(), format!("HTTP/1.1 {title}"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    let text = answer.text();
    let start = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>"
    );
    assert!(text.starts_with(&start), "{text}");
    assert!(text.ends_with("</center>\r\n</body>\r\n</html>\r\n"), "{text}");
    assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
}

#[test]
fn a_missing_file_is_404() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; root {dir}; }");
    assert_page(&get(proxy.address(), "/missing"), "404 Not Found");
    proxy.wait_for_error("missing\" failed (2: No such file or directory), client: 127.0.0.1");
}

#[test]
fn a_peer_that_refuses_is_502() {
    let nobody = Port::reserve();
    let proxy = fairlead()
        .set("peer", nobody.address())
        .http("server { listen 127.0.0.1:{port}; server_name here; location / { proxy_pass http://{peer}; } }");
    assert_page(&get(proxy.address(), "/a?b"), "502 Bad Gateway");
    proxy.wait_for_error("connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1");
    let tail = format!(
        "server: here, request: \"GET /a?b HTTP/1.1\", upstream: \"http://{}/a?b\", host: \"localhost\"",
        nobody.address()
    );
    proxy.wait_for_error(&tail);
}

#[test]
fn a_peer_that_stays_silent_is_504() {
    let peer = HttpPeer::start(|_| Answer::silence());
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_read_timeout 100ms; } }");
    assert_page(&get(proxy.address(), "/"), "504 Gateway Time-out");
    proxy.wait_for_error("upstream timed out (110: Connection timed out) while reading response header from upstream");
}

#[test]
fn a_peer_that_closes_early_is_502() {
    let peer = HttpPeer::start(|_| Answer::nothing());
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    assert_page(&get(proxy.address(), "/"), "502 Bad Gateway");
    proxy.wait_for_error("upstream prematurely closed connection while reading response header from upstream");
}

#[test]
fn the_peers_own_error_pages_pass() {
    let peer = HttpPeer::start(|_| Answer::status("500 Oops", "peer's own page"));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    let answer = get(proxy.address(), "/");
    assert_eq!((answer.status_line(), answer.text().as_str()), ("HTTP/1.1 500 Oops", "peer's own page"));
}

#[test]
fn an_error_does_not_end_a_connection_that_can_go_on() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; root {dir}; location /ok { return 200 ok; } }");
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("/missing").status(), 404);
    assert_eq!(client.get("/ok").text(), "ok");
}

#[test]
fn a_client_that_leaves_is_logged_once_with_499() {
    let peer = HttpPeer::start(|_| Answer::silence());
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }");
    let mut client = Client::connect(proxy.address());
    client.send("GET /left HTTP/1.1\r\nHost: h\r\n\r\n");
    fairlead_harness::eventually("the peer has the request", || !peer.requests().is_empty());
    drop(client);
    let lines = proxy.access_lines(1);
    assert!(lines[0].contains("\"GET /left HTTP/1.1\" 499 0"), "{lines:?}");
}
