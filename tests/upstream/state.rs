//! `state FILE`: a group's servers from a file; `resolver` in an `upstream`; what is said of mistakes.

use fairlead_harness::{HttpPeer, Signal, TcpPeer, connect, eventually, read_to_end};
use std::io::Write;

use crate::fairlead;

const HTTP: &str = "upstream app { zone app 64k; state {dir}/app.state; }
    server { listen 127.0.0.1:{port}; location / { proxy_pass http://app; } }";

#[test]
fn http_servers_come_from_the_file_and_a_reload_reads_it_again() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let file = format!("server {} weight=3;\nserver {} down;\n", a.address(), b.address());
    let proxy = fairlead().file("app.state", file).http(HTTP);
    assert_eq!(proxy.get("/").text(), "a");
    proxy.directory().write("app.state", format!("server {};\n", b.address()));
    assert_eq!(proxy.get("/").text(), "a", "it is read when the configuration is");
    proxy.signal(Signal::SIGHUP);
    eventually("the new server serves", || proxy.get("/").text() == "b");
}

#[test]
fn stream_servers_come_from_the_file() {
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.write_all(b"here");
    });
    let proxy = fairlead().file("app.state", format!("server {};", peer.address())).stream(
        "upstream app { state {dir}/app.state; }
        server { listen 127.0.0.1:{port}; proxy_pass app; }",
    );
    assert_eq!(read_to_end(&connect(proxy.address())), b"here");
}

#[test]
fn a_file_that_does_not_exist_is_a_group_without_servers() {
    let proxy = fairlead().http(HTTP);
    assert_eq!(proxy.get("/").status(), 502);
    proxy.wait_for_error("no live upstreams while connecting to upstream");
}

#[test]
fn a_mistake_in_the_file_is_shown_where_it_is() {
    let (sound, said) = fairlead()
        .file("app.state", "server 10.0.0.1;\n  server 10.0.0.2 weight=x;\n")
        .check("http { upstream app { state {dir}/app.state; } }");
    assert!(!sound && said.contains("app.state:2:"), "{said}");
    let (sound, said) =
        fairlead().file("app.state", "hash $a;\n").check("http { upstream app { state {dir}/app.state; } }");
    assert!(!sound && said.contains("app.state:1:1") && said.contains("hash"), "{said}");
    let (sound, said) = fairlead()
        .file("app.state", "server 10.0.0.1;")
        .check("stream { upstream app { state {dir}/app.state; server 10.0.0.1:80; } }");
    assert!(!sound && said.contains("\"state\" is incompatible with \"server\""), "{said}");
}

#[test]
fn a_mistake_in_the_only_server_is_one_error() {
    let (sound, said) = fairlead().check("http { upstream app { server 10.0.0.1 weight=x; } }");
    assert!(!sound && said.contains("weight=x") && !said.contains("no servers are inside"), "{said}");
}

#[test]
fn names_at_run_time_need_a_zone_and_a_resolver() {
    let (sound, said) = fairlead().check("stream { resolver 127.0.0.1; upstream app { server a.test:1 resolve; } }");
    assert!(!sound && said.contains("resolving names at run time requires upstream \"app\" to be in shared memory"));
    let (sound, said) = fairlead().check("stream { upstream app { zone app 64k; server a.test:1 resolve; } }");
    assert!(!sound && said.contains("no resolver defined to resolve names at run time in upstream \"app\""), "{said}");
    let (sound, said) = fairlead().check(
        "stream { upstream app { zone app 64k; resolver localhost:5353 status_zone=dns; server a.test:1 resolve; } }",
    );
    assert!(sound, "{said}");
}
