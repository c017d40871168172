//! USR2 starts the program anew on the same sockets; QUIT lets the old one finish.

use std::io::Write;

use fairlead_harness::{HttpPeer, Load, Signal, TcpPeer, connect, eventually, process, read_line};

use crate::fairlead;

#[test]
fn an_upgrade_refuses_nobody() {
    let (peer, tcp) = (HttpPeer::named("x"), TcpPeer::named("a"));
    let mut proxy = fairlead().set("peer", peer.address()).set("tcp", tcp.address()).start(
        "http { access_log off; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } } }
        stream { server { listen 127.0.0.1:{port_tcp}; proxy_pass {tcp}; } }",
    );
    let load = Load::new_connections(proxy.address(), "/", 4);
    let mut session = connect(proxy.port("port_tcp"));
    writeln!(session, "before").unwrap();
    assert_eq!(read_line(&session), "a: before");

    let old = proxy.pid();
    proxy.signal(Signal::SIGUSR2);
    eventually("a new master has the pid file", || {
        proxy.pid_file().is_some_and(|pid| pid != old && process::is_running(pid))
    });
    let new = proxy.pid_file().unwrap();
    eventually("the new master has its worker", || !process::children(new).is_empty());
    load.advance(50);
    proxy.signal(Signal::SIGQUIT);
    load.advance(50);
    writeln!(session, "still here").unwrap();
    assert_eq!(read_line(&session), "a: still here", "the old worker finishes what it began");
    drop(session);
    proxy.follow_the_new_master();
    load.advance(50);
    let report = load.stop();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    proxy.stop();
}
