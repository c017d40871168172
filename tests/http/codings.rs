//! Bodies in Brotli and Zstandard beside gzip.

use std::io::{Read, Write};

use fairlead_harness::{Answer, Client, HttpPeer, Response};

use crate::fairlead;

fn unpacked(answer: &Response) -> Vec<u8> {
    let mut data = Vec::new();
    match answer.header("content-encoding") {
        None => data = answer.body.clone(),
        Some("gzip") => drop(flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut data).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(&*answer.body, 4096).read_to_end(&mut data).unwrap()),
        Some("zstd") => {
            data = vec![0; 8 << 20];
            let length = zstd_safe::decompress(data.as_mut_slice(), &answer.body).unwrap();
            data.truncate(length);
        }
        Some(other) => panic!("{other}"),
    }
    data
}

fn ask(client: &mut Client, path: &str, accepted: &str) -> Response {
    client.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepted}\r\n\r\n"))
}

#[test]
fn the_coding_a_client_likes_best_is_taken() {
    let text: Vec<u8> = (0..100_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let proxy = fairlead().file("site/index.html", &text).http(
        "gzip on; brotli on; zstd on; gzip_vary on;
        server { listen 127.0.0.1:{port}; root {dir}/site; location /gzip/ { brotli off; zstd off; alias {dir}/site/; } }",
    );
    let mut client = Client::connect(proxy.address());
    for (accepted, coding) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, br", Some("br")),
        ("gzip;q=1.0, br;q=0.5, zstd;q=0.1", Some("gzip")),
        ("gzip;q=0.5, br;q=0.9, zstd;q=0.8", Some("br")),
        ("zstd;q=0, br;q=0, gzip;q=0.1", Some("gzip")),
        ("br;q=0", None),
        ("identity", None),
    ] {
        let answer = ask(&mut client, "/", accepted);
        assert_eq!(answer.header("content-encoding"), coding, "{accepted}");
        assert!(unpacked(&answer) == text, "{accepted}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accepted}");
        assert_eq!(answer.header("content-length").is_none(), coding.is_some(), "{accepted}");
        assert_eq!(answer.header("etag").unwrap().starts_with("W/"), coding.is_some(), "{accepted}");
    }
    assert_eq!(ask(&mut client, "/gzip/", "zstd, br, gzip").header("content-encoding"), Some("gzip"));
    assert!(ask(&mut client, "/", "br\r\nRange: bytes=0-9").status() == 200, "no range of what is packed");
    assert_eq!(ask(&mut client, "/", "br\r\nVia: 1.1 proxy").header("content-encoding"), None, "as gzip_proxied says");
}

#[test]
fn the_ratio_of_each_coding_is_logged() {
    let text: Vec<u8> = (0..100_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let proxy = fairlead().file("site/index.html", &text).http(
        "log_format ratio '$gzip_ratio $brotli_ratio $zstd_ratio'; gzip on; brotli on; zstd on;
        server { listen 127.0.0.1:{port}; root {dir}/site; access_log {dir}/access.log ratio; }",
    );
    let mut client = Client::connect(proxy.address());
    let lengths = ["gzip", "br", "zstd", "identity"].map(|coding| ask(&mut client, "/", coding).body.len());
    for (number, line) in proxy.access_lines(4).iter().enumerate() {
        let mut ratios: Vec<&str> = line.split(' ').collect();
        if number < 3 {
            let ratio: f64 = ratios.remove(number).parse().unwrap_or_else(|_| panic!("{line}"));
            let real = text.len() as f64 / lengths[number] as f64;
            assert!((ratio - real).abs() < 0.02, "{ratio} {real}");
        }
        assert!(ratios.iter().all(|ratio| *ratio == "-"), "{line}");
    }
}

#[test]
fn levels_lengths_and_types_decide() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; brotli on; zstd on;
            location /short/ { brotli_min_length 100; zstd_min_length 3; default_type text/html; return 200 text; }
            location /css/ { default_type text/css; brotli_types text/css; return 200 'a text that is long enough'; }
            location /all/ { default_type text/css; zstd_types *; zstd_comp_level 19; return 200 'a text that is long enough'; }
            location /slow/ { default_type text/html; brotli_comp_level 11; brotli_window 1k; return 200 'a text that is long enough'; }
            location /none/ { brotli_types *; return 204; } }",
    );
    let mut client = Client::connect(proxy.address());
    for (path, coding) in [("/short/", Some("zstd")), ("/css/", Some("br")), ("/all/", Some("zstd")), ("/none/", None)]
    {
        let answer = ask(&mut client, path, "br, zstd");
        assert_eq!(answer.header("content-encoding"), coding, "{path}");
        assert_eq!(answer.header("vary"), None);
    }
    assert_eq!(ask(&mut client, "/short/", "br").header("content-encoding"), None);
    assert_eq!(unpacked(&ask(&mut client, "/slow/", "br")), b"a text that is long enough");
    assert_eq!(unpacked(&ask(&mut client, "/all/", "zstd")), b"a text that is long enough");
}

