//! What is fuzzed: every parser of bytes that strangers send. Each entry takes any bytes and
//! panics when a promise is broken; the promise that matters most is that bytes mean the same in
//! whatever pieces they arrive. The workspace's tests replay the corpora through the same entries.

use std::path::Path;

use fairlead_conf::{Block, Tree, quote, render_all};
use fairlead_core::net::{ClientHelloError, ProxyProtocolError, parse_client_hello, parse_proxy_header};
use fairlead_core::resolver::believed_addresses;
use fairlead_l7::h1::{Chunked, Event, Framing, Limits, Progress, Request, RequestBody, Response};
use fairlead_l7::uri::normalize;

mod udp_flows;

/// A request's head, and its target.
pub fn request(data: &[u8]) {
    for limits in
        [Limits::default(), Limits { line: 64, head: 256, headers: 4, underscores: true, ignore_invalid: false }]
    {
        let whole = parse_request(data, data.len().max(1), &limits);
        for piece in [1, 7] {
            let pieces = parse_request(data, piece, &limits);
            // Which rule is broken first may depend on how much is there; that one is broken may not.
            assert_eq!(whole.as_ref().map_err(|_| ()), pieces.as_ref().map_err(|_| ()), "in pieces of {piece}");
        }
    }
}

/// What a request says, apart from where it lies in memory.
#[derive(Debug, PartialEq)]
struct Head {
    length: usize,
    line: Vec<u8>,
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: RequestBody,
}

/// `None` when more bytes are needed.
fn parse_request(data: &[u8], piece: usize, limits: &Limits) -> Result<Option<Head>, u16> {
    let mut request = Request::default();
    for bytes in data.chunks(piece) {
        request.buffer.extend_from_slice(bytes);
        match request.parse(limits) {
            Ok(Progress::NeedMore) => {}
            Ok(Progress::Head) => return Ok(Some(checked(&request))),
            Err(bad) => {
                assert!((400..=599).contains(&bad.status), "{}", bad.status);
                return Err(bad.status);
            }
        }
    }
    Ok(None)
}

fn checked(request: &Request) -> Head {
    assert!(request.head_len <= request.buffer.len());
    let fields: Vec<_> = request.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    for (name, value) in &fields {
        assert!(!name.is_empty() && name.iter().all(|byte| *byte > b' ' && *byte != b':' && *byte != 0x7f));
        assert!(value.iter().all(|byte| *byte >= b' ' || *byte == b'\t'));
    }
    let target = request.target_bytes().to_vec();
    let mut path = Vec::new();
    if normalize(&target, true, &mut path).is_ok() && path.first() == Some(&b'/') {
        let climbs = path.split(|byte| *byte == b'/').any(|part| part == b"..");
        assert!(!climbs, "{:?} climbs", path.escape_ascii().to_string());
    }
    Head { length: request.head_len, line: request.line_bytes().to_vec(), target, fields, body: request.framing }
}

/// A response's head. The first byte says whether the request was HEAD.
pub fn response(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let head_request = first & 1 == 1;
    let whole = parse_response(bytes, bytes.len(), head_request);
    assert_eq!(whole, parse_response(bytes, 1, head_request), "in pieces");
}

/// What a response says: length of its head, status, framing, fields.
type Answer = (usize, u16, Framing, Vec<(Vec<u8>, Vec<u8>)>);

fn parse_response(bytes: &[u8], piece: usize, head_request: bool) -> Result<Option<Answer>, ()> {
    let mut response = Response::default();
    let mut end = 0;
    while end < bytes.len() {
        end = bytes.len().min(end + piece.max(1));
        let seen = &bytes[..end];
        if response.parse(seen, head_request).map_err(|_| ())? {
            assert!(response.head_len <= seen.len());
            let fields = response.headers.iter();
            let fields = fields.map(|header| (header.name.of(seen).to_vec(), header.value.of(seen).to_vec()));
            return Ok(Some((response.head_len, response.status, response.framing, fields.collect())));
        }
    }
    Ok(None)
}

