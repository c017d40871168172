use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<(Progress, Request), BadRequest> {
    let mut request = Request { buffer: text.as_bytes().to_vec(), ..Request::default() };
    request.parse(&Limits::default()).map(|progress| (progress, request))
}

fn head(text: &str) -> Request {
    match parse(text) {
        Ok((Progress::Head, request)) => request,
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn status(text: &str) -> u16 {
    match parse(text) {
        Err(bad) => bad.status,
        Ok((progress, _)) => panic!("{text:?} gave {progress:?}"),
    }
}

#[test]
fn keeps_the_request_line_and_the_fields_as_sent() {
    let request =
        head("POST /a%20b?x=1 HTTP/1.1\r\nHost: Example.com\r\nX-One:  two \t\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(request.line_bytes(), b"POST /a%20b?x=1 HTTP/1.1");
    assert_eq!(request.target_bytes(), b"/a%20b?x=1");
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.header(b"x-one"), Some(b"two".as_slice()));
    assert_eq!(request.known(Known::Host), Some(b"Example.com".as_slice()));
    assert_eq!(request.framing, RequestBody::Length(3));
    assert_eq!(&request.buffer[request.head_len..], b"abc");
}

#[test]
fn takes_absolute_targets_apart() {
    let request = head("GET http://a.example:81/x?y HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(request.authority.map(|a| a.of(&request.buffer).to_vec()), Some(b"a.example:81".to_vec()));
    assert_eq!(request.target_bytes(), b"/x?y");
    assert_eq!(head("GET http://a?q HTTP/1.1\r\nHost: b\r\n\r\n").target_bytes(), b"?q");
}

#[test]
fn answers_old_clients() {
    assert_eq!(head("GET /old\r\n").version, Version::Http09);
    let request = head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(request.wants_keepalive());
    assert!(!head("GET / HTTP/1.0\r\n\r\n").wants_keepalive());
    assert!(!head("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").wants_keepalive());
}

#[test]
fn refuses_what_smuggles() {
    let get = |rest: &str| status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n"));
    assert_eq!(get("Content-Length: 1\r\nContent-Length: 1"), 400);
    assert_eq!(get("Content-Length: +1"), 400);
    assert_eq!(get("Content-Length: 1, 1"), 400);
    assert_eq!(get("Content-Length: 99999999999999999999"), 400);
    assert_eq!(get("Content-Length: 3\r\nTransfer-Encoding: chunked"), 400);
    assert_eq!(get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400);
    assert_eq!(get("Transfer-Encoding: identity"), 501);
    assert_eq!(get("Transfer-Encoding: chunked, gzip"), 501);
    assert_eq!(get("Content-Length : 1"), 400);
    assert_eq!(get("X: a\r\n folded"), 400);
    assert_eq!(get("X: a\0b"), 400);
    assert_eq!(get("X: a\rb"), 400);
    assert_eq!(get("X: a\nY: b"), 400);
    assert_eq!(get("NoColon"), 400);
    assert_eq!(get(": no name"), 400);
    assert_eq!(get("Host: b"), 400);
    for name in ["Expect", "Authorization", "If-Match", "if-none-match", "If-Modified-Since"] {
        assert_eq!(get(&format!("{name}: a\r\n{name}: a")), 400, "{name}");
    }
    for name in ["If-Unmodified-Since", "If-Range", "content-range"] {
        assert_eq!(get(&format!("{name}: a\r\n{name}: b")), 400, "{name}");
    }
    assert_eq!(status("GET / HTTP/1.1\nHost: a\n\n"), 400);
    assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
}

#[test]
fn refuses_broken_request_lines() {
    for line in [
        "get / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET  HTTP/1.1",
        "POST /x",
        "GET / HTTP/1",
        "GET * HTTP/1.1",
        "GET / HTTQ/1.1",
    ] {
        assert_eq!(status(&format!("{line}\r\nHost: a\r\n\r\n")), 400, "{line}");
    }
    assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    assert_eq!(status("\x16\x03\x01"), 400);
}

#[test]
fn bounds_lines_and_heads() {
    let long = "a".repeat(9000);
    assert_eq!(status(&format!("GET /{long}")), 414);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}")), 494);
    let many = format!("X: {}\r\n", "b".repeat(4000)).repeat(9);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), 494);
    let fields = "X: y\r\n".repeat(1001);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), 400);
}

#[test]
fn leaves_out_fields_with_strange_names() {
    let request = head("GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\nX@Y: 2\r\nX-Y: 3\r\n\r\n");
    assert_eq!(request.fields().count(), 2);
}

#[test]
fn recycling_keeps_what_was_pipelined() {
    let mut request = head("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    request.recycle(request.head_len);
    assert_eq!(request.parse(&Limits::default()), Ok(Progress::Head));
    assert_eq!(request.target_bytes(), b"/2");
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut request = Request { buffer: bytes, ..Request::default() };
        let _ = request.parse(&Limits::default());
    }

    #[test]
    fn gives_the_same_however_it_arrives(cut in 0usize..90, tail in "[ -~\r\n]{0,40}") {
        let text = format!("GET /path?q HTTP/1.1\r\nHost: example.com\r\nX-A: b\r\n{tail}\r\n\r\n");
        let whole = parse(&text);
        let mut request = Request { buffer: text.as_bytes()[..cut.min(text.len())].to_vec(), ..Request::default() };
        let mut parts = request.parse(&Limits::default());
        if parts == Ok(Progress::NeedMore) {
            request.buffer.extend_from_slice(&text.as_bytes()[cut.min(text.len())..]);
            parts = request.parse(&Limits::default());
        }
        prop_assert_eq!(parts.map_err(|bad| bad.status), whole.map(|(progress, _)| progress).map_err(|bad| bad.status));
    }
}
