//! `proxy_half_close`: whether the end of one direction leaves the other one open.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use fairlead_harness::{Proxy, TcpPeer, connect, read_exactly, read_to_end};

use crate::fairlead;

const BIG: usize = 20 << 20;

fn start(peer: SocketAddr, half_close: &str) -> Proxy {
    fairlead()
        .set("peer", peer)
        .set("half", half_close)
        .stream("server { listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_half_close {half}; proxy_timeout 5s; }")
}

/// Says how much it got once it has it all, and then a lot.
fn answers_at_the_end() -> TcpPeer {
    TcpPeer::start(|mut stream| {
        let mut question = Vec::new();
        let _ = stream.read_to_end(&mut question);
        let _ = write!(stream, "{:010}", question.len());
        let _ = stream.write_all(&vec![b'a'; BIG]);
    })
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

#[test]
fn on_the_answer_comes_after_the_question_has_ended() {
    let peer = answers_at_the_end();
    let proxy = start(peer.address(), "on");
    let mut stream = connect(proxy.address());
    stream.write_all(&vec![b'q'; BIG]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(&stream);
    assert_eq!((&answer[..10], answer.len()), (format!("{BIG:010}").as_bytes(), BIG + 10));
    let (up, down) = (BIG, BIG + 10);
    proxy.wait_for_error(&format!(
        "upstream disconnected, bytes from/to client:{up}/{down}, bytes from/to upstream:{down}/{up}"
    ));
}

#[test]
fn on_the_peer_may_end_first() {
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.write_all(b"220 ready");
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"late words");
    });
    let proxy = start(peer.address(), "on");
    let mut stream = connect(proxy.address());
    assert_eq!(read_to_end(&stream), b"220 ready");
    stream.write_all(b"late words").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    proxy.wait_for_error("client disconnected, bytes from/to client:10/9, bytes from/to upstream:9/10");
}

#[test]
fn off_a_client_that_has_finished_ends_the_session() {
    let peer = answers_at_the_end();
    let proxy = start(peer.address(), "off");
    let mut stream = connect(proxy.address());
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&stream).is_empty());
    proxy.wait_for_error("client disconnected, bytes from/to client:8/0, bytes from/to upstream:0/8");
}

#[test]
fn off_all_that_a_side_sent_before_its_end_still_arrives() {
    let peer = TcpPeer::start(|mut stream| {
        let _ = stream.read(&mut [0; 1]);
        let _ = stream.write_all(&vec![b'a'; BIG]);
    });
    let proxy = start(peer.address(), "off");
    let mut stream = connect(proxy.address());
    stream.write_all(b"?").unwrap();
    // Time for the end to arrive while most of it is still on its way.
    assert_eq!(read_exactly(&stream, 1), b"a");
    assert_eq!(read_to_end(&stream).len(), BIG - 1);
    proxy.wait_for_error(&format!("upstream disconnected, bytes from/to client:1/{BIG}"));
}

#[test]
fn a_reset_is_an_end_with_a_line_of_its_own() {
    // Its own socket: a reset takes the last descriptor of it being closed.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = start(listener.local_addr().unwrap(), "off");
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        stream.write_all(b"last words").unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        reset(stream);
    });
    let mut stream = connect(proxy.address());
    stream.write_all(b"one").unwrap();
    assert_eq!(read_exactly(&stream, 10), b"last words");
    stream.write_all(b"two").unwrap();
    peer.join().unwrap();
    assert!(read_to_end(&stream).is_empty());
    proxy.wait_for_error("recv() failed (104: Connection reset by peer) while proxying and reading from upstream");
    proxy.wait_for_error("upstream disconnected, bytes from/to client:6/10, bytes from/to upstream:10/6");
}

#[test]
fn a_client_that_resets_ends_its_session() {
    let peer = TcpPeer::echo();
    let proxy = start(peer.address(), "off");
    let mut stream = connect(proxy.address());
    stream.write_all(b"hi").unwrap();
    assert_eq!(read_exactly(&stream, 2), b"hi");
    reset(stream);
    proxy.wait_for_error("recv() failed (104: Connection reset by peer) while proxying and reading from client");
    proxy.wait_for_error("client disconnected, bytes from/to client:2/2, bytes from/to upstream:2/2");
}