#[test]
fn files_that_are_packed_already_are_sent_as_they_are() {
    let proxy = fairlead().file("site/a.txt", "plain").file("site/a.txt.gz", "gz").file("site/a.txt.br", "br")
        .file("site/a.txt.zst", "zst").file("site/b.txt", "plain").file("site/b.txt.br", "br").http(
        "gzip_static on; brotli_static on; zstd_static on; gzip_vary on;
        server { listen 127.0.0.1:{port}; root {dir}/site; location /always/ { brotli_static always; alias {dir}/site/; } }",
    );
    let mut client = Client::connect(proxy.address());
    for (path, accepted, coding, text) in [
        ("/a.txt", "gzip, br, zstd", Some("zstd"), "zst"),
        ("/a.txt", "gzip, br", Some("br"), "br"),
        ("/a.txt", "gzip, br;q=0.5", Some("gzip"), "gz"),
        ("/a.txt", "identity", None, "plain"),
        ("/b.txt", "gzip, br, zstd", Some("br"), "br"),
        ("/b.txt", "zstd", None, "plain"),
        ("/always/b.txt", "identity", Some("br"), "br"),
    ] {
        let answer = ask(&mut client, path, accepted);
        assert_eq!((answer.header("content-encoding"), answer.text().as_str()), (coding, text), "{path} {accepted}");
        assert_eq!(answer.header("vary").is_some(), !path.starts_with("/always"), "{path} {accepted}");
    }
}

#[test]
fn what_an_unbuffered_peer_says_is_not_held_back() {
    for accepted in ["br", "zstd"] {
        let peer = HttpPeer::start(|_| {
            Answer::Talk(Box::new(|stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nfirst");
                let _ = stream.read(&mut [0; 1]);
            }))
        });
        let proxy = fairlead().set("peer", peer.address()).http(
            "brotli on; zstd on; server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; proxy_buffering off; } }",
        );
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepted}\r\n\r\n"));
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n\r\n") {
            came.extend(client.bytes(1));
        }
        let (mut data, mut text) = (Vec::new(), Vec::new());
        while text != b"first" {
            // Blocks, and fails the test, when the rest is held back.
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(client.bytes(1));
            }
            let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim(), 16).unwrap();
            data.extend(&client.bytes(size + 2)[..size]);
            text = beginning(accepted, &data);
        }
    }
}

/// What can be unpacked of what has come.
fn beginning(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut text = vec![0; 100];
    if coding == "br" {
        let length = brotli::Decompressor::new(data, 4096).read(&mut text).unwrap_or(0);
        text.truncate(length);
        return text;
    }
    let mut context = zstd_safe::DCtx::create();
    let mut out = Vec::with_capacity(100);
    let mut output = zstd_safe::OutBuffer::around(&mut out);
    context.decompress_stream(&mut output, &mut zstd_safe::InBuffer::around(data)).unwrap();
    out
}

#[test]
fn many_at_once_hold_what_the_reference_says() {
    let text = (0..200_000_u32)
        .flat_map(|number| format!("{:x} ", number.wrapping_mul(2_654_435_761)).into_bytes())
        .collect::<Vec<u8>>();
    for (accepted, most) in [("br", 12 << 20), ("zstd", 3 << 20)] {
        let proxy = fairlead()
            .workers(1)
            .file("site/index.html", &text)
            .http("brotli on; zstd on; server { listen 127.0.0.1:{port}; root {dir}/site; }");
        let resident = || proxy.workers().into_iter().map(fairlead_harness::process::peak_resident).max().unwrap();
        let before = resident();
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepted}\r\n\r\n");
        let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(proxy.address())).collect();
        clients.iter_mut().for_each(|client| client.send(&request));
        for client in &mut clients {
            assert!(unpacked(&client.response()) == text);
        }
        let each = resident().saturating_sub(before) / 16;
        assert!(each < most, "{accepted}: {each} bytes each");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (directive, words) in [
        ("brotli_comp_level 12;", "brotli_comp_level"),
        ("brotli_window 3k;", "power of two"),
        ("brotli_window 32m;", "power of two"),
        ("brotli_static maybe;", "brotli_static"),
        ("zstd_comp_level 0;", "zstd_comp_level"),
        ("zstd_comp_level 23;", "zstd_comp_level"),
        ("zstd maybe;", "zstd"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {directive} }}"));
        assert!(!fine && said.contains(words), "{directive}: {said}");
    }
}
