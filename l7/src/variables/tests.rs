use super::testing::{exchange, request};
use super::*;
use crate::exchange::{Attempt, Exchange};
use fairlead_conf::Span;
use fairlead_core::clock::tick;
use std::path::Path;

fn cx() -> Cx {
    Cx::new(Path::new("/prefix"), Path::new("/prefix"))
}

fn word(text: &str) -> Word {
    Word { text: text.into(), span: Span::default(), quoted: false }
}

/// The value of `$name`, `None` when it has none.
fn value(exchange: &Exchange, name: &str) -> Option<String> {
    let variable = resolve(name, &cx()).unwrap_or_else(|| panic!("no variable {name}"));
    let mut out = Vec::new();
    exchange.push_value(&variable, &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
}

fn sample(fields: &[(&str, &str)]) -> Exchange {
    let mut exchange = exchange(
        "server { listen 8080; server_name first.example second.example; root /srv; }",
        request("GET /a%20b/c.txt?x=1&Y=2 HTTP/1.1", fields),
    );
    exchange.uri = b"/a b/c.txt".to_vec();
    exchange.host = b"example.com".to_vec();
    let query = exchange.request.buffer.windows(7).position(|window| window == b"x=1&Y=2").unwrap();
    exchange.args = Some(crate::h1::Slice::new(query, query + 7));
    exchange
}

#[test]
fn the_request_is_told() {
    let exchange =
        sample(&[("X-Forwarded-For", "10.0.0.1"), ("Cookie", "a=1; b=2"), ("Authorization", "Basic Ym9iOnB3")]);
    for (name, expected) in [
        ("uri", "/a b/c.txt"),
        ("request_uri", "/a%20b/c.txt?x=1&Y=2"),
        ("request", "GET /a%20b/c.txt?x=1&Y=2 HTTP/1.1"),
        ("args", "x=1&Y=2"),
        ("is_args", "?"),
        ("arg_y", "2"),
        ("ARG_X", "1"),
        ("host", "example.com"),
        ("http_host", "Example.com:8080"),
        ("cookie_b", "2"),
        ("remote_addr", "192.0.2.1"),
        ("remote_port", "4000"),
        ("server_addr", "127.0.0.1"),
        ("server_port", "8080"),
        ("server_name", "first.example"),
        ("connection", "7"),
        ("connection_requests", "3"),
        ("remote_user", "bob"),
        ("proxy_add_x_forwarded_for", "10.0.0.1, 192.0.2.1"),
        ("document_root", "/srv"),
        ("request_filename", "/srv/a b/c.txt"),
        ("scheme", "http"),
        ("status", "000"),
        ("nginx_version", "1.31.5"),
        ("request_completion", ""),
    ] {
        assert_eq!(value(&exchange, name).as_deref(), Some(expected), "${name}");
    }
}

#[test]
fn what_is_not_there_has_no_value() {
    let exchange = sample(&[]);
    for name in [
        "http_x",
        "arg_z",
        "cookie_a",
        "remote_user",
        "upstream_addr",
        "proxy_host",
        "sent_http_x",
        "1",
        "proxy_protocol_addr",
    ] {
        assert_eq!(value(&exchange, name), None, "${name}");
    }
    assert_eq!(value(&exchange, "proxy_add_x_forwarded_for").as_deref(), Some("192.0.2.1"));
}

#[test]
fn times_have_three_decimals() {
    let exchange = sample(&[]);
    for name in ["request_time", "connection_time", "msec"] {
        let text = value(&exchange, name).unwrap();
        let (seconds, millis) = text.split_once('.').unwrap();
        assert!(seconds.parse::<u64>().is_ok() && millis.len() == 3, "${name} is {text}");
    }
}

#[test]
fn the_request_id_stays() {
    let exchange = sample(&[]);
    let id = value(&exchange, "request_id").unwrap();
    assert_eq!(Some(&id), value(&exchange, "request_id").as_ref());
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[test]
fn tries_are_listed_with_commas() {
    let mut exchange = sample(&[]);
    let attempt = Attempt {
        peer: None,
        group: "backend".into(),
        from: None,
        bound: None,
        queue_time: None,
        anew: false,
        status: 502,
        started: tick(),
        connect_time: None,
        header_time: None,
        response_time: Some(12),
        bytes_sent: 0,
        bytes_received: 0,
        response_length: 0,
    };
    exchange.attempts = vec![attempt.clone(), Attempt { status: 200, connect_time: Some(1003), ..attempt }];
    for (name, expected) in [
        ("upstream_addr", "backend, backend"),
        ("upstream_status", "502, 200"),
        ("upstream_connect_time", "-, 1.003"),
        ("upstream_response_time", "0.012, 0.012"),
        ("upstream_bytes_sent", "0, 0"),
    ] {
        assert_eq!(value(&exchange, name).as_deref(), Some(expected), "${name}");
    }
}

#[test]
fn heads_are_looked_into() {
    let mut exchange = sample(&[]);
    exchange.upstream_head = b"HTTP/1.1 200 OK\r\nX-Up: yes\r\nSet-Cookie: sid=r7; path=/\r\n\r\n".to_vec();
    exchange.sent_head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec();
    assert_eq!(value(&exchange, "upstream_http_x_up").as_deref(), Some("yes"));
    assert_eq!(value(&exchange, "upstream_cookie_sid").as_deref(), Some("r7"));
    assert_eq!(value(&exchange, "sent_http_content_type").as_deref(), Some("text/plain"));
}

#[test]
fn unknown_names_are_told_apart_from_those_not_built() {
    let message = |text: &str| compile(&word(text), &cx()).unwrap_err().message;
    assert_eq!(message("a$nope"), "unknown \"nope\" variable");
    assert_eq!(message("$ssl_protocol"), "variable \"ssl_protocol\" is known to nginx, not built in fairlead yet");
}

#[test]
fn groups_become_variables() {
    let cx = cx();
    let tree = fairlead_conf::Tree::parse(
        Path::new("test.conf"),
        r"location ~ ^/(?<a>x)/(?P<b_1>y)(?:z)(?<!w)(?<=v)(?<uri>.)$ { }
          map $x $d { ~^(?<e>.) 1; set $f; } geo $g {}",
    );
    custom::define(&tree.root, &cx, &mut custom::Givers::default());
    let numbers: Vec<_> = ["a", "B_1", "d", "e", "g"].map(|name| resolve(name, &cx)).into();
    assert_eq!(numbers, [0, 1, 2, 3, 4].map(|number| Some(Variable::Custom(number))));
    assert_eq!(resolve("f", &cx), None, "a map's keys are texts");
    assert!(matches!(resolve("uri", &cx), Some(Variable::Row(_))), "nginx's own come first");
    assert_eq!(resolve("3", &cx), Some(Variable::Group(3)));
    assert!(resolve("0", &cx).is_none() && resolve("10", &cx).is_none());
}

#[test]
fn names_are_unique_and_explained() {
    let mut seen = std::collections::HashSet::new();
    for (name, doc) in documentation() {
        assert!(seen.insert(name), "{name} twice");
        assert!(doc.len() >= 6 && doc.ends_with('.'), "{name}: {doc}");
    }
}
