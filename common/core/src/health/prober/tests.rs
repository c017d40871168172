//! Claims about health checks, with real peers on loopback that go bad and get
//! well again. Nothing sleeps for a fixed time: a test waits for what it claims.

use super::*;
use crate::health::block::tests as block;
use crate::health::{Match, MatchSettings};
use crate::log::{Destination, Registry};
use crate::net::Address;
use crate::upstream::{Group, Method};
use fairlead_conf::Word;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::task::JoinHandle as Task;

const PATIENCE: Duration = Duration::from_secs(20);

fn run_test(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(3 * PATIENCE, test).await.expect("the test hangs") });
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = tick();
    while !holds() {
        assert!(tick().since(start) < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn becomes(peer: &Peer, health: Availability) {
    until(&format!("{} is {health:?}", peer.name), || peer.state.health() == health).await;
}

/// A peer that answers every connection with the same bytes, until it is told others.
struct Fake {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<u8>>>,
    served: Arc<AtomicU64>,
    /// Connections that got no answer.
    held: Arc<AtomicU64>,
    task: Task<()>,
}

impl Fake {
    async fn start(answer: &[u8]) -> Fake {
        Fake::start_at("127.0.0.1:0".parse().unwrap(), answer).await
    }

    async fn start_at(address: SocketAddr, answer: &[u8]) -> Fake {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer.to_vec()));
        let (asked, served, held) = (Arc::default(), Arc::default(), Arc::default());
        let counts = [Arc::clone(&served), Arc::clone(&held)];
        let task = tokio::spawn(serve(listener, answer.clone(), Arc::clone(&asked), counts));
        Fake { address, answer, asked, served, held, task }
    }

    fn answers(&self, bytes: &[u8]) {
        *self.answer.lock().unwrap() = bytes.to_vec();
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }

    async fn stop(self) -> SocketAddr {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.address
    }
}

async fn serve(
    listener: TcpListener,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<u8>>>,
    [served, held]: [Arc<AtomicU64>; 2],
) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let bytes = answer.lock().unwrap().clone();
        if bytes == b"silence" { &held } else { &served }.fetch_add(1, Ordering::SeqCst);
        let asked = asked.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            let count = stream.read(&mut buffer).await.unwrap_or(0);
            *asked.lock().unwrap() = buffer[..count].to_vec();
            if bytes == b"silence" {
                // Holds the connection until the other side gives up.
                let _ = stream.read(&mut buffer).await;
                return;
            }
            // The prober may have gone already.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        });
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\nwelcome";
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn group(addresses: &[Address]) -> Arc<Group> {
    let peers = addresses.iter().map(|address| Peer::new(address.clone(), &address.to_string()));
    Arc::new(Group::new("backend", peers.collect(), Method::RoundRobin))
}

fn fast() -> Settings {
    Settings { interval: Duration::from_millis(5), ..Settings::default() }
}

fn check(group: &Arc<Group>, kind: Kind, settings: Settings) -> Check {
    let (connect_timeout, read_timeout) = (PATIENCE, PATIENCE);
    Check { group: group.clone(), settings, matching: None, kind, connect_timeout, read_timeout, judge: None }
}

fn http() -> Kind {
    Kind::Http { fields: vec![("Host".into(), b"backend".as_slice().into())] }
}

fn matching(lines: &[&[&str]], is_http: bool) -> Option<Arc<Match>> {
    let (settings, problems) = block::settings(lines, is_http);
    assert_eq!(problems, [""; 0]);
    let settings = MatchSettings { name: Word { text: "proof".into(), ..settings.name }, ..settings };
    Some(Match::build(&settings, &block::cx()).unwrap())
}

fn quiet() -> Prober {
    Prober::start(ErrorLog::default())
}

