//! How heads are read: how long they may be, which names of fields pass, what slashes become, and what
//! we say of ourselves.

use fairlead_harness::{Answer, Client, HttpPeer, Proxy};

use crate::fairlead;

fn ask(proxy: &Proxy, request: impl AsRef<[u8]>) -> (u16, String) {
    let answer = Client::connect(proxy.address()).request(request);
    (answer.status(), answer.text())
}

fn field(length: usize) -> String {
    format!("X-Long: {}\r\n", "v".repeat(length - "X-Long: \r\n".len()))
}

#[test]
fn lines_are_held_in_one_piece_by_the_first_buffer_or_a_large_one() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(length - "GET / HTTP/1.1\r\n".len()));
    let row = "client_header_buffer_size 1k; large_client_header_buffers 2 2k;";
    let proxy = fairlead().http(&format!("{row} server {{ listen 127.0.0.1:{{port}}; return 200 ok; }}"));
    let status = |request: String| ask(&proxy, request).0;
    let host = "Host: h\r\n";
    assert_eq!(status(format!("{}{host}\r\n", line(2048))), 200);
    assert_eq!(status(format!("{}{host}\r\n", line(2049))), 414);
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{host}{}\r\n", field(2048))), 200);
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{host}{}\r\n", field(2049))), 400);
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{host}{0}{0}\r\n", field(2000))), 200, "one in each large buffer");
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{host}{0}{0}{0}\r\n", field(2000))), 400, "there is no third");
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{host}{}\r\n", field(500).repeat(9))), 200, "several share one");
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{host}{}\r\n", field(500).repeat(10))), 400);
}

#[test]
fn a_large_first_buffer_needs_no_other() {
    let proxy = fairlead().http(
        "client_header_buffer_size 16k; large_client_header_buffers 1 1k;
         server { listen 127.0.0.1:{port}; return 200 ok; }",
    );
    assert_eq!(ask(&proxy, format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", field(15_000))).0, 200);
    assert_eq!(ask(&proxy, format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", field(17_000))).0, 400);
}

#[test]
fn a_head_has_no_more_fields_than_it_may() {
    let proxy = fairlead().http("max_headers 3; server { listen 127.0.0.1:{port}; return 200 ok; }");
    assert_eq!(ask(&proxy, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n").0, 200);
    assert_eq!(ask(&proxy, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n").0, 400);
    proxy.wait_for_error("client sent too many header");
}

#[test]
fn strange_names_of_fields_pass_where_they_may() {
    let peer = HttpPeer::start(|_| Answer::ok("x"));
    let proxy = fairlead().set("peer", peer.address()).http(
        "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } }
         server { listen 127.0.0.1:{port_two}; underscores_in_headers on; location / { proxy_pass http://{peer}; } }
         server { listen 127.0.0.1:{port_three}; ignore_invalid_headers off; location / { proxy_pass http://{peer}; } }",
    );
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX_Under: 1\r\nX.Dot: 2\r\nX-Plain: 3\r\n\r\n";
    let ports = [proxy.address(), proxy.port("port_two"), proxy.port("port_three")];
    for (port, under, dot) in [(ports[0], None, None), (ports[1], Some("1"), None), (ports[2], Some("1"), Some("2"))] {
        assert_eq!(Client::connect(port).request(request).status(), 200);
        let got = peer.last();
        assert_eq!((got.header("x_under"), got.header("x.dot")), (under, dot), "{port}");
        assert_eq!(got.header("x-plain"), Some("3"));
    }
}

#[test]
fn slashes_are_merged_unless_told_otherwise() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; return 200 $uri; }
         server { listen 127.0.0.1:{port}; server_name apart; merge_slashes off; return 200 $uri; }",
    );
    let get = |host: &str| ask(&proxy, format!("GET //a///b/../%2Fc/./d HTTP/1.1\r\nHost: {host}\r\n\r\n")).1;
    assert_eq!((get("h"), get("apart")), ("/a/c/d".into(), "//a////c/d".into()));
}

#[test]
fn what_we_call_ourselves_can_be_chosen() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; server_tokens off;
            location /on { server_tokens on; return 404; }
            location /off { return 404; }
            location /build { server_tokens build; return 404; }
            location /own { server_tokens 'edge of $host'; return 404; }
            location /none { server_tokens \"\"; return 200 x; } }",
    );
    let ask = |path: &str| {
        let answer = proxy.get(path);
        (answer.header("server").map(str::to_owned), answer.text())
    };
    let version = concat!("fairlead/", env!("CARGO_PKG_VERSION"));
    for (path, name) in [("/on", version), ("/off", "fairlead"), ("/build", version), ("/own", "edge of localhost")] {
        let (server, page) = ask(path);
        assert_eq!(server.as_deref(), Some(name), "{path}");
        assert!(page.contains(&format!("<hr><center>{name}</center>")), "{path}: {page}");
    }
    assert_eq!(ask("/none"), (None, "x".into()));
}
