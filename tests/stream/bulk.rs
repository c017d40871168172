//! Streams of bytes: whole and in order whatever their size, and never more of them here than the other side is slow.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fairlead_harness::{Proxy, TcpPeer, connect, eventually, process, read_exactly};

use crate::{fairlead, quit};

const MIB: usize = 1 << 20;

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(byte).collect()
}

/// A peer that sends a pattern after the first byte it gets, and counts what it could.
fn speaks(size: usize) -> (TcpPeer, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let bytes = pattern(251 * 4096);
    let peer = TcpPeer::start(move |mut stream| {
        let _ = stream.read(&mut [0; 1]);
        let mut at = 0;
        while at < size {
            let begin = at % bytes.len();
            let end = bytes.len().min(begin + size - at);
            match stream.write(&bytes[begin..end]) {
                Ok(count @ 1..) => (at, _) = (at + count, counter.fetch_add(count, Ordering::Relaxed)),
                _ => return,
            }
        }
    });
    (peer, sent)
}

fn start(peer: &TcpPeer, directives: &str) -> Proxy {
    fairlead().workers(1).set("peer", peer.address()).stream(&format!(
        "log_format counts '$bytes_sent $upstream_bytes_received $status';
        server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log counts; {directives} }}"
    ))
}

fn ask(proxy: &Proxy) -> TcpStream {
    let mut stream = connect(proxy.address());
    stream.write_all(b"?").unwrap();
    stream
}

/// Reads to the end; where the first wrong byte is, and how many there were.
fn verify(mut stream: TcpStream) -> (Option<usize>, usize) {
    let (mut buffer, mut at, mut wrong) = (vec![0; 300_000], 0, None);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let differs = (at..at + count).zip(&buffer).find(|(at, got)| byte(*at) != **got).map(|(at, _)| at);
        wrong = wrong.or(differs);
        at += count;
    }
    (wrong, at)
}

/// Pipes the program's worker has open.
fn pipes(proxy: &Proxy) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", proxy.workers()[0])).unwrap();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count() / 2
}

#[test]
fn a_stream_arrives_whole_whatever_the_buffer() {
    const SIZE: usize = 80 * MIB + 17;
    let (peer, _) = speaks(SIZE);
    for buffer in ["1k", "16k", "64k", "1m"] {
        let proxy = start(&peer, &format!("proxy_buffer_size {buffer};"));
        assert_eq!(verify(ask(&proxy)), (None, SIZE), "{buffer}");
        assert_eq!(proxy.access_lines(1), [format!("{SIZE} {SIZE} 200")], "{buffer}");
    }
}

#[test]
fn a_reader_that_stops_stops_the_peer() {
    const SIZE: usize = 1024 * MIB;
    let (peer, sent) = speaks(SIZE);
    let proxy = start(&peer, "");
    let stream = ask(&proxy);
    assert_eq!(read_exactly(&stream, 1), [byte(0)]);
    let mut before = 0;
    // Both connections' windows grow for a while.
    eventually("the peer cannot send any more", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = sent.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now
    });
    assert!(before < 128 * MIB, "{before}");
    drop(stream);
    assert_eq!(proxy.access_lines(1).len(), 1);
}

#[test]
fn slow_readers_hold_little_and_what_they_held_comes_back() {
    const SIZE: usize = 8 * MIB;
    const READERS: usize = 40;
    let (peer, sent) = speaks(SIZE);
    let proxy = start(&peer, "");
    assert_eq!(verify(ask(&proxy)), (None, SIZE));
    let worker = proxy.workers()[0];
    let before = process::resident(worker);
    let streams: Vec<TcpStream> = (0..READERS).map(|_| ask(&proxy)).collect();
    streams.iter().for_each(|stream| assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1));
    let moved = || sent.load(Ordering::Relaxed);
    eventually("streams are under way", || moved() > (READERS + SIZE / MIB) * MIB);
    // Whatever is stuck is in sockets and pipes, or at most a buffer each.
    let grown = process::resident(worker).saturating_sub(before);
    assert!(grown < 16 * MIB as u64, "{grown}");
    let readers: Vec<_> = streams.into_iter().map(|stream| std::thread::spawn(move || verify(stream))).collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), (None, SIZE));
    }
    assert_eq!(proxy.access_lines(READERS + 1).len(), READERS + 1);
    assert!(pipes(&proxy) <= 20, "{} pipes are left open", pipes(&proxy));
}

#[test]
fn a_stream_cut_off_in_the_middle_leaves_nothing_behind() {
    let (peer, _) = speaks(1024 * MIB);
    let proxy = start(&peer, "");
    for _ in 0..60 {
        let stream = ask(&proxy);
        read_exactly(&stream, MIB);
        drop(stream);
    }
    let lines = proxy.access_lines(60);
    assert!(lines.iter().all(|line| line.ends_with(" 200")), "{lines:?}");
    assert!(pipes(&proxy) <= 20, "{} pipes are left open", pipes(&proxy));
}

#[test]
fn small_exchanges_and_streams_take_turns_in_one_session() {
    let peer = TcpPeer::echo();
    let proxy = start(&peer, "proxy_half_close on;");
    let mut stream = connect(proxy.address());
    for round in 0..6 {
        stream.write_all(b"small").unwrap();
        assert_eq!(read_exactly(&stream, 5), b"small");
        let bytes = pattern(3 * MIB + round);
        let (mut writer, sent) = (stream.try_clone().unwrap(), bytes.clone());
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        assert!(read_exactly(&stream, bytes.len()) == bytes, "round {round}");
        writing.join().unwrap();
    }
    stream.shutdown(Shutdown::Both).unwrap();
    assert!(proxy.access_lines(1)[0].ends_with(" 200"));
}

#[test]
fn who_gets_no_pipe_is_copied_for() {
    const STREAMS: usize = 16;
    const SIZE: usize = 8 * MIB;
    let (peer, _) = speaks(SIZE);
    let mut proxy = fairlead()
        .workers(1)
        .set("peer", peer.address())
        .main("worker_rlimit_nofile 64;")
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; }");
    let mut streams: Vec<TcpStream> = (0..STREAMS).map(|_| connect(proxy.address())).collect();
    eventually("every session has its peer", || peer.accepted() == STREAMS);
    streams.iter_mut().for_each(|stream| stream.write_all(b"?").unwrap());
    streams.into_iter().for_each(|stream| assert_eq!(verify(stream), (None, SIZE)));
    let totals = quit(&mut proxy);
    assert!(totals["pipes_refused"] > 0, "{totals:?}");
    assert_eq!(totals["sent"], (STREAMS * SIZE) as u64);
}

#[test]
fn old_names_of_the_buffer_still_mean_it() {
    for name in ["proxy_downstream_buffer", "proxy_upstream_buffer"] {
        let (passed, said) = fairlead()
            .set("name", name)
            .check("stream { server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:9; {name} 32k; } }");
        assert!(passed, "{said}");
        let words = format!("the \"{name}\" directive is deprecated, use the \"proxy_buffer_size\" directive instead");
        assert!(said.contains(&words), "{said}");
    }
}
