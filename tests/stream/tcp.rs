//! One TCP session: bytes pass both ways unchanged, and each end's close reaches the other.

use std::io::{Read, Write};
use std::net::Shutdown;

use fairlead_harness::{Proxy, TcpPeer, connect, eventually, process, read_exactly, read_line, read_to_end};

use crate::fairlead;

fn start(peer: &TcpPeer) -> Proxy {
    fairlead()
        .set("peer", peer.address())
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_half_close on; }")
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

#[test]
fn small_exchanges_pass_at_once() {
    let peer = TcpPeer::named("a");
    let proxy = start(&peer);
    let mut stream = connect(proxy.address());
    for round in 0..200 {
        writeln!(stream, "round {round}").unwrap();
        assert_eq!(read_line(&stream), format!("a: round {round}"));
    }
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn the_peer_may_speak_first() {
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.write_all(b"220 ready\n");
        let _ = stream.read(&mut [0; 1]);
    });
    let proxy = start(&peer);
    assert_eq!(read_line(&connect(proxy.address())), "220 ready");
}

#[test]
fn bulk_passes_whole_both_ways_at_the_same_time() {
    const SIZE: usize = 48 << 20;
    let peer = TcpPeer::echo();
    let proxy = start(&peer);
    let mut stream = connect(proxy.address());
    let mut reader = stream.try_clone().unwrap();
    let received = std::thread::spawn(move || {
        let (mut buffer, mut at, mut right) = (vec![0; 65536], 0_usize, true);
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            right &= buffer[..count].iter().enumerate().all(|(offset, byte)| *byte == ((at + offset) % 251) as u8);
            at += count;
        }
        (at, right)
    });
    stream.write_all(&pattern(SIZE)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(received.join().unwrap(), (SIZE, true));
}

#[test]
fn a_client_that_has_finished_still_gets_the_answer() {
    let peer = TcpPeer::start(|mut stream| {
        let mut question = Vec::new();
        let _ = stream.read_to_end(&mut question);
        let _ = stream.write_all(&[b"you said: ", &question[..]].concat());
    });
    let proxy = start(&peer);
    let mut stream = connect(proxy.address());
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream), b"you said: question");
}

#[test]
fn a_peer_that_has_finished_ends_the_session_after_its_last_byte() {
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.write_all(&pattern(1_000_000));
    });
    let proxy = start(&peer);
    assert!(read_to_end(&connect(proxy.address())) == pattern(1_000_000));
}

#[test]
fn a_client_that_leaves_frees_the_peer() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer);
    let mut stream = connect(proxy.address());
    stream.write_all(b"hi").unwrap();
    assert_eq!(read_exactly(&stream, 2), b"hi");
    let open = || open_sockets(&proxy);
    let during = open();
    drop(stream);
    eventually("the proxy closes both sockets", || open() + 2 <= during);
}

fn open_sockets(proxy: &Proxy) -> usize {
    let count = |worker| std::fs::read_dir(format!("/proc/{worker}/fd")).map_or(0, Iterator::count);
    proxy.workers().into_iter().map(count).sum()
}

#[test]
fn many_sessions_live_side_by_side() {
    let peer = TcpPeer::named("a");
    let proxy = start(&peer);
    let mut streams: Vec<_> = (0..300).map(|_| connect(proxy.address())).collect();
    for round in 0..3 {
        for (number, stream) in streams.iter_mut().enumerate() {
            writeln!(stream, "{round} {number}").unwrap();
        }
        for (number, stream) in streams.iter().enumerate() {
            assert_eq!(read_line(stream), format!("a: {round} {number}"));
        }
    }
    assert_eq!(peer.accepted(), 300);
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    let peer = TcpPeer::start(|mut stream| {
        let block = vec![b'x'; 65536];
        for _ in 0..1024 {
            if stream.write_all(&block).is_err() {
                return;
            }
        }
    });
    let proxy = start(&peer);
    assert_eq!(read_to_end(&connect(proxy.address())).len(), 64 << 20);
    let peak = proxy.workers().into_iter().map(process::peak_resident).max().unwrap();
    assert!(peak < 32 << 20, "{peak} bytes of memory for 64 MiB that passed");
}
