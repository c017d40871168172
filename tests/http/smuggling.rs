//! Requests that two servers could read differently (RFC 9112, sections 2.2, 5, 6 and 11.2) end as
//! the corpus says: refused, or passed on in the one way there is to read them. What the peer gets
//! is read by a reader that shares nothing with the product. Stricter than nginx where it is lenient.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use fairlead_harness::hostile::{AFTER, Hostile, escape};
use fairlead_harness::{Answer, Client, HttpPeer, NotStrict, Proxy, StrictRequest, TcpPeer};

use crate::fairlead;
use crate::smuggling_setup::{HTTP, with_files};

fn corpus() -> Vec<Hostile> {
    Hostile::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/smuggling.tsv"))
}

/// Keeps what it gets as it comes, and answers what is a request by the letter of the standard.
struct StrictPeer {
    tcp: TcpPeer,
    got: Arc<Mutex<Vec<Result<StrictRequest, String>>>>,
}

impl StrictPeer {
    fn start() -> StrictPeer {
        let got: Arc<Mutex<Vec<_>>> = Arc::default();
        let record = got.clone();
        let tcp = TcpPeer::start(move |mut stream| {
            let (mut bytes, mut chunk) = (Vec::new(), [0; 65536]);
            loop {
                match StrictRequest::read(&bytes) {
                    Ok(request) => {
                        bytes.drain(..request.length);
                        record.lock().unwrap().push(Ok(request));
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved");
                        continue;
                    }
                    Err(NotStrict::Unfinished) => {}
                    Err(NotStrict::Broken(why)) => {
                        return record.lock().unwrap().push(Err(format!("{why}: {}", escape(&bytes))));
                    }
                }
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
                    _ if bytes.is_empty() => return,
                    _ => return record.lock().unwrap().push(Err(format!("unfinished: {}", escape(&bytes)))),
                }
            }
        });
        StrictPeer { tcp, got }
    }

    /// What came since the last call.
    fn take(&self) -> Vec<Result<StrictRequest, String>> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

fn shown(requests: &[Result<StrictRequest, String>]) -> String {
    let one = |request: &Result<StrictRequest, String>| match request {
        Ok(request) if request.body.is_empty() => {
            format!("{} {}", escape(&request.method), String::from_utf8_lossy(&request.target))
        }
        Ok(request) => format!(
            "{} {} [{}]",
            escape(&request.method),
            String::from_utf8_lossy(&request.target),
            escape(&request.body)
        ),
        Err(why) => format!("NOT STRICT: {why}"),
    };
    requests.iter().map(one).collect::<Vec<_>>().join(" | ")
}

/// Whether a strict reader of the client's bytes, too, finds the request that may be smuggled.
fn has_smuggled_openly(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Ok(request) = StrictRequest::read(rest) {
        if request.target == b"/smuggled" {
            return true;
        }
        rest = &rest[request.length..];
    }
    false
}

fn start(peer: &StrictPeer) -> Proxy {
    with_files(fairlead()).set("peer", peer.tcp.address()).http(HTTP)
}

#[track_caller]
fn assert_proxied(pieces: impl Fn(&Hostile) -> Option<usize>) {
    let peer = StrictPeer::start();
    let proxy = start(&peer);
    let mut wrong = Vec::new();
    for hostile in corpus() {
        let Some(piece) = pieces(&hostile) else { continue };
        let answers = hostile.ask(proxy.address(), piece);
        let got = peer.take();
        let smuggled = got.iter().flatten().any(|request| request.target == b"/smuggled");
        if smuggled && !has_smuggled_openly(&hostile.bytes) {
            wrong.push(format!("{}: SMUGGLED: {}", hostile.name, shown(&got)));
        }
        // Who goes on sending after a refusal may find the connection reset before it is read.
        let refused = hostile.proxy.len() == 3 && hostile.proxy.starts_with(['4', '5']);
        if piece == 1 && refused && answers == "-" && got.is_empty() {
            continue;
        }
        if (&answers, &shown(&got)) != (&hostile.proxy, &hostile.peer) {
            let expected = format!("{:?} and {:?}", hostile.proxy, hostile.peer);
            wrong.push(format!("{}: {answers:?} and {:?}, not {expected}", hostile.name, shown(&got)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_reaches_no_peer_as_two_requests() {
    assert!(corpus().len() >= 400);
    assert_proxied(|hostile| Some(hostile.bytes.len() + AFTER.len()));
}

#[test]
fn in_single_bytes_it_means_the_same() {
    assert_proxied(|hostile| (hostile.bytes.len() < 400).then_some(1));
}

#[test]
fn the_corpus_never_leaves_the_root() {
    let peer = StrictPeer::start();
    let proxy = start(&peer);
    let mut wrong = Vec::new();
    for hostile in corpus() {
        let answers = hostile.ask(proxy.port("port2"), hostile.bytes.len() + AFTER.len());
        if answers != hostile.files {
            wrong.push(format!("{}: {answers:?}, not {:?}", hostile.name, hostile.files));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_unusual_but_clear_is_served() {
    let peer = HttpPeer::start(|request| Answer::ok(&request.body));
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_http_version 1.1; } }");
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost:h\r\nContent-Length:   005  \r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nX-Utf8: \u{e9}\r\n\r\nhello",
    ] {
        let answer = Client::connect(proxy.address()).request(request);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"), "{request:?}");
    }
}
