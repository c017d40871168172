//! Claims about relays, over real loopback sockets.

mod transfers;

use super::*;
use crate::clock::tick;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

const MINUTE: Duration = Duration::from_secs(60);

/// The far ends of a relay in progress, and its outcome.
struct Bench {
    client: TcpStream,
    peer: TcpStream,
    relayed: JoinHandle<(Relayed, Option<(Direction, io::Error)>)>,
}

struct Options {
    idle: Duration,
    half_close: bool,
    to_peer: &'static [u8],
    to_client: &'static [u8],
}

const PLAIN: Options = Options { idle: MINUTE, half_close: false, to_peer: b"", to_client: b"" };

async fn pair() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (outside, inside) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (outside.unwrap(), Stream::adopt(inside.unwrap().0.into_std().unwrap().into()).unwrap())
}

impl Bench {
    async fn start(options: Options) -> Bench {
        let ((client, near), (peer, far)) = tokio::join!(pair(), pair());
        let relayed = spawn_local(async move {
            let scratch = Rc::new(Scratch::default());
            let (to_peer, to_client) = (options.to_peer.to_vec(), options.to_client.to_vec());
            let Options { idle, half_close, .. } = options;
            let limits = Limits::default();
            let tunnel =
                Tunnel { client: &near, peer: &far, scratch: &scratch, idle, half_close, limits, to_peer, to_client };
            let mut relay = tunnel.run();
            let relayed = (&mut relay).await;
            assert_eq!(scratch.pipes.in_use(), 0, "an ended relay holds no pipe");
            (relayed, relay.take_fault())
        });
        Bench { client, peer, relayed }
    }

    async fn outcome(self) -> Relayed {
        self.relayed.await.unwrap().0
    }
}

fn tunnel<'a>(client: &'a Stream, peer: &'a Stream, scratch: &'a Scratch) -> Tunnel<'a> {
    let (limits, to_peer, to_client) = (Limits::default(), Vec::new(), Vec::new());
    Tunnel { client, peer, scratch, idle: MINUTE, half_close: true, limits, to_peer, to_client }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(MINUTE, test).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, limited);
}

