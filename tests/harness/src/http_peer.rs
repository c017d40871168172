//! An HTTP server whose answers the test decides and that keeps every request as it came.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::client::headers_of;
use crate::{Port, TcpPeer, websocket};

/// One request, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which connection of this peer carried it, counted from 0.
    pub connection: usize,
    /// Request line and header, without the empty line.
    pub head: String,
    /// The body without its chunked framing.
    pub body: Vec<u8>,
    /// The body came in chunks.
    pub chunked: bool,
}

impl Request {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    pub fn headers(&self) -> Vec<(&str, &str)> {
        headers_of(&self.head)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

type Talk = Box<dyn FnOnce(&mut TcpStream) + Send>;

/// What the peer does with a request.
pub enum Answer {
    /// These bytes, then the next request of the connection.
    Raw(Vec<u8>),
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
    /// Whatever the closure does with the connection, then its end.
    Talk(Talk),
}

impl Answer {
    pub fn ok(body: impl AsRef<[u8]>) -> Answer {
        Answer::status("200 OK", body)
    }

    /// `status` is the code and its words.
    pub fn status(status: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        Answer::Raw([head.as_bytes(), body].concat())
    }

    /// Close without a word.
    pub fn nothing() -> Answer {
        Answer::Last(Vec::new())
    }

    /// Say nothing until the other side gives up.
    pub fn silence() -> Answer {
        Answer::Talk(Box::new(|stream| {
            let _ = stream.read(&mut [0; 1]);
        }))
    }

    /// Accept the upgrade and echo every message.
    pub fn websocket() -> Answer {
        Answer::Talk(Box::new(websocket::accept_and_echo))
    }
}

type Requests = Arc<Mutex<Vec<Request>>>;

pub struct HttpPeer {
    tcp: TcpPeer,
    requests: Requests,
    port: Option<Port>,
}

impl HttpPeer {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> HttpPeer {
        let port = Port::reserve();
        let mut peer = HttpPeer::start_at(port.address(), answer);
        peer.port = Some(port);
        peer
    }

    pub fn start_at(address: SocketAddr, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> HttpPeer {
        let requests: Requests = Arc::default();
        let (record, connections) = (requests.clone(), AtomicUsize::new(0));
        let tcp = TcpPeer::start_at(address, move |stream| {
            serve(stream, connections.fetch_add(1, Ordering::SeqCst), &record, &answer);
        });
        HttpPeer { tcp, requests, port: None }
    }

    /// Answers every request with 200 and its own name.
    pub fn named(name: &str) -> HttpPeer {
        let name = name.to_owned();
        HttpPeer::start(move |_| Answer::ok(&name))
    }

    pub fn named_at(name: &str, address: SocketAddr) -> HttpPeer {
        let name = name.to_owned();
        HttpPeer::start_at(address, move |_| Answer::ok(&name))
    }

    pub fn address(&self) -> SocketAddr {
        self.tcp.address()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }

    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("the peer got a request")
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.tcp.accepted()
    }

    /// Close the listener and every connection. The returned port keeps the address for a return.
    pub fn stop(self) -> Option<Port> {
        self.tcp.stop();
        self.port
    }
}

fn serve(mut stream: TcpStream, connection: usize, record: &Requests, answer: &impl Fn(&Request) -> Answer) {
    let mut pending = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut pending, connection) {
        let decided = answer(&request);
        record.lock().expect("not poisoned").push(request);
        match decided {
            Answer::Raw(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
            Answer::Last(bytes) => {
                let _ = stream.write_all(&bytes);
                break;
            }
            Answer::Talk(talk) => {
                talk(&mut stream);
                break;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut TcpStream, pending: &mut Vec<u8>, connection: usize) -> Option<Request> {
    let end = loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        fill(stream, pending)?;
    };
    let head: String = pending.drain(..end + 4).take(end).map(char::from).collect();
    let mut request = Request { connection, head, body: Vec::new(), chunked: false };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if request.header("transfer-encoding").is_some() {
        request.chunked = true;
        request.body = read_chunks(stream, pending)?;
    } else if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        request.body = take(stream, pending, length)?;
    }
    Some(request)
}

fn read_chunks(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = take_line(stream, pending)?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        body.extend(take(stream, pending, size)?);
        if size == 0 {
            while !take_line(stream, pending)?.is_empty() {}
            return Some(body);
        }
        take(stream, pending, 2)?;
    }
}

fn take_line(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = pending.windows(2).position(|window| window == b"\r\n") {
            return Some(pending.drain(..end + 2).take(end).map(char::from).collect());
        }
        fill(stream, pending)?;
    }
}

fn take(stream: &mut TcpStream, pending: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while pending.len() < count {
        fill(stream, pending)?;
    }
    Some(pending.drain(..count).collect())
}

fn fill(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 65536];
    let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
    pending.extend_from_slice(&chunk[..count]);
    Some(())
}
