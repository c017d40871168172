use crate::harness::{Plane, ask, free_port, run, tcp_peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("connects")
}

async fn end(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

#[test]
fn a_session_is_relayed_and_ends_in_one_line() {
    run(|| async {
        let (port, peer) = (free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port}; proxy_pass {peer}; }}"));
        let mut stream = connect(port).await;
        assert_eq!(ask(&mut stream, b"hello").await, "a:hello");
        assert_eq!(ask(&mut stream, b"again").await, "a:again");
        assert_eq!(plane.active(), 1);
        drop(stream);
        assert_eq!(plane.access(1).await, [format!("TCP 200 10/14 {peer} 10/14")]);
        assert_eq!(plane.active(), 0);
        assert_eq!(plane.errors(), [""; 0]);
    });
}

#[test]
fn goes_on_to_the_next_peer_and_says_why() {
    run(|| async {
        let (port, dead, peer) = (free_port(), free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!(
            "upstream both {{ server 127.0.0.1:{dead}; server {peer}; }}
             server {{ listen 127.0.0.1:{port}; proxy_pass both; }}"
        ));
        let mut stream = connect(port).await;
        assert_eq!(ask(&mut stream, b"x").await, "a:x");
        drop(stream);
        assert_eq!(plane.access(1).await, [format!("TCP 200 1/3 127.0.0.1:{dead}, {peer} 0, 1/0, 3")]);
        let place = format!(
            "while connecting to upstream, client: 127.0.0.1, server: 127.0.0.1:{port}, \
             upstream: \"127.0.0.1:{dead}\", bytes from/to client:0/0, bytes from/to upstream:0/0"
        );
        assert_eq!(
            plane.errors(),
            [
                format!("connect() failed (111: Connection refused) {place}"),
                format!("upstream server temporarily disabled {place}"),
            ]
        );
    });
}

#[test]
fn without_any_peer_the_session_is_a_bad_gateway() {
    run(|| async {
        let (port, one, two) = (free_port(), free_port(), free_port());
        let plane = Plane::start(&format!(
            "upstream dead {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; }}
             server {{ listen 127.0.0.1:{port}; proxy_pass dead; }}
             server {{ listen 127.0.0.1:{}; proxy_pass dead; proxy_next_upstream off; }}",
            free_port(),
        ));
        assert_eq!(end(connect(port).await).await, b"");
        assert_eq!(plane.access(1).await, [format!("TCP 502 0/0 127.0.0.1:{one}, 127.0.0.1:{two} 0, 0/0, 0")]);
        assert_eq!(end(connect(port).await).await, b"");
        assert_eq!(plane.access(2).await[1], "TCP 502 0/0 dead 0/0");
        let last = plane.errors().pop().expect("a line");
        assert_eq!(
            last,
            format!(
                "no live upstreams while connecting to upstream, client: 127.0.0.1, server: 127.0.0.1:{port}, \
                 upstream: \"dead\", bytes from/to client:0/0, bytes from/to upstream:0/0"
            )
        );
    });
}

#[test]
fn an_untried_peer_is_left_alone_when_told_so() {
    run(|| async {
        let (port, dead, peer) = (free_port(), free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!(
            "upstream both {{ server 127.0.0.1:{dead}; server {peer}; }}
             server {{ listen 127.0.0.1:{port}; proxy_pass both; proxy_next_upstream off; }}"
        ));
        assert_eq!(end(connect(port).await).await, b"");
        assert_eq!(plane.access(1).await, [format!("TCP 502 0/0 127.0.0.1:{dead} 0/0")]);
    });
}

#[test]
fn a_silent_peer_times_out_while_connecting() {
    run(|| async {
        // A queue of one that is full answers no more connections.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("binds");
        full.listen(0).expect("listens");
        let silent = full.local_addr().expect("its address").as_socket().expect("of IP");
        let _in_queue = TcpStream::connect(silent).await.expect("fits");
        let port = free_port();
        let plane = Plane::start(&format!(
            "server {{ listen 127.0.0.1:{port}; proxy_pass {silent}; proxy_connect_timeout 50ms; }}"
        ));
        assert_eq!(end(connect(port).await).await, b"");
        assert_eq!(plane.access(1).await, [format!("TCP 502 0/0 {silent} 0/0")]);
        assert!(plane.errors()[0].starts_with(
            "upstream timed out (110: Connection timed out) while connecting to upstream, client: 127.0.0.1, "
        ));
    });
}

#[test]
fn an_idle_session_ends_after_proxy_timeout() {
    run(|| async {
        let (port, peer) = (free_port(), tcp_peer("a").await);
        let plane =
            Plane::start(&format!("server {{ listen 127.0.0.1:{port}; proxy_pass {peer}; proxy_timeout 60ms; }}"));
        assert_eq!(end(connect(port).await).await, b"");
        assert_eq!(plane.access(1).await, [format!("TCP 200 0/0 {peer} 0/0")]);
    });
}

