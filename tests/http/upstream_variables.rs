//! `$upstream_*`: what the log says about the peers, where Debian's nginx has no such variable.

use fairlead_harness::{Answer, HttpPeer, Port};

use crate::fairlead;

#[test]
fn the_last_peer_is_named_by_address_and_by_its_server_line() {
    let (live, dead) = (HttpPeer::named("live"), Port::reserve());
    let proxy = fairlead().workers(1).set("live", live.address().port()).set("dead", dead.address()).http(
        "log_format last '$upstream_last_addr $upstream_last_server_name $upstream_queue_time $upstream_sticky_status';
        upstream group { server {dead} max_fails=0; server localhost:{live} backup; }
        upstream gone { server 127.0.0.1:1 down; }
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log last;
            location / { proxy_pass http://group; }
            location /gone { proxy_pass http://gone; }
            location /none { return 204; } }",
    );
    assert_eq!(proxy.get("/").text(), "live");
    assert_eq!(proxy.get("/gone").status(), 502);
    assert_eq!(proxy.get("/none").status(), 204);
    let lines = proxy.access_lines(3);
    let first = lines[0].split(' ').collect::<Vec<_>>();
    assert!(first[0].ends_with(&format!(":{}", live.address().port())), "{lines:?}");
    // Two tries, and neither waited or was sticky.
    assert_eq!(first[1..], ["localhost", "-,", "-", "-"]);
    assert_eq!(lines[1..], ["gone - - -", "- - - -"]);
}

#[test]
fn a_header_may_go_by_the_peer_that_is_asked() {
    let peers = [HttpPeer::named("a"), HttpPeer::named("b")];
    let proxy = fairlead().workers(1).set("a", peers[0].address()).set("b", peers[1].address()).http(
        "upstream group { server {a} route=first; server {b} route=second; sticky cookie id; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; proxy_request_dynamic on;
            proxy_set_header Host $upstream_last_server_name; proxy_set_header X-Sticky $upstream_sticky_status; } }",
    );
    proxy.get("/");
    let asked = peers[0].last();
    assert_eq!((asked.header("host"), asked.header("x-sticky")), (Some("127.0.0.1"), Some("NEW")));
}

#[test]
fn times_begin_when_the_peer_was_found() {
    let slow = HttpPeer::start(|_| {
        std::thread::sleep(std::time::Duration::from_millis(120));
        Answer::ok("slow")
    });
    let proxy = fairlead().set("slow", slow.address()).http(
        "log_format times '$upstream_connect_time $upstream_header_time $upstream_response_time';
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log times; location / { proxy_pass http://{slow}; } }",
    );
    assert_eq!(proxy.get("/").text(), "slow");
    let lines = proxy.access_lines(1);
    let times: Vec<f64> = lines[0].split(' ').map(|time| time.parse().unwrap()).collect();
    assert!(times[0] < 0.1 && times[1] >= 0.11 && times[2] >= times[1], "{times:?}");
}
