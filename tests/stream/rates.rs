//! `proxy_upload_rate` and `proxy_download_rate`: each session has its rate to itself, in either direction.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use fairlead_harness::{Proxy, TcpPeer, connect, read_exactly, read_to_end};

use crate::fairlead;

fn speaks(size: usize) -> TcpPeer {
    TcpPeer::start(move |mut stream| {
        let _ = stream.write_all(&vec![b'x'; size]);
        let _ = stream.read(&mut [0; 1]);
    })
}

fn start(peer: &TcpPeer, directives: &str) -> Proxy {
    fairlead()
        .set("peer", peer.address())
        .stream(&format!("server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; {directives} }}"))
}

/// How long a new session takes to bring this many bytes.
fn download(proxy: &Proxy, size: usize) -> Duration {
    let start = Instant::now();
    let stream = connect(proxy.address());
    assert_eq!(read_exactly(&stream, size).len(), size);
    start.elapsed()
}

fn between(least: u64, most: u64) -> std::ops::Range<Duration> {
    Duration::from_millis(least)..Duration::from_millis(most)
}

#[test]
fn a_download_takes_the_time_its_rate_says() {
    const SIZE: usize = 250_000;
    let peer = speaks(SIZE);
    let proxy = start(&peer, "proxy_download_rate 100k;");
    let took = download(&proxy, SIZE);
    assert!(between(1900, 3500).contains(&took), "{took:?}");
}

#[test]
fn each_session_has_the_rate_to_itself() {
    const SIZE: usize = 150_000;
    let peer = speaks(SIZE);
    let proxy = start(&peer, "proxy_download_rate 100k;");
    let took = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..4).map(|_| scope.spawn(|| download(&proxy, SIZE))).collect();
        sessions.into_iter().map(|session| session.join().unwrap()).max().unwrap()
    });
    assert!(between(900, 2800).contains(&took), "{took:?}");
}

#[test]
fn a_rate_of_megabytes_is_kept_as_well() {
    const SIZE: usize = 30 << 20;
    let peer = speaks(SIZE);
    let proxy = start(&peer, "proxy_download_rate 15m;");
    let took = download(&proxy, SIZE);
    assert!(between(1000, 4000).contains(&took), "{took:?}");
}

#[test]
fn an_upload_has_a_rate_of_its_own_from_a_variable() {
    let peer = TcpPeer::start(|mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = write!(stream, "{}", all.len());
    });
    // Some tens of thousands of bytes a second.
    let proxy = start(&peer, "proxy_upload_rate $server_port; proxy_half_close on;");
    let size = usize::from(proxy.address().port()) * 5 / 2;
    let began = Instant::now();
    let mut stream = connect(proxy.address());
    stream.write_all(&vec![b'x'; size]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream), size.to_string().into_bytes());
    let took = began.elapsed();
    assert!(between(1900, 3500).contains(&took), "{took:?}");
}

#[test]
fn what_is_no_size_is_no_limit_and_said() {
    const SIZE: usize = 1_000_000;
    let peer = speaks(SIZE);
    let proxy = start(&peer, "proxy_download_rate $remote_addr;");
    let took = download(&proxy, SIZE);
    assert!(took < Duration::from_secs(2), "{took:?}");
    proxy.wait_for_error("invalid size \"127.0.0.1\" while connecting to upstream");
}

#[test]
fn a_session_that_rests_for_its_rate_does_not_time_out() {
    let peer = speaks(2500);
    let proxy = start(&peer, "proxy_download_rate 1000; proxy_timeout 300ms;");
    let took = download(&proxy, 2500);
    assert!(between(1900, 3500).contains(&took), "{took:?}");
    // Nothing rests any more: the time of silence runs again.
    let quiet = start(&peer, "proxy_download_rate 1m; proxy_timeout 300ms;");
    assert_eq!(read_to_end(&connect(quiet.address())).len(), 2500);
}

#[test]
fn a_rate_is_a_size_or_a_variable() {
    let check = |rate: &str| {
        fairlead()
            .set("rate", rate)
            .check("stream { server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:9; proxy_upload_rate {rate}; } }")
    };
    for good in ["0", "100", "10k", "1m", "$connection"] {
        assert!(check(good).0, "{good}");
    }
    let (passed, said) = check("fast");
    assert!(!passed && said.contains("\"proxy_upload_rate\" directive invalid value"), "{said}");
    assert!(!check("$nosuch").0);
}