#[test]
fn proxy_headers_are_read_and_sent() {
    run(|| async {
        let (port, peer) = (free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!(
            "log_format header '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr \
             $proxy_protocol_server_port $remote_addr $bytes_received';
             server {{ listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; proxy_protocol on;
                      access_log {}/header.log header; }}",
            std::env::temp_dir().display(),
        ));
        let mut stream = connect(port).await;
        let client = stream.local_addr().expect("an address").port();
        let answer = ask(&mut stream, b"PROXY TCP4 10.1.2.3 10.4.5.6 1234 443\r\nrest").await;
        // The peer's header tells of the connection, as nginx has it without realip.
        assert_eq!(answer, format!("a:PROXY TCP4 127.0.0.1 127.0.0.1 {client} {port}\r\nrest"));
        drop(stream);
        let log = std::env::temp_dir().join("header.log");
        let line = loop {
            plane.errors();
            match std::fs::read_to_string(&log) {
                Ok(text) if text.ends_with('\n') => break text,
                _ => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
            }
        };
        std::fs::remove_file(&log).expect("was there");
        assert_eq!(line, "10.1.2.3 1234 10.4.5.6 443 127.0.0.1 4\n");
    });
}

#[test]
fn a_broken_proxy_header_is_a_bad_request() {
    run(|| async {
        let (port, peer) = (free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer}; }}"));
        let mut stream = connect(port).await;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("sends");
        assert_eq!(end(stream).await, b"");
        assert_eq!(plane.access(1).await, ["TCP 400 0/0 - -/-"]);
        assert_eq!(
            plane.errors(),
            [format!(
                "broken header: \"GET / HTTP/1.0\" while reading PROXY protocol, client: 127.0.0.1, \
                 server: 127.0.0.1:{port}"
            )]
        );
    });
}

#[test]
fn a_full_worker_closes_and_counts() {
    run(|| async {
        let (port, peer) = (free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port}; proxy_pass {peer}; }}"));
        plane.limit(1);
        let mut first = connect(port).await;
        assert_eq!(ask(&mut first, b"x").await, "a:x");
        assert_eq!(end(connect(port).await).await, b"");
        assert_eq!(plane.errors(), ["1 worker_connections are not enough"]);
        assert_eq!(plane.plan().outcomes().map(|(_, outcomes)| outcomes.overflows.load()).sum::<u64>(), 1);
        assert_eq!(ask(&mut first, b"y").await, "a:y", "the first goes on");
        drop(first);
        plane.access(1).await;
        assert_eq!(ask(&mut connect(port).await, b"z").await, "a:z", "its place is free again");
    });
}

#[test]
fn a_session_outlives_reload_and_listener() {
    run(|| async {
        let (port, old, new) = (free_port(), tcp_peer("old").await, tcp_peer("new").await);
        let mut plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port}; proxy_pass {old}; }}"));
        let mut stream = connect(port).await;
        assert_eq!(ask(&mut stream, b"1").await, "old:1");
        plane.reload(&format!("server {{ listen 127.0.0.1:{port}; proxy_pass {new}; }}"));
        assert_eq!(ask(&mut connect(port).await, b"2").await, "new:2");
        plane.close().await;
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nobody listens");
        assert_eq!(ask(&mut stream, b"3").await, "old:3");
    });
}

#[test]
fn variables_choose_the_peer() {
    run(|| async {
        let (port, bad) = (free_port(), free_port());
        let peer = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer_port = peer.local_addr().expect("its address").port();
        let plane = Plane::start(&format!(
            "server {{ listen 127.0.0.1:{port}; proxy_pass $remote_addr:{peer_port}; }}
             server {{ listen 127.0.0.1:{bad}; proxy_pass no-such-name$protocol:{peer_port}; }}"
        ));
        let stream = connect(port).await;
        let (accepted, _) = peer.accept().await.expect("comes through");
        drop((stream, accepted));
        assert_eq!(plane.access(1).await, [format!("TCP 200 0/0 127.0.0.1:{peer_port} 0/0")]);
        assert_eq!(end(connect(bad).await).await, b"");
        assert_eq!(plane.access(2).await[1], "TCP 500 0/0 - -/-");
        assert!(plane.errors()[0].starts_with("no resolver defined to resolve no-such-nameTCP, client: 127.0.0.1, "));
    });
}

#[test]
fn unix_sockets_on_both_sides() {
    run(|| async {
        let folder = std::env::temp_dir();
        let ours = folder.join(format!("fairlead-l4-{}.sock", std::process::id()));
        let theirs = folder.join(format!("fairlead-l4-peer-{}.sock", std::process::id()));
        let _ = (std::fs::remove_file(&ours), std::fs::remove_file(&theirs));
        let peer = tokio::net::UnixListener::bind(&theirs).expect("binds");
        let plane = Plane::start(&format!(
            "server {{ listen unix:{}; proxy_pass unix:{}; }}",
            ours.display(),
            theirs.display()
        ));
        let mut client = tokio::net::UnixStream::connect(&ours).await.expect("connects");
        client.write_all(b"hi").await.expect("sends");
        let (mut accepted, _) = peer.accept().await.expect("comes through");
        let mut buffer = [0; 2];
        accepted.read_exact(&mut buffer).await.expect("reads");
        assert_eq!(&buffer, b"hi");
        drop((client, accepted));
        assert_eq!(plane.access(1).await, [format!("TCP 200 2/0 unix:{} 2/0", theirs.display())]);
        let _ = (std::fs::remove_file(&ours), std::fs::remove_file(&theirs));
    });
}

#[test]
fn an_idle_session_is_small() {
    run(|| async {
        let (port, peer) = (free_port(), tcp_peer("a").await);
        let plane = Plane::start(&format!("server {{ listen 127.0.0.1:{port}; proxy_pass {peer}; }}"));
        let client =
            fairlead_core::net::Stream::adopt(connect(port).await.into_std().expect("a socket").into()).expect("room");
        let size = plane.session_size(client);
        assert!(size <= 1024, "{size} bytes of a session's task");
    });
}
