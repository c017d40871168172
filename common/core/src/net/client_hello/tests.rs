//! Hellos as clients really send them: those of OpenSSL were recorded, those with GREASE, ECH and
//! post-quantum shares are put together as browsers do it.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::path::Path;

fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/client_hello");
    std::fs::read(folder.join(name)).unwrap()
}

/// Version, server name and ALPN.
fn read(name: &str) -> (&'static str, String, String) {
    let hello = parse_client_hello(&recorded(name)).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (hello.protocol(), text(&hello.server_name), text(&hello.alpn))
}

const HELLOS: [(&str, &str, &str, &str); 17] = [
    ("tls13", "TLSv1.3", "www.example.com", ""),
    ("tls13-alpn", "TLSv1.3", "Api.Example.com", "h2,http/1.1,spdy/3"),
    ("tls13-only", "TLSv1.3", "thirteen.example.com", ""),
    ("psk", "TLSv1.3", "psk.example.com", ""),
    ("no-sni", "TLSv1.3", "", ""),
    ("tls12", "TLSv1.2", "old.example.com", ""),
    ("tls12-no-extensions", "TLSv1.2", "", ""),
    ("tls11", "TLSv1.1", "eleven.example.com", ""),
    ("tls10", "TLSv1", "ten.example.com", ""),
    ("grease-post-quantum", "TLSv1.3", "grease.example.com", "jj,h2,http/1.1"),
    ("ech-outer", "TLSv1.3", "public.ech.example", "h2"),
    ("many-records", "TLSv1.2", "records.example.com", "h2,http/1.1"),
    ("long-many-records", "TLSv1.2", "last.example.com", ""),
    ("only-1.2-in-versions", "TLSv1.2", "capped.example.com", ""),
    ("ip-as-name", "TLSv1.2", "127.0.0.1", ""),
    ("version-2", "TLSv1", "", ""),
    ("version-2-only", "SSLv2", "", ""),
];

#[test]
fn every_recorded_hello_is_read() {
    for (name, protocol, server_name, alpn) in HELLOS {
        assert_eq!(read(name), (protocol, server_name.to_owned(), alpn.to_owned()), "{name}");
    }
}

#[test]
fn a_beginning_of_a_hello_is_incomplete_and_what_follows_is_left_alone() {
    for (name, ..) in HELLOS {
        let bytes = recorded(name);
        // That form ends for us with the version.
        let needed = if name.starts_with("version-2") { 5 } else { bytes.len() };
        for end in 0..needed {
            assert_eq!(parse_client_hello(&bytes[..end]), Err(Incomplete), "{end} bytes of {name}");
        }
        let whole = parse_client_hello(&bytes);
        for end in needed..=bytes.len() {
            assert_eq!(parse_client_hello(&bytes[..end]), whole, "{end} bytes of {name}");
        }
        assert_eq!(parse_client_hello(&[&bytes, &b"\x17\x03\x03"[..]].concat()), whole, "{name} and more");
    }
}

#[test]
fn what_is_no_hello_is_known_at_once() {
    for bytes in [
        &b"G"[..],
        b"\r\n",
        b"\x15",
        b"\x16\x02",
        // A whole record with another message, and one with no message that follows by another kind of record.
        b"\x16\x03\x01\x00\x04\x0e",
        b"\x16\x03\x01\x00\x01\x01\x17",
        b"\x80\x2e\x02",
        b"\x80\x2e\x01\x04",
    ] {
        assert_eq!(parse_client_hello(bytes), Err(NotTls), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse_client_hello(&recorded("not-a-hello")), Err(NotTls));
    assert_eq!(parse_client_hello(&recorded("plain-http")), Err(NotTls));
}

/// A hello of version 1.2 in one record, with these extensions.
fn with_extensions(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &u16::try_from(extensions.len()).unwrap().to_be_bytes(),
        extensions,
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[CLIENT_HELLO], &length[1..], &body].concat();
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[HANDSHAKE, 3, 1], &length[..], &message].concat()
}

#[test]
fn lengths_that_do_not_fit_make_it_no_hello() {
    for (what, extensions) in [
        ("an extension beyond the message", &[0, 23, 0, 1][..]),
        ("half an extension's head", &[0, 23, 0]),
        ("a list of names beyond its extension", &[0, 0, 0, 2, 0, 1]),
        ("a name beyond its list", &[0, 0, 0, 5, 0, 3, 0, 0, 9]),
        ("a name that is not a host's", &[0, 0, 0, 6, 0, 4, 1, 0, 1, b'a']),
        ("an empty protocol", &[0, 16, 0, 3, 0, 1, 0]),
        ("a protocol beyond its list", &[0, 16, 0, 4, 0, 2, 3, b'h']),
        ("versions beyond their extension", &[0, 43, 0, 1, 2]),
    ] {
        assert_eq!(parse_client_hello(&with_extensions(extensions)), Err(NotTls), "{what}");
    }
}

#[test]
fn the_first_of_two_names_counts() {
    let names = [&[0, 0, 0, 6, 0, 4, 0, 0, 1, b'a'][..], &[0, 0, 0, 6, 0, 4, 0, 0, 1, b'b']].concat();
    assert_eq!(&*parse_client_hello(&with_extensions(&names)).unwrap().server_name, b"a");
}

#[test]
fn versions_that_nobody_has_defined_do_not_count() {
    let grease = [0, 43, 0, 3, 2, 0x7a, 0x7a];
    assert_eq!(parse_client_hello(&with_extensions(&grease)).unwrap().protocol(), "TLSv1.2");
}

/// Turned bits, cut and doubled pieces never panic, and more bytes never turn a verdict into a wait.
#[test]
fn mutations_never_panic_and_verdicts_are_final() {
    for seed in 0..256_u64 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner =
            TestRunner::new_with_rng(Config { cases: 8, failure_persistence: None, ..Config::default() }, rng);
        let changes = proptest::collection::vec((any::<usize>(), any::<u8>(), any::<bool>()), 1..8);
        let outcome = runner.run(&(0..HELLOS.len(), changes), |(which, changes)| {
            let mut bytes = recorded(HELLOS[which].0);
            for (at, value, insert) in changes {
                let at = at % bytes.len();
                if insert {
                    bytes.insert(at, value);
                } else {
                    bytes[at] = value;
                }
            }
            let mut verdict = Err(Incomplete);
            for end in 0..=bytes.len() {
                let now = parse_client_hello(&bytes[..end]);
                prop_assert!(verdict == Err(Incomplete) || verdict == now, "{end} bytes: {verdict:?}, then {now:?}");
                verdict = now;
            }
            Ok(())
        });
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
    }
}
