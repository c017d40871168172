//! Bodies of requests on their way to a peer: what reaches it, byte for byte, and what the client and
//! the log hear, for framings, lengths and settings in all combinations.

use crate::http::PROXY;
use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

/// Locations and what they say.
const PLACES: &[(&str, &str)] = &[
    ("/plain", ""),
    ("/small", "client_body_buffer_size 128;"),
    ("/single", "client_body_in_single_buffer on; client_body_buffer_size 512;"),
    ("/file", "client_body_in_file_only clean;"),
    ("/old", "proxy_http_version 1.0;"),
    ("/old-streamed", "proxy_http_version 1.0; proxy_request_buffering off;"),
    ("/streamed", "proxy_request_buffering off;"),
    ("/limited", "client_max_body_size 1000;"),
    ("/made", "proxy_set_body \"made of $request_method\";"),
    (
        "/shown",
        "proxy_set_header X-Body \"<$request_body>\"; proxy_set_header X-Length $content_length; proxy_set_header Connection close;",
    ),
    ("/bare", "proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header Connection close;"),
    ("/put", "proxy_method PUT;"),
];

const SIZES: &[usize] = &[0, 1, 127, 160, 161, 999, 1000, 1001, 4096, 16_000];

/// How a client says where its body ends.
const FRAMINGS: &[&str] = &["length", "chunked", "tiny chunks", "odd chunks"];

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|at| b'a' + (at % 23) as u8).collect()
}

fn request(place: &str, size: usize, framing: &str) -> Vec<u8> {
    let method = ["POST", "PUT", "PATCH", "DELETE"][size % 4];
    let body = body(size);
    let head = format!("{method} {place}?{size} HTTP/1.1\r\nHost: main.test\r\n");
    if framing == "length" {
        return [head.as_bytes(), format!("Content-Length: {size}\r\n\r\n").as_bytes(), &body].concat();
    }
    let step = match framing {
        "tiny chunks" => 7.max(size / 50),
        "odd chunks" => 613,
        _ => 1 << 20,
    };
    let mut bytes = format!("{head}Transfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n").into_bytes();
    for (number, part) in body.chunks(step).enumerate() {
        let size = if number % 2 == 0 { format!("{:x}", part.len()) } else { format!("0{:X}", part.len()) };
        let extension = if framing == "odd chunks" { ";name=value" } else { "" };
        bytes.extend(format!("{size}{extension}\r\n").bytes());
        bytes.extend_from_slice(part);
        bytes.extend(b"\r\n");
    }
    bytes.extend(if framing == "odd chunks" { &b"00\r\nX-Trailer: t\r\n\r\n"[..] } else { b"0\r\n\r\n" });
    bytes
}

fn generated() -> Vec<Case> {
    let mut cases = Vec::new();
    for (place, _) in PLACES {
        for (size, framing) in SIZES.iter().flat_map(|size| FRAMINGS.iter().map(move |framing| (*size, *framing))) {
            let name = String::leak(format!("{place} {framing} {size}"));
            cases.push(case(name, request(place, size, framing)));
        }
    }
    cases
}

/// Clients that wait to be told to go on.
fn waiting() -> Vec<Case> {
    let places = PLACES.iter().filter(|(place, _)| !place.ends_with("streamed"));
    let asked = places.flat_map(|(place, _)| [0_usize, 5, 990, 1001].map(|size| (*place, size)));
    let one = |(place, size): (&str, usize)| {
        let name: &'static str = String::leak(format!("{place} expects {size}"));
        let head = format!(
            "POST {place} HTTP/1.1\r\nHost: main.test\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n"
        );
        Case { name, parts: vec![head.into_bytes(), body(size)], finish: false }
    };
    asked.map(one).collect()
}

#[test]
fn bodies_reach_the_peer_alike() {
    let locations: String = PLACES
        .iter()
        .map(|(place, rows)| format!("location {place} {{ {rows} proxy_pass http://{{peer}}; }}\n"))
        .collect();
    let http = format!(
        "{PROXY} log_format bodies '$request_method $uri $args $status $request_length [$request_body] $content_length';
        server {{ listen 127.0.0.1:{{port}}; server_name main.test; client_body_buffer_size 16k;
            keepalive_requests 10000; access_log {{dir}}/bodies.log bodies; {locations}
            location / {{ proxy_pass http://{{peer}}; }} }}"
    );
    let pair = Pair::start("request bodies", &http, Answers::new());
    let cases: Vec<Case> = generated().into_iter().chain(waiting()).collect();
    assert!(cases.len() >= 500);
    pair.compare(&cases);
    // Each connection has a last request, but those of bodies that are too long.
    let too_long = 13;
    pair.compare_lines("bodies.log", 2 * cases.len() - too_long, |line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            // When the connection was closed, no last request followed.
            ["GET", ..] => None,
            // How far a body was read that is too long is nobody's business.
            [method, uri, args, "413", ..] => Some(format!("{method} {uri} {args} 413")),
            // nginx holds what came with the head beside its buffer, and shows it.
            [method, uri @ ("/small" | "/single"), args, status, length, _, content_length] => {
                Some(format!("{method} {uri} {args} {status} {length} {content_length}"))
            }
            _ => Some(line.into()),
        }
    });
}
