//! The ways the bytes of a file take, and what becomes of files that change under way.

use fairlead_harness::{Client, Proxy, get};
use std::io::Read;

use crate::fairlead;

/// 3 MB of which no two stretches are alike.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// More than sockets hold.
const HUGE: usize = 40_000_000;

fn start(settings: &str) -> Proxy {
    fairlead()
        .file("site/small.txt", "small\n")
        .file("site/empty.txt", "")
        .file("site/large.bin", large())
        .file("site/huge.bin", vec![b'h'; HUGE])
        .http(&format!("{settings} server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; }}"))
}

#[test]
fn every_way_gives_the_same_bytes() {
    let large = large();
    for settings in [
        "",
        "sendfile on;",
        "sendfile on; sendfile_max_chunk 64k;",
        "sendfile on; sendfile_max_chunk 0; tcp_nopush on;",
        "sendfile on; aio threads;",
        "aio on; output_buffers 1 64k;",
        "sendfile on; aio threads=pool; read_ahead 1m;",
        "sendfile on; gzip on; gzip_types application/octet-stream;",
    ] {
        let proxy = start(settings);
        let mut client = Client::connect(proxy.address());
        for _ in 0..2 {
            assert_eq!(client.get("/small.txt").text(), "small\n", "{settings}");
            assert_eq!(client.get("/empty.txt").text(), "", "{settings}");
            assert!(client.get("/large.bin").body == large, "{settings}");
        }
        let part = client.request("GET /large.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=70000-1999999\r\n\r\n");
        assert!(part.body == large[70_000..2_000_000], "{settings}");
    }
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    for settings in ["", "sendfile on;", "sendfile on; aio threads;"] {
        let proxy = start(settings);
        let mut client = Client::connect(proxy.address());
        client.send("GET /large.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let (mut came, mut piece) = (Vec::new(), vec![0; 10_000]);
        loop {
            match client.stream().read(&mut piece).unwrap() {
                0 => break,
                count => came.extend_from_slice(&piece[..count]),
            }
            std::thread::yield_now();
        }
        assert!(came.ends_with(&large()), "{settings}: {} bytes", came.len());
    }
}

#[test]
fn a_file_that_loses_its_end_ends_the_connection_and_is_told() {
    for settings in ["", "sendfile on;"] {
        let proxy = start(settings);
        let mut client = Client::connect(proxy.address());
        client.send("GET /huge.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let first = client.bytes(1000);
        assert!(first.starts_with(b"HTTP/1.1 200 OK"), "{settings}");
        let file = proxy.directory().join("site/huge.bin");
        std::fs::File::options().write(true).open(file).unwrap().set_len(1000).unwrap();
        assert!(client.rest().len() < HUGE - 1_000_000, "{settings}");
        proxy.wait_for_error("pread() read only 0 of ");
        assert_eq!(get(proxy.address(), "/huge.bin").body.len(), 1000, "{settings}");
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for (line, told) in [
        ("aio sometimes;", "invalid value \"sometimes\""),
        ("aio threads=;", "invalid value \"threads=\""),
        ("sendfile maybe;", "it must be \"on\" or \"off\""),
        ("sendfile_max_chunk x;", "invalid value"),
        ("read_ahead x;", "invalid value"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {line} }}"));
        assert!(!fine && said.contains(told), "{line}: {said}");
    }
}