#[test]
fn a_peer_that_answers_badly_goes_and_comes_back_and_the_log_says_so() {
    run_test(async {
        let path = PathBuf::from(format!("{}/health-{}.log", std::env::temp_dir().display(), std::process::id()));
        let logs = Registry::default();
        let log = logs.error_log(&[(Destination::File(path.clone()), Level::Notice)]).unwrap();
        let prober = Prober::start(log);
        let fake = Fake::start(OK).await;
        let group = group(&[Address::Ip(fake.address)]);
        let peer = &group.peers[0];
        prober.replace(vec![check(&group, http(), Settings { fails: 2, passes: 3, ..fast() })]);
        until("it is probed", || fake.served() > 2).await;
        assert_eq!(peer.state.health(), Availability::Up);
        fake.answers(BUSY);
        becomes(peer, Availability::Unhealthy).await;
        let bad = fake.served();
        fake.answers(OK);
        becomes(peer, Availability::Up).await;
        assert!(fake.served() >= bad + 3);
        drop(prober);
        logs.flush();
        let name = &peer.name;
        let about = format!("health check \"\" of peer {name} in upstream \"backend\"\n");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("[warn] ") && lines[1].contains("[notice] "), "{text}");
        assert!(lines[0].ends_with(&format!("peer is unhealthy while checking status code, {about}")), "{text}");
        assert!(lines[1].ends_with(&format!("peer is healthy while checking, {about}")), "{text}");
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_peer_that_does_not_listen_is_unhealthy_until_it_does() {
    run_test(async {
        let prober = quiet();
        // An address of its own: nobody takes the port while it is given back.
        let fake = Fake::start_at("127.0.2.1:0".parse().unwrap(), b"").await;
        let group = group(&[Address::Ip(fake.address)]);
        prober.replace(vec![check(&group, Kind::Tcp, fast())]);
        until("it is probed", || fake.served() > 0).await;
        let address = fake.stop().await;
        becomes(&group.peers[0], Availability::Unhealthy).await;
        let _fake = Fake::start_at(address, b"").await;
        becomes(&group.peers[0], Availability::Up).await;
    });
}

#[test]
fn tcp_peers_are_judged_by_what_they_send() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(b"+PONG\r\n").await;
        let group = group(&[Address::Ip(fake.address)]);
        let proof = matching(&[&["send", r"PING\x0D\x0A"], &["expect", "~*", r"^\+pong\r\n$"]], false);
        prober.replace(vec![Check { matching: proof, ..check(&group, Kind::Tcp, fast()) }]);
        until("it is asked", || *fake.asked.lock().unwrap() == b"PING\r\n").await;
        assert_eq!(group.peers[0].state.health(), Availability::Up);
        for bad in [&b"-ERR\r\n"[..], b"", &[b'x'; 100_000]] {
            fake.answers(bad);
            becomes(&group.peers[0], Availability::Unhealthy).await;
            fake.answers(b"+PONG\r\n");
            becomes(&group.peers[0], Availability::Up).await;
        }
    });
}

#[test]
fn a_silent_peer_times_out() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(b"silence").await;
        let group = group(&[Address::Ip(fake.address)]);
        let proof = matching(&[&["expect", "hello"]], false);
        let read_timeout = Duration::from_millis(30);
        let by_tcp = Check { matching: proof, read_timeout, ..check(&group, Kind::Tcp, fast()) };
        let by_http = Check { read_timeout, ..check(&group, http(), fast()) };
        for check in [by_tcp, by_http] {
            prober.replace(vec![check]);
            becomes(&group.peers[0], Availability::Unhealthy).await;
            prober.replace(Vec::new());
            assert_eq!(group.peers[0].state.health(), Availability::Up, "nobody checks it any more");
        }
    });
}

