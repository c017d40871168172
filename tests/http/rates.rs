//! How fast responses go to clients, and who says so.

use std::io::Read;
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, eventually};

use crate::fairlead;

fn start(peer: &HttpPeer, locations: &str) -> Proxy {
    fairlead().workers(1).file("html/big", vec![b'f'; 150_000]).set("peer", peer.address()).http(&format!(
        "log_format rate '$uri $limit_rate $status $request_completion'; root {{dir}}/html;
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/rate.log rate; {locations} }}"
    ))
}

fn ask(proxy: &Proxy, path: &str) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    client
}

#[test]
fn files_and_answers_of_peers_come_at_their_rate() {
    let peer = HttpPeer::start(|_| Answer::ok(vec![b'p'; 150_000]));
    let proxy = start(
        &peer,
        "limit_rate 100k; send_timeout 300ms; location / {} location /p { proxy_pass http://{peer}; }
        location /gz { gzip on; gzip_types *; gzip_min_length 1; proxy_pass http://{peer}; }",
    );
    for path in ["/big", "/p"] {
        let client = ask(&proxy, path);
        let (start, mut came, mut buffer) = (Instant::now(), 0, [0; 65536]);
        let mut in_the_first_half = 0;
        while let Ok(count @ 1..) = client.stream().read(&mut buffer) {
            came += count;
            if start.elapsed() < Duration::from_millis(450) {
                in_the_first_half = came;
            }
        }
        assert!(came > 150_000, "{path}: {came}");
        assert!(start.elapsed() >= Duration::from_millis(900), "{path}: too fast, {:?}", start.elapsed());
        assert!(in_the_first_half <= 102_400, "{path}: {in_the_first_half} at once");
    }
    assert_eq!(ask(&proxy, "/gz").response().status(), 200);
    eventually("all ended well", || proxy.directory().read("rate.log").matches("102400 200 OK").count() == 3);
}

#[test]
fn the_first_bytes_are_not_counted() {
    let peer = HttpPeer::start(|_| Answer::ok(vec![b'p'; 150_000]));
    let proxy = start(
        &peer,
        "limit_rate 1; location / { limit_rate_after 1m; } location /p { limit_rate_after $arg_after; proxy_pass http://{peer}; }",
    );
    assert_eq!(ask(&proxy, "/big").response().body.len(), 150_000);
    assert_eq!(ask(&proxy, "/p?after=150k").response().body.len(), 150_000);
}

#[test]
fn rules_variables_and_peers_may_say_the_rate() {
    let peer = HttpPeer::start(|request| {
        let rate = request.header("x-rate").unwrap_or("none").to_owned();
        Answer::Raw(
            format!("HTTP/1.1 200 OK\r\nX-Accel-Limit-Rate: {rate}\r\nContent-Length: 2\r\n\r\nok").into_bytes(),
        )
    });
    let proxy = start(
        &peer,
        "set $rate 5k;
        location /fixed { limit_rate 1m; return 200 x; }
        location /none { return 200 x; }
        location /set { limit_rate 1m; set $limit_rate 4k; return 200 $limit_rate; }
        location /unset { limit_rate 1m; set $limit_rate fast; add_header X-Rate $limit_rate; return 200 x; }
        location /variable { limit_rate $rate; return 200 x; }
        location /wrong { limit_rate $uri; return 200 x; }
        location /accel { limit_rate 1m; proxy_set_header X-Rate $arg_rate; proxy_pass http://{peer}; }
        location /ignored { proxy_ignore_headers X-Accel-Limit-Rate; proxy_set_header X-Rate 5; proxy_pass http://{peer}; }",
    );
    assert_eq!(proxy.get("/set").text(), "4096");
    assert_eq!(proxy.get("/unset").header("x-rate"), Some("0"), "what is in force is known once it begins");
    for path in ["/fixed", "/none", "/variable", "/wrong", "/accel?rate=50000", "/accel?rate=x", "/ignored"] {
        assert_eq!(proxy.get(path).status(), 200, "{path}");
    }
    let expected = "/set 4096 200 OK\n/unset 1048576 200 OK\n/fixed 1048576 200 OK\n/none 0 200 OK\n/variable 5120 200 OK\n\
        /wrong 0 200 OK\n/accel 50000 200 OK\n/accel 1048576 200 OK\n/ignored 0 200 OK\n";
    eventually("all are in the log", || proxy.directory().read("rate.log").lines().count() == 9);
    let log = proxy.directory().read("rate.log");
    assert!(log.starts_with(expected), "{log}");
    proxy.wait_for_error("invalid $limit_rate \"fast\"");
    proxy.wait_for_error("invalid size \"/wrong\"");
}

#[test]
fn a_condition_may_choose_the_rate() {
    let peer = HttpPeer::named("peer");
    let proxy =
        start(&peer, "location / { if ($arg_slow) { limit_rate 7k; limit_rate_after 1m; } proxy_pass http://{peer}; }");
    for path in ["/", "/?slow=1"] {
        assert_eq!(proxy.get(path).status(), 200);
    }
    eventually("both are in the log", || proxy.directory().read("rate.log") == "/ 0 200 OK\n/ 7168 200 OK\n");
}

#[test]
fn what_is_no_rate_is_refused() {
    for (rows, words) in [
        ("limit_rate fast;", "invalid value"),
        ("limit_rate 1 2;", "invalid number of arguments in \"limit_rate\" directive"),
        ("limit_rate_after -1;", "invalid value"),
        ("limit_rate $nothing;", "unknown \"nothing\" variable"),
    ] {
        let (good, said) = fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:{{port}}; {rows} }} }}"));
        assert!(!good && said.contains(words), "{rows}: {said}");
    }
}
