//! USR1 reopens the logs, so that they can be moved away.

use fairlead_harness::{Load, Signal, eventually};

use crate::fairlead;

#[test]
fn logs_moved_away_are_opened_anew_and_no_line_is_lost() {
    let proxy =
        fairlead().start("http { server { listen 127.0.0.1:{port}; access_log {dir}/access.log; return 200 x; } }");
    let load = Load::keepalive(proxy.address(), "/", 4);
    for number in 0..5 {
        load.advance(50);
        let (access, error) = (proxy.directory().join("access.log"), proxy.directory().join("error.log"));
        std::fs::rename(&access, proxy.directory().join(&format!("access.{number}"))).unwrap();
        std::fs::rename(&error, proxy.directory().join(&format!("error.{number}"))).unwrap();
        proxy.signal(Signal::SIGUSR1);
        eventually("new files", || access.exists() && error.exists());
        eventually("lines go to the new file", || !proxy.access_log().is_empty());
    }
    let report = load.stop();
    assert!(report.errors.is_empty(), "{report:?}");
    let lines = || {
        let old: usize = (0..5).map(|number| proxy.directory().read(&format!("access.{number}")).lines().count()).sum();
        old + proxy.access_log().len()
    };
    eventually("one line for each request", || lines() == report.requests);
}
