//! What goes wrong on both sides at once: nothing leaks, nothing spins, and who behaves is served.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use fairlead_harness::{
    Port, Proxy, TcpPeer, connect, eventually, process, read_exactly, read_line, read_to_end, reset,
};

use crate::{fairlead, quit};

/// Processor time of the worker process while `time` passes.
fn cpu_during(proxy: &Proxy, time: Duration) -> Duration {
    let worker = proxy.workers()[0];
    let (before, start) = (process::cpu_time(worker), Instant::now());
    eventually("time passes", || start.elapsed() >= time);
    process::cpu_time(worker) - before
}

/// A peer for each way to misbehave.
fn bad_peers() -> [TcpPeer; 4] {
    [
        TcpPeer::start(|stream| reset(&stream)),
        TcpPeer::start(|mut stream| {
            let _ = stream.write_all(b"half an ans");
            let _ = stream.read(&mut [0; 1]);
            reset(&stream);
        }),
        TcpPeer::start(|mut stream| {
            // Says that it has finished and goes on reading.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }),
        TcpPeer::start(|mut stream| {
            for byte in b"slow" {
                std::thread::sleep(Duration::from_millis(50));
                let _ = stream.write_all(&[*byte]);
            }
        }),
    ]
}

/// One client of each kind.
fn bad_clients(proxy: &Proxy) {
    drop(connect(proxy.address()));
    reset(&connect(proxy.address()));
    let mut half = connect(proxy.address());
    let _ = half.write_all(b"half a que");
    reset(&half);
    let mut closing = connect(proxy.address());
    let _ = closing.write_all(b"x");
    let _ = closing.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    let _ = closing.read_to_end(&mut rest);
}

#[test]
fn sessions_that_break_in_every_way_leave_nothing_behind() {
    let (peers, refuses) = (bad_peers(), Port::reserve());
    let mut setup = fairlead().workers(1).set("refuses", refuses.address());
    for (number, peer) in peers.iter().enumerate() {
        setup = setup.set(&format!("peer{number}"), peer.address());
    }
    let mut proxy = setup.stream(
        "log_format own '$status';
         limit_conn_zone $remote_addr zone=clients:64k;
         upstream group { server {refuses} max_fails=0; server {peer0} max_fails=0; server {peer1} max_fails=0;
                          server {peer2} max_fails=0; server {peer3} max_fails=0; }
         server { listen 127.0.0.1:{port}; proxy_pass group; proxy_timeout 5s; proxy_half_close on; limit_conn clients 1000;
                  access_log {dir}/access.log own; }",
    );
    let worker = proxy.workers()[0];
    bad_clients(&proxy);
    proxy.access_lines(4);
    let idle = process::descriptors(worker);
    const ROUNDS: usize = 40;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..ROUNDS / 4).for_each(|_| bad_clients(&proxy)));
        }
    });
    // A line for each, and every descriptor is back.
    proxy.access_lines(4 + 4 * ROUNDS);
    eventually("descriptors are given back", || process::descriptors(worker) <= idle);
    let used = cpu_during(&proxy, Duration::from_secs(1));
    assert!(used < Duration::from_millis(200), "{used:?} of a second with nothing to do");
    // A session that was counted in and not out would keep the worker from its end.
    let lines = proxy.access_log();
    let totals = quit(&mut proxy);
    assert_eq!((totals["leases"], totals["zones"]), (0, 0), "{totals:?}");
    assert_eq!(totals["ok"], lines.iter().filter(|line| *line == "200").count() as u64);
    assert_eq!(totals["server_errors"], lines.iter().filter(|line| line.starts_with('5')).count() as u64);
    assert_eq!(totals["ok"] + totals["client_errors"] + totals["server_errors"], lines.len() as u64);
}

#[test]
fn one_byte_at_a_time_passes_at_once_and_holds_nobody_up() {
    let peer = TcpPeer::named("a");
    let proxy = fairlead()
        .workers(1)
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_timeout 5s; }");
    let mut slow = connect(proxy.address());
    for letter in b"slow\n" {
        slow.write_all(&[*letter]).unwrap();
        let mut quick = connect(proxy.address());
        quick.write_all(b"quick\n").unwrap();
        assert_eq!(read_line(&quick), "a: quick");
    }
    assert_eq!(read_line(&slow), "a: slow");
}

#[test]
fn a_full_descriptor_table_spins_nowhere_and_accepting_resumes() {
    let peer = TcpPeer::echo();
    let proxy = fairlead()
        .workers(1)
        .set("peer", peer.address())
        .main("worker_rlimit_nofile 64;")
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; }");
    let clients: Vec<TcpStream> = (0..100).map(|_| connect(proxy.address())).collect();
    proxy.wait_for_error("accept4() failed (24: Too many open files)");
    let used = cpu_during(&proxy, Duration::from_secs(2));
    assert!(used < Duration::from_millis(400), "{used:?} of two seconds with nothing to do");
    let complaints = proxy.error_log().matches("accept4() failed").count();
    assert!(complaints < 40, "{complaints} lines about one full table");
    let mut waiting = connect(proxy.address());
    waiting.write_all(b"still here").unwrap();
    drop(clients);
    assert_eq!(read_exactly(&waiting, 10), b"still here");
}

#[test]
fn a_client_that_stops_reading_costs_bounded_memory() {
    // More than all socket buffers on the way together, many times over.
    const SIZE: usize = 64 << 20;
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.write_all(&vec![7; SIZE]);
    });
    let proxy = fairlead()
        .workers(1)
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; }");
    let worker = proxy.workers()[0];
    // The first one also pays for what the worker needs once.
    assert_eq!(read_to_end(&connect(proxy.address())).len(), SIZE);
    let before = process::resident(worker);
    let stuck: Vec<TcpStream> = (0..32).map(|_| connect(proxy.address())).collect();
    eventually("all are served", || peer.accepted() == 33);
    let used = cpu_during(&proxy, Duration::from_secs(1));
    assert!(used < Duration::from_millis(700), "{used:?} of a second while everybody is stuck");
    let grown = process::resident(worker).saturating_sub(before);
    assert!(grown < 32 * (64 << 10) + (4 << 20), "{grown} bytes for 32 sessions that are stuck");
    let one = stuck.into_iter().next().unwrap();
    assert_eq!(read_to_end(&one).len(), SIZE);
}