/// Bytes that differ from place to place, so that a lost or doubled block shows.
fn pattern(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

async fn read_exactly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn copies_bulk_both_ways_at_once() {
    run(async {
        let mut bench = Bench::start(Options { half_close: true, ..PLAIN }).await;
        let (up, down) = (pattern(5_000_000, 1), pattern(7_000_000, 2));
        let (mut client_read, mut client_write) = bench.client.split();
        let (mut peer_read, mut peer_write) = bench.peer.split();
        let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
        let (a, b, c, d) = tokio::join!(
            async { (client_write.write_all(&up).await, client_write.shutdown().await) },
            async { (peer_write.write_all(&down).await, peer_write.shutdown().await) },
            peer_read.read_to_end(&mut got_up),
            client_read.read_to_end(&mut got_down),
        );
        assert!(a.0.is_ok() && b.0.is_ok() && c.is_ok() && d.is_ok());
        assert!(got_up == up && got_down == down);
        let relayed = bench.outcome().await;
        assert_eq!((relayed.to_peer, relayed.to_client), (5_000_000, 7_000_000));
        assert_eq!((relayed.from_client, relayed.from_peer), (5_000_000, 7_000_000));
        assert!(matches!(relayed.end, End::Closed(_)));
    });
}

#[test]
fn pending_bytes_go_first_and_count() {
    run(async {
        let mut bench = Bench::start(Options { to_peer: b"PROXY", to_client: b"hello ", ..PLAIN }).await;
        bench.client.write_all(b" early").await.unwrap();
        bench.peer.write_all(b"world").await.unwrap();
        assert_eq!(read_exactly(&mut bench.peer, 11).await, b"PROXY early");
        assert_eq!(read_exactly(&mut bench.client, 11).await, b"hello world");
        bench.client.shutdown().await.unwrap();
        let relayed = bench.outcome().await;
        assert_eq!((relayed.to_peer, relayed.to_client), (11, 11));
        assert_eq!((relayed.from_client, relayed.from_peer), (6, 5));
    });
}

#[test]
fn half_closed_relays_go_on_the_other_way() {
    run(async {
        let mut bench = Bench::start(Options { half_close: true, ..PLAIN }).await;
        bench.client.write_all(b"question").await.unwrap();
        bench.client.shutdown().await.unwrap();
        let mut question = Vec::new();
        bench.peer.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        bench.peer.write_all(b"answer").await.unwrap();
        assert_eq!(read_exactly(&mut bench.client, 6).await, b"answer");
        assert!(!bench.relayed.is_finished());
        bench.peer.shutdown().await.unwrap();
        assert_eq!(bench.client.read(&mut [0; 8]).await.unwrap(), 0);
        let relayed = bench.outcome().await;
        assert_eq!((relayed.to_peer, relayed.to_client), (8, 6));
        assert!(matches!(relayed.end, End::Closed(_)));
    });
}

#[test]
fn without_half_close_the_end_of_one_side_ends_all_once_its_bytes_are_out() {
    run(async {
        let mut bench = Bench::start(PLAIN).await;
        let bytes = pattern(3_000_000, 3);
        // Nobody reads yet: the end arrives while much of it is still on its way.
        let (mut peer, sent) = (bench.peer, bytes.clone());
        let sending = spawn_local(async move {
            peer.write_all(&sent).await.unwrap();
            peer.shutdown().await.unwrap();
            peer
        });
        let mut got = Vec::new();
        bench.client.read_to_end(&mut got).await.unwrap();
        assert!(got == bytes);
        let (relayed, _) = bench.relayed.await.unwrap();
        assert_eq!((relayed.to_peer, relayed.to_client), (0, 3_000_000));
        assert!(matches!(relayed.end, End::Closed(Direction::ToClient)));
        assert_eq!(sending.await.unwrap().read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn a_reader_that_stops_stops_the_writer() {
    run(async {
        let ((mut client, near), (mut peer, far)) = tokio::join!(pair(), pair());
        let scratch = Scratch::default();
        let mut relay = tunnel(&near, &far, &scratch).run();
        let bytes = pattern(1 << 20, 4);
        let mut accepted = 0;
        // Until the kernel's buffers are full and the relay holds a rest: nothing moves any more.
        for still in 0..50 {
            let before = accepted;
            while let Ok(count) = client.try_write(&bytes) {
                accepted += count;
            }
            let polled = tokio::time::timeout(Duration::from_millis(2), &mut relay).await;
            assert!(polled.is_err(), "ended");
            if before == accepted && still > 2 && relay.to_peer.holds() > 0 {
                break;
            }
        }
        assert!(relay.to_peer.holds() > 0);
        assert_eq!(scratch.pipes.in_use(), 1, "what streams is stuck in a pipe");
        assert!(accepted < 64 << 20);
        client.shutdown().await.unwrap();
        let mut total = 0;
        let mut buffer = vec![0; 1 << 16];
        let drained = async {
            loop {
                match peer.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => total += count,
                }
            }
            peer.shutdown().await.unwrap();
        };
        let (relayed, ()) = tokio::join!(&mut relay, drained);
        assert_eq!(total, accepted);
        assert_eq!(relayed.to_peer, accepted as u64);
        assert_eq!((relay.to_peer.holds(), scratch.pipes.in_use()), (0, 0), "an idle session owns nothing");
    });
}

#[test]
fn nothing_moving_for_the_idle_time_ends_the_relay() {
    run(async {
        const IDLE: Duration = Duration::from_millis(120);
        let mut bench = Bench::start(Options { idle: IDLE, ..PLAIN }).await;
        let start = tick();
        // Each byte comes before the idle time is over, all of them together take longer.
        for _ in 0..6 {
            bench.client.write_all(b"x").await.unwrap();
            assert_eq!(read_exactly(&mut bench.peer, 1).await, b"x");
            tokio::time::sleep(IDLE / 4).await;
        }
        assert!(tick().since(start) > IDLE);
        assert!(!bench.relayed.is_finished());
        let last = tick();
        let relayed = bench.outcome().await;
        assert!(tick().since(last) >= IDLE / 2);
        assert!(matches!(relayed.end, End::TimedOut));
        assert_eq!(relayed.to_peer, 6);
    });
}

#[test]
fn a_reset_names_the_side_that_sent_it() {
    run(async {
        let bench = Bench::start(Options { half_close: true, ..PLAIN }).await;
        let Bench { mut client, mut peer, relayed } = bench;
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        peer.write_all(b"last words").await.unwrap();
        assert_eq!(read_exactly(&mut client, 10).await, b"last words");
        drop(peer);
        // An end like any other: half-closed, the other direction goes on.
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        client.shutdown().await.unwrap();
        let (relayed, fault) = relayed.await.unwrap();
        let (direction, error) = fault.unwrap();
        assert_eq!((direction, error.raw_os_error()), (Direction::ToClient, Some(libc::ECONNRESET)));
        assert!(matches!(relayed.end, End::Closed(Direction::ToPeer)));
        drop(client);
    });
}

#[test]
fn a_bulk_transfer_lets_others_run() {
    run(async {
        let ((client, near), (_peer, far)) = tokio::join!(pair(), pair());
        let bytes = pattern(1 << 20, 5);
        // Room for more than one poll may read; the kernel's default is less.
        socket2::SockRef::from(&near).set_recv_buffer_size(4 << 20).unwrap();
        client.writable().await.unwrap();
        while client.try_write(&bytes).is_ok() {}
        near_is_readable(&near).await;
        let scratch = Scratch::default();
        let mut relay = tunnel(&near, &far, &scratch).run();
        let once = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut relay).poll(cx))).await;
        assert!(once.is_pending());
        let read = relay.from_client();
        assert!(read > 0 && read < 1 << 20, "{read}");
        // What was left for later is not forgotten.
        while relay.from_client() == read {
            let _ = tokio::time::timeout(Duration::from_millis(1), &mut relay).await;
        }
    });
}

async fn near_is_readable(near: &Stream) {
    std::future::poll_fn(|cx| near.poll_read_ready(cx)).await;
}

#[test]
fn a_relay_is_small() {
    assert!(size_of::<Relay<'static>>() <= 256, "{}", size_of::<Relay<'static>>());
}

#[test]
fn urgent_data_neither_stalls_nor_ends_a_direction_that_streams() {
    run(async {
        let mut bench = Bench::start(Options { half_close: true, ..PLAIN }).await;
        let before = pattern(2_000_000, 5);
        let (written, got) = tokio::join!(bench.client.write_all(&before), read_exactly(&mut bench.peer, 2_000_000));
        assert!(written.is_ok() && got == before);
        socket2::SockRef::from(&bench.client).send_out_of_band(b"!").unwrap();
        bench.client.write_all(b"after").await.unwrap();
        assert_eq!(read_exactly(&mut bench.peer, 5).await, b"after");
        bench.client.write_all(b"the last").await.unwrap();
        bench.client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        bench.peer.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"the last");
    });
}