#[test]
fn http_answers_are_judged_by_status_headers_and_body() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(OK).await;
        let group = group(&[Address::Ip(fake.address)]);
        let lines: &[&[&str]] =
            &[&["status", "200-299"], &["header", "Content-Type", "=", "text/html"], &["body", "~", "^welcome$"]];
        let settings = Settings { uri: "/alive?full=1".into(), ..fast() };
        let matching = matching(lines, true);
        prober.replace(vec![Check { matching, ..check(&group, http(), settings) }]);
        until("it is asked", || !fake.asked.lock().unwrap().is_empty()).await;
        let asked = String::from_utf8(fake.asked.lock().unwrap().clone()).unwrap();
        assert!(asked.starts_with("GET /alive?full=1 HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n"), "{asked}");
        let ok = String::from_utf8(OK.to_vec()).unwrap();
        for bad in [
            ok.replace("200", "301"),
            ok.replace("text/html", "text/plain"),
            ok.replace("welcome", "offline"),
            ok.replace("Content-Length: 7", "Content-Length: 99"),
            ok.replace("HTTP/1.1", "nonsense"),
            String::new(),
        ] {
            fake.answers(bad.as_bytes());
            becomes(&group.peers[0], Availability::Unhealthy).await;
            fake.answers(OK);
            becomes(&group.peers[0], Availability::Up).await;
        }
    });
}

#[test]
fn only_the_first_256k_of_a_body_count() {
    run_test(async {
        let prober = quiet();
        let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'a'; 1 << 20], b"needle"].concat();
        let fake = Fake::start(&endless).await;
        let group = group(&[Address::Ip(fake.address)]);
        let without = matching(&[&["body", "~", "^a+$"], &["body", "!~", "needle"]], true);
        let mandatory = Settings { mandatory: true, ..fast() };
        prober.replace(vec![Check { matching: without, ..check(&group, http(), mandatory) }]);
        becomes(&group.peers[0], Availability::Up).await;
    });
}

#[test]
fn udp_peers_are_judged_by_silence_refusal_or_answer() {
    run_test(async {
        let prober = quiet();
        let socket = UdpSocket::bind("127.0.2.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let group = group(&[Address::Ip(address)]);
        let read_timeout = Duration::from_millis(100);
        let mandatory = Settings { mandatory: true, ..fast() };
        prober.replace(vec![Check { read_timeout, ..check(&group, Kind::Udp, mandatory) }]);
        let mut buffer = [0; 100];
        let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"nginx health check");
        becomes(&group.peers[0], Availability::Up).await;
        drop(socket);
        becomes(&group.peers[0], Availability::Unhealthy).await;

        let socket = UdpSocket::bind(address).await.unwrap();
        let matching = matching(&[&["send", r"\x01ask"], &["expect", r"\x02"]], false);
        prober.replace(vec![Check { matching, read_timeout, ..check(&group, Kind::Udp, fast()) }]);
        for (answer, health) in [(2, Availability::Up), (3, Availability::Unhealthy), (2, Availability::Up)] {
            while group.peers[0].state.health() != health || answer == 3 {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                if &buffer[..length] == b"\x01ask" {
                    socket.send_to(&[answer, 0, 0], from).await.unwrap();
                }
                if group.peers[0].state.health() == health {
                    break;
                }
            }
        }
    });
}

#[test]
fn the_port_to_check_may_be_another_and_unix_sockets_have_none() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(OK).await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let path = PathBuf::from(format!("{}/health-{}.sock", std::env::temp_dir().display(), std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let unix = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(OK).await.unwrap();
            listener
        });
        let group = group(&[Address::Ip(closed), Address::Unix(path.clone())]);
        let settings = Settings { port: Some(fake.address.port()), mandatory: true, ..fast() };
        prober.replace(vec![check(&group, http(), settings)]);
        becomes(&group.peers[0], Availability::Up).await;
        becomes(&group.peers[1], Availability::Up).await;
        drop(unix.await.unwrap());
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn mandatory_peers_get_no_traffic_before_their_first_check() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(b"silence").await;
        let group = group(&[Address::Ip(fake.address)]);
        let settings = Settings { mandatory: true, ..fast() };
        prober.replace(vec![check(&group, http(), settings)]);
        assert_eq!(group.peers[0].state.health(), Availability::Checking);
        until("it is being probed", || !fake.asked.lock().unwrap().is_empty()).await;
        assert_eq!(group.peers[0].state.health(), Availability::Checking);
        fake.stop().await;
    });
}