/// A chunked body.
pub fn chunked(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    for piece in [1, 3] {
        assert_eq!(whole, decode(data, piece), "in pieces of {piece}");
    }
}

/// The body and where it ended in the bytes; `None` when it did not end.
fn decode(data: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), ()> {
    let (mut decoder, mut body, mut used) = (Chunked::default(), Vec::new(), 0);
    for bytes in data.chunks(piece) {
        let mut at = 0;
        loop {
            let (step, event) = decoder.next(&bytes[at..]).map_err(|_| ())?;
            at += step;
            match event {
                Event::Data(length) => {
                    assert!(length <= step && (step > 0 || at == bytes.len()));
                    body.extend_from_slice(&bytes[at - length..at]);
                }
                Event::NeedMore => {
                    assert_eq!(at, bytes.len(), "all is used before more is asked for");
                    break;
                }
                Event::End => return Ok((body, Some(used + at))),
            }
        }
        used += at;
    }
    Ok((body, None))
}

/// The PROXY protocol's header.
pub fn proxy_protocol(data: &[u8]) {
    let whole = parse_proxy_header(data);
    for end in 0..data.len() {
        match parse_proxy_header(&data[..end]) {
            Err(ProxyProtocolError::Incomplete) => {}
            Err(ProxyProtocolError::Broken) => {
                assert_eq!(whole, Err(ProxyProtocolError::Broken), "no more bytes mend what is broken at {end}");
                return;
            }
            Ok((header, length)) => {
                assert!(length <= end);
                assert_eq!(whole, Ok((header, length)), "what follows a header changes nothing in it");
                return;
            }
        }
    }
}

/// The beginning of a TLS connection.
pub fn client_hello(data: &[u8]) {
    let whole = parse_client_hello(data);
    // Each beginning is read from its start again: of long ones not every one.
    for end in (0..data.len()).step_by(1 + data.len() / 256) {
        match parse_client_hello(&data[..end]) {
            Err(ClientHelloError::Incomplete) => {}
            Err(ClientHelloError::NotTls) => {
                assert_eq!(whole, Err(ClientHelloError::NotTls), "no more bytes make a hello of it at {end}");
                return;
            }
            Ok(hello) => {
                assert!(hello.server_name.len() + hello.alpn.len() <= end, "more than was sent");
                assert_eq!(whole, Ok(hello), "what follows a hello changes nothing in it");
                return;
            }
        }
    }
}

/// The configuration language: positions lie in the text, messages can be shown, words survive
/// being written down.
pub fn conf_lexer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What is included comes from disk, which is not under test.
    if text.contains("include") {
        return;
    }
    let name = Path::new("fuzzed.conf");
    let tree = Tree::parse(name, text);
    render_all(&tree.diagnostics, &tree.sources);
    check_block(&tree.root, text.len());
}

fn check_block(block: &Block, length: usize) {
    for statement in &block.statements {
        for word in std::iter::once(&statement.name).chain(&statement.args) {
            assert!(word.span.start <= word.span.end && word.span.end as usize <= length, "{word:?}");
            // A quoted dollar or a byte that is not UTF-8 may be written in more than one way.
            let written = format!("x {};", quote(&word.text));
            let again = Tree::parse(Path::new("again.conf"), &written);
            let found = again.root.statements.first().and_then(|statement| statement.args.first());
            assert_eq!(found.map(|found| &*found.text), Some(&*word.text), "{written}");
        }
        if let Some(block) = &statement.block {
            check_block(block, length);
        }
    }
}

/// An answer of a name server to our question for the addresses of `example.com`.
pub fn dns(data: &[u8]) {
    if let Some(count) = believed_addresses("example.com", data) {
        assert!(count <= data.len() / 14, "an address takes 14 bytes of the message at least");
    }
}

/// What clients, peers and time do to the table of UDP sessions.
pub fn udp_flows(data: &[u8]) {
    udp_flows::run(data);
}
