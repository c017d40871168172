//! A file that does not load changes nothing, and everything that is wrong with it is said.

use fairlead_harness::{Load, Signal, eventually};

use crate::fairlead;

const GOOD: &str = "http { server { listen 127.0.0.1:{port}; location / { return 200 '{text}'; } } }";

const BAD: &str = "http {
    server {
        listen 127.0.0.1:{port};
        lisen 127.0.0.1:1;
        keepalive_timeout never;
        location / { return 200 new; proxy_pass; }
    }
}";

#[test]
fn a_bad_file_changes_nothing_and_every_error_is_printed() {
    let mut proxy = fairlead().set("text", "old").start(GOOD);
    let load = Load::keepalive(proxy.address(), "/", 4);
    let workers = proxy.workers();
    proxy.rewrite(BAD);
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error("unknown directive \"lisen\"");
    if !fairlead().is_nginx() {
        // nginx stops at the first error.
        proxy.wait_for_error("keepalive_timeout");
        proxy.wait_for_error("proxy_pass");
    }
    load.advance(50);
    assert_eq!(proxy.get("/").text(), "old");
    assert_eq!(proxy.workers(), workers, "nobody was restarted");
    let report = load.stop();
    assert!(report.errors.is_empty(), "{report:?}");

    proxy.set("text", "repaired");
    proxy.rewrite(GOOD);
    proxy.signal(Signal::SIGHUP);
    eventually("a good file is taken again", || proxy.get("/").text() == "repaired");
}

#[test]
fn a_port_that_is_taken_refuses_the_whole_file() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = fairlead().set("text", "old").start(GOOD);
    proxy.set("taken", taken.local_addr().unwrap());
    proxy.rewrite(
        "http { server { listen 127.0.0.1:{port}; listen 127.0.0.1:{port_new}; listen {taken}; return 200 new; } }",
    );
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error(&format!("bind() to {} failed (98: Address already in use)", taken.local_addr().unwrap()));
    assert_eq!(proxy.get("/").text(), "old");
}

#[test]
fn a_missing_file_changes_nothing() {
    let proxy = fairlead().set("text", "old").start(GOOD);
    std::fs::remove_file(proxy.directory().join("main.conf")).unwrap();
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for_error("main.conf\" failed (2: No such file or directory)");
    assert_eq!(proxy.get("/").text(), "old");
}
