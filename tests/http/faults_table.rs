//! What peers and clients do wrong, one a row, and what is to become of each: the statuses that the
//! client gets and the lines of the access log. The same rows are played to Debian's nginx.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use fairlead_harness::hostile::statuses;
use fairlead_harness::{PATIENCE, Port, Proxy, Setup, TcpPeer, connect, reset};

/// One peer with one place: whoever does not give it back leaves nothing for the next row.
pub const HTTP: &str = "log_format faults '$status $upstream_status $request_completion';
    access_log {dir}/faults.log faults;
    client_header_timeout 500ms; client_body_timeout 500ms; send_timeout 500ms; lingering_timeout 500ms; keepalive_timeout 1s;
    proxy_connect_timeout 500ms; proxy_read_timeout 500ms; proxy_send_timeout 500ms; proxy_buffer_size 4k;
    proxy_http_version 1.1; proxy_set_header Connection $http_connection; proxy_set_header Upgrade $http_upgrade;
    upstream one { server {peer} max_conns=1 max_fails=0; }
    upstream kept { server {peer} max_conns=1 max_fails=0; keepalive 2; }
    upstream nobody { server {nobody}; }
    upstream full { server {full}; }
    server { listen 127.0.0.1:{port}; client_max_body_size 64m;
        location / { proxy_pass http://one; }
        location /kept/ { proxy_pass http://kept; proxy_set_header Connection ''; }
        location /unbuffered/ { proxy_pass http://one; proxy_request_buffering off; proxy_buffering off; }
        location /refuses { proxy_pass http://nobody; }
        location /full { proxy_pass http://full; }
        location /here { return 200 here; } }";

/// How the client behaves once it has sent its bytes.
#[derive(Clone, Copy)]
pub enum Then {
    /// Reads to the end of the connection.
    Reads,
    /// Closes at once.
    Leaves,
    /// Breaks the connection at once.
    Resets,
    /// Sends nothing more, and says so.
    Finishes,
    /// Reads so many bytes, then closes.
    ReadsAndLeaves(usize),
    /// Reads so many bytes, then breaks the connection.
    ReadsAndResets(usize),
    /// Waits for nothing, reads nothing, stays until the line is written.
    Stays,
}

use Then::{Finishes, Leaves, Reads, ReadsAndLeaves, ReadsAndResets, Resets, Stays};

pub struct Fault {
    pub name: &'static str,
    pub sent: &'static str,
    pub then: Then,
    pub answers: &'static str,
    /// One for each request, `|` between.
    pub lines: &'static str,
    /// Answers and lines of nginx where they are others, and why.
    pub nginx: Option<(&'static str, &'static str, &'static str)>,
}

const fn fault(name: &'static str, sent: &'static str, then: Then, expected: (&'static str, &'static str)) -> Fault {
    Fault { name, sent, then, answers: expected.0, lines: expected.1, nginx: None }
}

impl Fault {
    const fn nginx(self, answers: &'static str, lines: &'static str, why: &'static str) -> Fault {
        Fault { nginx: Some((answers, lines, why)), ..self }
    }
}

macro_rules! get {
    ($path:literal) => {
        concat!("GET ", $path, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    };
}

const BODILESS_POST: &str = "POST /usual HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello";
const STREAMED_POST: &str = "POST /unbuffered/usual HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello";
const TUNNEL: &str = "GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
const CUT: &str = "what was cut off is not complete";
const INTERIM: &str = "an interim answer is not the answer (RFC 9110, 15.2); nginx does so from 1.29 on";

pub const FAULTS: &[Fault] = &[
    fault("nothing wrong", get!("/usual"), Reads, ("200", "200 200 OK")),
    // The peer.
    fault("it refuses", get!("/refuses"), Reads, ("502", "502 502 OK")),
    fault("it does not accept", get!("/full"), Reads, ("504", "504 504 OK")),
    fault("it says nothing", get!("/silent"), Reads, ("504", "504 504 OK")),
    fault("it stops in its status line", get!("/stops-in-line"), Reads, ("504", "504 504 OK")),
    fault("it stops in its head", get!("/stops-in-head"), Reads, ("504", "504 504 OK")),
    fault("it stops in its body", get!("/stops-in-body"), Reads, ("200", "200 200 ")).nginx("200", "200 200 OK", CUT),
    fault("it stops in a chunk", get!("/stops-in-chunk"), Reads, ("200", "200 200 ")).nginx("200", "200 200 OK", CUT),
    fault("it closes before its head", get!("/closes"), Reads, ("502", "502 502 OK")),
    fault("it closes in its head", get!("/closes-in-head"), Reads, ("502", "502 502 OK")),
    fault("it closes in its body", get!("/closes-in-body"), Reads, ("200", "200 200 ")).nginx("200", "200 200 OK", CUT),
    fault("it closes in a chunk", get!("/closes-in-chunk"), Reads, ("200", "200 200 ")).nginx("200", "200 200 OK", CUT),
    fault("it resets at once", get!("/resets"), Reads, ("502", "502 502 OK")),
    fault("it resets in its head", get!("/resets-in-head"), Reads, ("502", "502 502 OK")),
    fault("it resets in its body", get!("/resets-in-body"), Reads, ("200", "200 200 ")).nginx("200", "200 200 OK", CUT),
    fault("it resets in a chunk", get!("/resets-in-chunk"), Reads, ("200", "200 200 ")).nginx("200", "200 200 OK", CUT),
    fault("it sends more than its length", get!("/long"), Reads, ("200", "200 200 OK")),
    fault("it sends a bad chunk", get!("/bad-chunk"), Reads, ("502", "502 502 OK")).nginx(
        "-",
        "200 200 ",
        "nothing was sent yet, so the client gets an answer; nginx closes without one",
    ),
    fault("it sends a bad chunk later", get!("/bad-chunk-later"), Reads, ("200", "200 200 ")),
    fault("it sends a head without end", get!("/endless-head"), Reads, ("502", "502 502 OK")),
    fault("it sends a line without end", get!("/endless-line"), Reads, ("502", "502 502 OK")),
    fault("it sends rubbish", get!("/rubbish"), Reads, ("502", "502 502 OK")).nginx(
        "0.9",
        "009 200 OK",
        "nginx takes what does not begin like HTTP for an HTTP/0.9 body",
    ),
    fault("it sends interim answers", get!("/interim"), Reads, ("200", "200 200 OK")).nginx(
        "100",
        "100 100 OK",
        INTERIM,
    ),
    fault("it sends interim answers without end", get!("/endless-interim"), Reads, ("502", "502 502 OK")).nginx(
        "100…",
        "100 100 …",
        INTERIM,
    ),
    fault("it sends interim answers and stops", get!("/stops-in-interim"), Reads, ("504", "504 504 OK")).nginx(
        "100",
        "100 100 OK",
        INTERIM,
    ),
    fault("it switches protocols unasked", get!("/unasked"), Reads, ("502", "502 502 OK")).nginx(
        "101",
        "101 101 OK",
        "nobody asked for another protocol (RFC 9110, 15.2.2)",
    ),
    fault(
        "it refuses the upgrade",
        "GET /no-upgrade HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nGET /here HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        Reads,
        ("403 200", "403 403 OK|200 - OK"),
    ),
    fault(
        "it closes a kept connection",
        "GET /kept/once HTTP/1.1\r\nHost: h\r\n\r\nGET /kept/once HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        Reads,
        ("200 200", "200 200 OK|200 200 OK"),
    )
    .nginx("200 200", "200 200 OK|200 502, 200 OK", "a kept connection that has ended was no try at the peer"),
    fault(
        "it answers before the body",
        "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        Reads,
        ("403", "403 403 OK"),
    ),
    // The client, before its request is whole.
    fault("leaves without a word", "", Leaves, ("", "")),
    fault("leaves in the request line", "GET /us", Leaves, ("", "400 - ")),
    fault("leaves in its head", "GET /usual HTTP/1.1\r\nHost: h\r\nX: y", Leaves, ("", "400 - ")),
    fault("resets in its head", "GET /usual HTTP/1.1\r\nHost: h\r\nX: y", Resets, ("", "400 - ")),
    fault("stalls in the request line", "GET /us", Reads, ("-", "408 - ")),
    fault("stalls in its head", "GET /usual HTTP/1.1\r\nHost: h\r\n", Reads, ("-", "408 - ")),
    fault("leaves in its body", BODILESS_POST, Leaves, ("", "400 - ")),
    fault("resets in its body", BODILESS_POST, Resets, ("", "400 - ")),
    fault("stalls in its body", BODILESS_POST, Reads, ("-", "408 - ")),
    fault("leaves in a body that is passed on at once", STREAMED_POST, Leaves, ("", "400 - ")),
    fault("stalls in a body that is passed on at once", STREAMED_POST, Reads, ("-", "408 - ")),
    fault(
        "leaves in a chunk",
        "POST /usual HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhel",
        Leaves,
        ("", "400 - "),
    ),
    fault(
        "leaves in the head of its second request",
        "GET /here HTTP/1.1\r\nHost: h\r\n\r\nGET /us",
        ReadsAndLeaves(1),
        ("", "200 - OK|400 - "),
    ),
    // The client, while it is answered.
    fault("leaves while the peer thinks", get!("/silent"), Leaves, ("", "499 - ")),
    fault("resets while the peer thinks", get!("/silent"), Resets, ("", "499 - ")),
    fault("finishes while the peer thinks", get!("/silent"), Finishes, ("-", "499 - ")),
    fault("leaves while no peer accepts", get!("/full"), Leaves, ("", "499 - ")),
    fault("leaves in the answer", get!("/endless"), ReadsAndLeaves(4000), ("", "200 200 ")),
    fault("resets in the answer", get!("/endless"), ReadsAndResets(4000), ("", "200 200 ")),
    fault(
        "leaves in an answer that is passed on at once",
        get!("/unbuffered/endless"),
        ReadsAndLeaves(4000),
        ("", "200 200 "),
    ),
    fault("reads nothing", get!("/unbuffered/endless"), Stays, ("", "200 200 ")),
    fault("leaves between two requests", "GET /here HTTP/1.1\r\nHost: h\r\n\r\n", ReadsAndLeaves(1), ("", "200 - OK")),
    fault("resets between two requests", "GET /here HTTP/1.1\r\nHost: h\r\n\r\n", ReadsAndResets(1), ("", "200 - OK")),
    fault("says nothing between two requests", "GET /here HTTP/1.1\r\nHost: h\r\n\r\n", Reads, ("200", "200 - OK")),
    fault("leaves in a tunnel", TUNNEL, ReadsAndLeaves(1), ("", "101 101 OK")),
    fault("resets in a tunnel", TUNNEL, ReadsAndResets(1), ("", "101 101 OK")),
    fault("says nothing in a tunnel", TUNNEL, Reads, ("101", "101 101 OK")),
    fault("nothing wrong at the end", get!("/usual"), Reads, ("200", "200 200 OK")),
];

/// What the rows are played against.
pub struct Stage {
    _peer: TcpPeer,
    /// Its queue of connections that nobody takes is full.
    _full: (TcpListener, Vec<TcpStream>),
    _nobody: Port,
    pub proxy: Proxy,
}

impl Stage {
    pub fn start(setup: Setup) -> Stage {
        let peer = TcpPeer::start(misbehave);
        let nobody = Port::reserve();
        let full = full();
        let address = full.0.local_addr().unwrap();
        let setup = setup.workers(1).set("peer", peer.address()).set("nobody", nobody.address()).set("full", address);
        let proxy = setup.http(HTTP);
        Stage { _peer: peer, _full: full, _nobody: nobody, proxy }
    }

    fn log(&self) -> Vec<String> {
        self.proxy.directory().read("faults.log").lines().map(str::to_owned).collect()
    }

    /// Plays one row: what the client got, and the lines that were written.
    pub fn play(&self, fault: &Fault, expected: &str) -> (String, String) {
        let before = self.log().len();
        let mut stream = connect(self.proxy.address());
        let _ = stream.write_all(fault.sent.as_bytes());
        let wanted = expected.split('|').filter(|line| !line.is_empty()).count();
        let answers = finish(&mut stream, fault.then);
        let read = || self.log().len() >= before + wanted;
        let deadline = std::time::Instant::now() + PATIENCE;
        while !read() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(stream);
        (answers, self.log()[before..].join("|"))
    }
}

fn finish(stream: &mut TcpStream, then: Then) -> String {
    match then {
        Reads => return statuses(&read(stream, usize::MAX), false),
        Finishes => {
            let _ = stream.shutdown(Shutdown::Write);
            return statuses(&read(stream, usize::MAX), false);
        }
        Leaves => close(stream),
        Resets => reset(stream),
        ReadsAndLeaves(count) => {
            read(stream, count);
            close(stream);
        }
        ReadsAndResets(count) => {
            read(stream, count);
            reset(stream);
        }
        Stays => {}
    }
    String::new()
}

fn close(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

fn read(stream: &mut TcpStream, least: usize) -> Vec<u8> {
    let (mut came, mut chunk) = (Vec::new(), [0; 4096]);
    while came.len() < least {
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => came.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("{error} after {:?}", String::from_utf8_lossy(&came))
            }
            _ => break,
        }
    }
    came
}

/// A listener to which no connection can be made.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok());
    let queued = queued.take(64).collect();
    (listener, queued)
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// The peer: what a request asks for in its path is what goes wrong.
fn misbehave(mut stream: TcpStream) {
    let mut first = true;
    while let Some(path) = next_request(&mut stream) {
        let name = path.trim_start_matches("/unbuffered").trim_start_matches("/kept").trim_start_matches('/');
        let (way, rest) = name.split_once('-').unwrap_or((name, ""));
        if way == "once" && !first {
            return;
        }
        first = false;
        let _ = stream.write_all(beginning(name, rest).as_bytes());
        match way {
            "silent" | "stops" => return wait(&mut stream),
            "closes" | "bad" | "rubbish" => return,
            "resets" => return reset(&stream),
            "long" => return wait(&mut stream),
            "endless" => return flood(&mut stream, rest),
            "tunnel" => return wait(&mut stream),
            "unasked" => return wait(&mut stream),
            _ => {}
        }
    }
}

fn beginning(name: &str, rest: &str) -> String {
    match rest {
        "in-line" => return "HTTP/1.".into(),
        "in-head" => return "HTTP/1.1 200 OK\r\nContent-Le".into(),
        "in-body" => return format!("{LENGTH}hello"),
        "in-chunk" => return format!("{CHUNKED}9\r\nhello"),
        "in-interim" => return CONTINUE.repeat(50),
        _ => {}
    }
    match name {
        "silent" | "closes" | "resets" => String::new(),
        "long" => format!("{LENGTH}hellohello and more"),
        "bad-chunk" => format!("{CHUNKED}xyz\r\n"),
        "bad-chunk-later" => format!("{CHUNKED}7a120\r\n{}\r\nxyz\r\n", "a".repeat(500_000)),
        "endless-head" | "endless-interim" => String::new(),
        "endless-line" => "HTTP/1.1 200 OK\r\nX: ".into(),
        "endless" => CHUNKED.into(),
        "rubbish" => "\0\0\0\0 this is no HTTP\r\n\r\n".into(),
        "interim" => format!("{}{LENGTH}hellohello", CONTINUE.repeat(3)),
        "unasked" | "tunnel" => {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n".into()
        }
        "no-upgrade" | "early" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".into(),
        _ => format!("{LENGTH}hellohello"),
    }
}

/// Sends until it is not taken any more.
fn flood(stream: &mut TcpStream, what: &str) {
    let piece = match what {
        "head" => "HTTP/1.1 200 OK\r\n".to_owned() + &"X-Field: value\r\n".repeat(4000),
        "line" => "a".repeat(60_000),
        "interim" => CONTINUE.repeat(2600),
        _ => format!("{:x}\r\n{}\r\n", 60_000, "a".repeat(60_000)),
    };
    // Bounded, so that a proxy that takes all of it fails the test rather than never ending it.
    for _ in 0..2000 {
        if stream.write_all(piece.as_bytes()).is_err() {
            return;
        }
    }
}

/// Until the other side ends.
fn wait(stream: &mut TcpStream) {
    let mut chunk = [0; 4096];
    while matches!(stream.read(&mut chunk), Ok(count) if count > 0) {}
}

fn next_request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if !head.contains("/early ") {
        stream.read_exact(&mut body).ok()?;
    }
    head.split(' ').nth(1).map(str::to_owned)
}
