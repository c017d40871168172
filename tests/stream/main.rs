//! TCP and UDP as a client and a peer see it: the real program, real sockets, one feature a file.
//! Most of these stories are nginx's own behaviour and pass with `FAIRLEAD_UNDER_TEST=/usr/sbin/nginx`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::HashMap;

use fairlead_harness::{Proxy, Setup, Signal};

mod accepted;
mod access;
mod access_log;
mod balance;
mod bulk;
mod checks;
mod drain;
mod faults;
mod geo;
mod half_close;
mod least_time;
mod limit_conn;
mod listen;
mod log;
mod maglev;
mod map;
mod pass;
mod preread;
mod proxy_bind;
mod proxy_protocol;
mod proxy_socket;
mod rates;
mod realip;
mod returns;
mod server_name;
mod session_drop;
mod set;
mod slow_start;
mod split_clients;
mod sticky_source;
mod tcp;
mod timeouts;
mod udp;
mod udp_addresses;
mod udp_bounds;
mod udp_peers;
mod udp_rates;
mod udp_runs;
mod udp_sockets;
mod unix_datagrams;
mod variables;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}

/// What a session's log line says of `variables` (`$a|$b`) when `stream` defines them.
fn values(setup: Setup, stream: &str, variables: &str) -> String {
    let peer = fairlead_harness::TcpPeer::echo();
    let proxy = setup.set("peer", peer.address()).stream(&format!(
        "log_format own '{variables}'; {stream}
         server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    drop(fairlead_harness::connect(proxy.address()));
    proxy.access_lines(1).remove(0)
}

/// Ends the last session as QUIT does; the worker process's counters at its end.
#[track_caller]
fn quit(proxy: &mut Proxy) -> HashMap<String, u64> {
    proxy.stop_with(Signal::SIGQUIT);
    let log = proxy.error_log();
    assert!(log.contains("exiting, 0 connections cut off"), "{log}");
    let (_, totals) = log.rsplit_once("stream totals: ").expect("its totals are in the log");
    let totals = totals.lines().next().unwrap_or_default().split(' ').filter_map(|pair| pair.split_once('='));
    totals.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

/// What `-t` says is wrong with the inside of `stream`.
fn problem(stream: &str) -> String {
    let (valid, told) = fairlead().check(&format!("stream {{ {stream} }}"));
    assert!(!valid, "{stream} is taken\n{told}");
    told
}
