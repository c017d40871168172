//! A worker process that dies is replaced; the sockets stay open meanwhile.

use std::time::{Duration, Instant};

use fairlead_harness::{HttpPeer, Load, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fairlead;

#[test]
fn nobody_is_refused_while_a_killed_worker_is_replaced() {
    let peer = HttpPeer::named("x");
    let proxy = fairlead()
        .set("peer", peer.address())
        .start("http { access_log off; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } } }");
    let load = Load::new_connections(proxy.address(), "/", 8);
    load.advance(100);
    for _ in 0..5 {
        let workers = proxy.workers();
        for worker in &workers {
            kill(Pid::from_raw(*worker as i32), Signal::SIGKILL).unwrap();
        }
        let start = Instant::now();
        assert_eq!(proxy.get("/").status(), 200);
        let waited = start.elapsed();
        // 100 ms on a machine of its own; here other tests run at the same time.
        assert!(waited < Duration::from_secs(2), "served again after {waited:?}");
        eventually("other workers are there", || !proxy.workers().is_empty() && proxy.workers() != workers);
        load.advance(100);
    }
    let report = load.stop();
    let refused: Vec<_> = report.errors.iter().filter(|error| error.starts_with("connect")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    // What a killed process was answering at that moment is lost: at most one request for each client and kill.
    assert!(report.errors.len() <= 8 * 5, "{} errors: {:?}", report.errors.len(), report.errors);
    assert!(proxy.error_log().contains("exited on signal 9"), "{}", proxy.error_log());
}
