//! The fuzzers' corpora, replayed without a fuzzer: through the very same entries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop, and says where"
)]

use std::fs;
use std::path::Path;

use fairlead_l7::h1::{Limits, Progress, Request};

#[path = "../fuzz/src/lib.rs"]
mod entries;

/// Every file of a corpus, each beginning of it, and it with each bit of its first bytes turned.
fn replay(name: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files = 0;
    for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = file.expect("a corpus can be listed").path();
        let bytes = fs::read(&path).expect("a corpus can be read");
        println!("{}", path.display());
        for end in 0..=bytes.len() {
            entry(&bytes[..end]);
        }
        for bit in 0..8 * bytes.len().min(256) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            entry(&changed);
        }
        files += 1;
    }
    assert!(files >= 5, "{name} has {files} seeds");
}

#[test]
fn requests() {
    replay("request", entries::request);
}

#[test]
fn responses() {
    replay("response", entries::response);
}

#[test]
fn frames_and_files_of_the_management() {
    replay("management", entries::management);
}

#[test]
fn chunked_bodies() {
    replay("chunked", entries::chunked);
}

#[test]
fn targets() {
    replay("uri", entries::uri);
}

#[test]
fn lists_of_ranges() {
    replay("ranges", entries::ranges);
}

#[test]
fn several_ranges_at_once() {
    replay("multipart", entries::multipart);
}

#[test]
fn cookie_fields() {
    replay("cookies", entries::cookies);
}

#[test]
fn proxy_protocol_headers() {
    replay("proxy_protocol", entries::proxy_protocol);
}

#[test]
fn client_hellos() {
    replay("client_hello", entries::client_hello);
}

#[test]
fn configurations() {
    replay("conf_lexer", entries::conf_lexer);
}

#[test]
fn name_servers_answers() {
    replay("dns", entries::dns);
}

#[test]
fn days_of_udp_sessions() {
    replay("udp_flows", entries::udp_flows);
}

/// Seeds that no parser gets far with would prove little.
#[test]
fn seeds_reach_the_end_of_what_they_are_seeds_of() {
    let seed = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name))
            .expect("a seed can be read")
    };
    let believed = |name: &str| fairlead_core::resolver::believed_addresses("example.com", &seed(name));
    assert_eq!(believed("dns/addresses"), Some(2));
    assert_eq!(believed("dns/alias"), Some(1));
    assert_eq!(believed("dns/other-id"), None);
    let (header, length) = fairlead_core::net::parse_proxy_header(&seed("proxy_protocol/v2-tlvs")).expect("a header");
    assert_eq!((header.tlvs.len(), length), (3, seed("proxy_protocol/v2-tlvs").len()));
    let mut request = Request::default();
    request.buffer = seed("request/escapes");
    assert_eq!(request.parse(&Limits::default()), Ok(Progress::Head));
}
