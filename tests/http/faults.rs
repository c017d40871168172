//! Peers and clients that break off, stall and lie: each ends in its line of the access log with
//! nginx's status, gives the peer's place back, and leaves nothing behind.

use fairlead_harness::{Signal, eventually, process};

use crate::fairlead;
use crate::faults_table::{FAULTS, Stage};

/// Rows, the answers to be expected, and the lines.
fn play_all(stage: &Stage) -> Vec<String> {
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let (answers, lines) = stage.play(fault, fault.lines);
        if (&*answers, &*lines) != (fault.answers, fault.lines) {
            let expected = (fault.answers, fault.lines);
            wrong.push(format!("{}: {:?}, not {expected:?}", fault.name, (answers, lines)));
        }
    }
    wrong
}

#[test]
fn each_ends_in_its_line_and_leaves_nothing_behind() {
    let mut stage = Stage::start(fairlead());
    let worker = stage.proxy.workers()[0];
    let wrong = play_all(&stage);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Once more: what is open now is what is always open.
    let open = process::descriptors(worker);
    let wrong = play_all(&stage);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eventually("descriptors are as many as before", || process::descriptors(worker) <= open);
    stage.proxy.stop_with(Signal::SIGQUIT);
    let log = stage.proxy.error_log();
    assert!(log.contains("exiting, 0 connections cut off"), "{log}");
    let totals = log.lines().find(|line| line.contains("http totals: ")).expect("totals");
    assert!(totals.contains(" reading=0 writing=0 waiting=0 leases=0"), "{totals}");
    assert!(!totals.contains("requests=0 ") && !totals.contains("handled=0 "), "{totals}");
}