/// The next generation's group: other peers, the states of those before.
fn next_generation(group: &Group) -> Arc<Group> {
    let peers = group.peers.iter().map(|peer| {
        let fresh = Peer::new(peer.address.clone(), &peer.server);
        Peer { state: peer.state.clone(), ..fresh }
    });
    Arc::new(Group::new(&group.name, peers.collect(), Method::RoundRobin))
}

#[test]
fn a_reload_goes_on_where_it_was() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(OK).await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut group = group(&[Address::Ip(fake.address), Address::Ip(closed)]);
        let persistent = Settings { mandatory: true, persistent: true, ..fast() };
        prober.replace(vec![check(&group, http(), persistent.clone())]);
        becomes(&group.peers[0], Availability::Up).await;
        becomes(&group.peers[1], Availability::Unhealthy).await;
        for _ in 0..50 {
            group = next_generation(&group);
            prober.replace(vec![check(&group, http(), persistent.clone())]);
            assert_eq!(group.peers[0].state.health(), Availability::Up);
            assert_eq!(group.peers[1].state.health(), Availability::Unhealthy);
        }
        let seen = fake.served();
        until("it is probed still", || fake.served() > seen + 3).await;
        fake.answers(BUSY);
        becomes(&group.peers[0], Availability::Unhealthy).await;

        // Without `persistent` all begin anew; without checks nobody is ill.
        let slow = Settings { interval: Duration::from_secs(3600), persistent: false, ..persistent };
        fake.answers(b"silence");
        until("no other answer is under way", || fake.held.load(Ordering::SeqCst) > 0).await;
        prober.replace(vec![check(&group, http(), slow)]);
        assert_eq!(group.peers[0].state.health(), Availability::Checking);
        prober.replace(Vec::new());
        assert!(group.peers.iter().all(|peer| peer.state.health() == Availability::Up));
    });
}

#[test]
fn of_two_checks_the_worse_one_counts() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(OK).await;
        let group = group(&[Address::Ip(fake.address)]);
        let peer = &group.peers[0];
        let not_found = matching(&[&["status", "404"]], true);
        let strict = Check { matching: not_found, ..check(&group, http(), fast()) };
        let lenient = check(&group, Kind::Tcp, fast());
        prober.replace(vec![lenient.clone(), strict]);
        becomes(peer, Availability::Unhealthy).await;
        let seen = fake.served();
        until("both have been run again", || fake.served() > seen + 6).await;
        assert_eq!(peer.state.health(), Availability::Unhealthy);
        prober.replace(vec![lenient]);
        assert_eq!(peer.state.health(), Availability::Up);
    });
}

#[test]
fn a_dropped_prober_probes_no_more() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(OK).await;
        let group = group(&[Address::Ip(fake.address)]);
        prober.replace(vec![check(&group, http(), fast())]);
        until("it is probed", || fake.served() > 3).await;
        drop(prober);
        // Who holds no peer can probe none.
        assert_eq!(Arc::strong_count(&group), 1);
    });
}

#[test]
fn thousands_of_peers_are_all_checked() {
    run_test(async {
        let prober = quiet();
        let fake = Fake::start(b"").await;
        let port = fake.address.port();
        // Refused at once but for the one that listens.
        let addresses = (0..3000_u32).map(|number| {
            let ip = std::net::Ipv4Addr::from(0x7f00_0001 + number);
            Address::Ip(SocketAddr::new(ip.into(), port))
        });
        let group = group(&addresses.collect::<Vec<_>>());
        let settings = Settings { interval: Duration::from_secs(1), mandatory: true, ..Settings::default() };
        prober.replace(vec![check(&group, Kind::Tcp, settings)]);
        assert!(group.peers.iter().all(|peer| peer.state.health() == Availability::Checking));
        until("all are known", || group.peers.iter().all(|peer| peer.state.health() != Availability::Checking)).await;
        let up = group.peers.iter().filter(|peer| peer.state.health() == Availability::Up).count();
        assert_eq!(up, 1);
        assert_eq!(group.peers[0].state.health(), Availability::Up);
    });
}
