//! The peer behind both proxies: keeps every request byte for byte, and answers with what the
//! request's `X-Answer` field names.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use fairlead_harness::TcpPeer;

pub struct Recorder {
    peer: TcpPeer,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Bytes by name; whether the connection ends after them.
pub type Answers = HashMap<&'static str, (Vec<u8>, bool)>;

const USUAL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nX-Peer: yes\r\n\r\nhello\n";

impl Recorder {
    /// Where an answer says `PEER` comes the peer's address.
    pub fn start(answers: Answers) -> Recorder {
        let requests: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let record = requests.clone();
        let peer = TcpPeer::start(move |mut stream| {
            let address = stream.local_addr().expect("a connection has an address").to_string();
            while let Some(request) = read_request(&mut stream) {
                let name = answer_name(&request);
                record.lock().expect("not poisoned").push(request);
                let (bytes, last) = match name.as_deref().map(|name| answers.get(name)) {
                    None => (USUAL, false),
                    Some(Some((bytes, last))) => (bytes.as_slice(), *last),
                    Some(None) => panic!("no answer is called {name:?}"),
                };
                if stream.write_all(&with_address(bytes, &address)).is_err() || last {
                    break;
                }
            }
        });
        Recorder { peer, requests }
    }

    pub fn address(&self) -> SocketAddr {
        self.peer.address()
    }

    /// How many requests came since they were taken.
    pub fn count(&self) -> usize {
        self.requests.lock().expect("not poisoned").len()
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.requests.lock().expect("not poisoned"))
    }
}

fn with_address(bytes: &[u8], address: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("PEER", address).into(),
        Err(_) => bytes.to_vec(),
    }
}

fn answer_name(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let line = text.lines().find_map(|line| line.strip_prefix("X-Answer: "))?;
    Some(line.trim().to_owned())
}

/// One request as it came, with the framing of its body.
fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let head = read_until(stream, &mut request, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    if text.contains("\r\ntransfer-encoding:") {
        loop {
            let start = request.len();
            read_until(stream, &mut request, b"\r\n")?;
            let line = String::from_utf8_lossy(&request[start..]).into_owned();
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            read_more(stream, &mut request, size + 2)?;
            if size == 0 {
                return Some(request);
            }
        }
    }
    let length = text.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    read_more(stream, &mut request, length.unwrap_or(0))?;
    Some(request)
}

/// Byte by byte, so that what follows stays in the socket.
fn read_until(stream: &mut TcpStream, into: &mut Vec<u8>, end: &[u8]) -> Option<usize> {
    let start = into.len();
    while !into[start..].ends_with(end) {
        read_more(stream, into, 1)?;
    }
    Some(into.len())
}

fn read_more(stream: &mut TcpStream, into: &mut Vec<u8>, count: usize) -> Option<()> {
    let start = into.len();
    into.resize(start + count, 0);
    stream.read_exact(&mut into[start..]).ok()
}
