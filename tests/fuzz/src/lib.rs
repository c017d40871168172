//! What is fuzzed: every parser of bytes that strangers send. Each entry takes any bytes and
//! panics when a promise is broken; the promise that matters most is that bytes mean the same in
//! whatever pieces they arrive. The workspace's tests replay the corpora through the same entries.

use std::path::Path;

use fairlead_conf::{Block, Tree, quote, render_all};
use fairlead_core::net::{ClientHelloError, ProxyProtocolError, parse_client_hello, parse_proxy_header};
use fairlead_core::resolver::believed_addresses;

mod http;
mod management;
#[allow(dead_code, reason = "whole connections are for the black-box tests")]
#[path = "../../harness/src/strict.rs"]
mod strict;
mod udp_flows;
mod words;

pub use http::{chunked, request, response};
pub use management::management;
pub use words::{cookies, multipart, ranges, uri};

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
