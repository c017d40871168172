//! The corpus of requests that ask for nothing special: what is odd is how they are written.

use crate::pair::{Case, case};

/// Requests for `/` and below that any configuration can answer.
pub fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    for group in [methods, versions, lines, fields, hosts, connections, bodies, smuggling, expectations, sizes] {
        cases.extend(group());
    }
    cases
}

fn methods() -> Vec<Case> {
    vec![
        case("get", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("head", "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("post without body", "POST / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("put", "PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("delete", "DELETE /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("options", "OPTIONS / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("options *", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("trace", "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("connect", "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("patch", "PATCH / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"),
        case("propfind", "PROPFIND / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("unknown method", "BREW / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("method with dash", "M-SEARCH / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("method with underscore", "MY_METHOD / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("lower-case method", "get / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("method with digit", "GET2 / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("long method", format!("{} / HTTP/1.1\r\nHost: a.test\r\n\r\n", "A".repeat(100))),
    ]
}

fn versions() -> Vec<Case> {
    vec![
        case("http/1.0", "GET / HTTP/1.0\r\n\r\n"),
        case("http/1.0 with host", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        case("http/1.0 keep-alive", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"),
        case("http/0.9", "GET /\r\n"),
        case("http/0.9 head", "HEAD /\r\n"),
        case("http/0.9 post", "POST /\r\n"),
        case("http/1.2", "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n"),
        case("http/1.9", "GET / HTTP/1.9\r\nHost: a.test\r\n\r\n"),
        case("http/1.10", "GET / HTTP/1.10\r\nHost: a.test\r\n\r\n"),
        case("http/1.01", "GET / HTTP/1.01\r\nHost: a.test\r\n\r\n"),
        case("http/1.", "GET / HTTP/1.\r\nHost: a.test\r\n\r\n"),
        case("http/01.1", "GET / HTTP/01.1\r\nHost: a.test\r\n\r\n"),
        case("http/0.9 spelled out", "GET / HTTP/0.9\r\nHost: a.test\r\n\r\n"),
        case("http/2.0", "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n"),
        case("http/3.7", "GET / HTTP/3.7\r\nHost: a.test\r\n\r\n"),
        case("http/11.1", "GET / HTTP/11.1\r\nHost: a.test\r\n\r\n"),
        case("lower-case version", "GET / http/1.1\r\nHost: a.test\r\n\r\n"),
        case("no slash in version", "GET / HTTP1.1\r\nHost: a.test\r\n\r\n"),
        case("http/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        case("tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ]
}

fn lines() -> Vec<Case> {
    vec![
        case("empty line first", "\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("blank before method", " GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("two blanks after method", "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("two blanks before version", "GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("blank after version", "GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n"),
        case("tab after method", "GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("blank in target", "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("word after version", "GET / HTTP/1.1 x\r\nHost: a.test\r\n\r\n"),
        case("no target", "GET HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("target without slash", "GET x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("only a method", "GET\r\n\r\n"),
        case("bare lf everywhere", "GET / HTTP/1.1\nHost: a.test\n\n"),
        case("bare lf after request line", "GET / HTTP/1.1\nHost: a.test\r\n\r\n"),
        case("bare lf after a field", "GET / HTTP/1.1\r\nHost: a.test\nX: 1\r\n\r\n"),
        case("bare cr in request line", "GET /\rx HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("bare cr in a value", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n"),
        case("cr cr lf", "GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
        case("nul in target", b"GET /\0 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("control character in target", b"GET /\x01 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("delete character in target", b"GET /\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("high bytes in target", b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("colon in method", "G:T / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ]
}

fn fields() -> Vec<Case> {
    let field = |name, line: &str| case(name, format!("GET / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n"));
    vec![
        field("usual field", "X-Test: yes"),
        field("field without value", "X-Test:"),
        field("field without blank", "X-Test:yes"),
        field("field with blanks around", "X-Test:   yes  "),
        field("field with tab before", "X-Test:\tyes"),
        field("field with tab after", "X-Test: yes\t"),
        field("field with tab inside", "X-Test: yes\tno"),
        field("blank before colon", "X-Test : yes"),
        field("tab before colon", "X-Test\t: yes"),
        field("no colon", "X-Test"),
        field("empty name", ": yes"),
        field("folded", "X-Test: a\r\n b"),
        field("folded with tab", "X-Test: a\r\n\tb"),
        field("underscore in name", "X_Test: yes"),
        field("dot in name", "X.Test: yes"),
        field("odd token characters in name", "X!#$%&'*+^`|~: yes"),
        field("slash in name", "X/Test: yes"),
        field("name with high bytes", "X-\u{e9}: yes"),
        field("value with high bytes", "X-Test: \u{e9}\u{20ac}"),
        field("delete character in a value", "X-Test: a\u{7f}b"),
        field("control character in a value", "X-Test: a\u{1}b"),
        field("nul in a value", "X-Test: a\u{0}b"),
        field("repeated field", "X-Test: a\r\nX-Other: b\r\nX-Test: c"),
        field("case of names is kept", "x-tEST: yes\r\nX-OTHER: No"),
        field("quotes and colons in a value", "X-Test: \"a:b\", 'c'; d=\\e"),
        field("hop-by-hop fields", "Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nTrailer: X"),
        field("fields that clients forge", "X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 5.6.7.8\r\nForwarded: for=9.9.9.9"),
        field("cookies", "Cookie: a=1\r\nCookie: b=2"),
        field("authorization", "Authorization: Basic dTpw"),
        field("duplicate user-agent", "User-Agent: a\r\nUser-Agent: b"),
        field("duplicate referer", "Referer: a\r\nReferer: b"),
    ]
}

fn hosts() -> Vec<Case> {
    let host = |name, value: &str| case(name, format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n"));
    vec![
        case("no host", "GET / HTTP/1.1\r\n\r\n"),
        case("two hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
        case("two equal hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
        host("empty host", ""),
        host("upper-case host", "A.Test"),
        host("host with port", "a.test:8080"),
        host("host with empty port", "a.test:"),
        host("host with strange port", "a.test:80x"),
        host("host with dot at end", "a.test."),
        host("host of dots", ".."),
        host("host with two dots", "a..test"),
        host("host with slash", "a.test/x"),
        host("host with blank", "a test"),
        host("host with at sign", "u@a.test"),
        host("host with underscore", "a_b.test"),
        host("host with comma", "a.test,b.test"),
        host("IPv4 host", "127.0.0.1"),
        host("IPv6 host", "[::1]"),
        host("IPv6 host with port", "[::1]:80"),
        host("unclosed IPv6 host", "[::1"),
        host("host with percent", "a%20b.test"),
        case("absolute target", "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target with port", "GET http://b.test:81/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target without path", "GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target with query only", "GET http://b.test?x=1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target without host field", "GET http://b.test/ HTTP/1.1\r\n\r\n"),
        case("absolute target in http/1.0", "GET http://b.test/ HTTP/1.0\r\n\r\n"),
        case("absolute target, other scheme", "GET https://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target, strange scheme", "GET ftp1://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target, upper case", "GET HTTP://B.TEST/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target, no host in it", "GET http:/// HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target with user", "GET http://u@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        case("absolute target, IPv6", "GET http://[::1]:80/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ]
}

fn connections() -> Vec<Case> {
    let with = |name, value: &str| case(name, format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: {value}\r\n\r\n"));
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    vec![
        with("connection close", "close"),
        with("connection keep-alive", "keep-alive"),
        with("connection close in upper case", "CLOSE"),
        with("connection list with close", "foo, close"),
        with("connection keep-alive and close", "keep-alive, close"),
        with("connection names a field", "X-Test\r\nX-Test: 1"),
        with("upgrade", "upgrade\r\nUpgrade: websocket"),
        with("upgrade h2c", "Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        case("two in a row", get.repeat(2)),
        case("five in a row", get.repeat(5)),
        case(
            "a body and then one more",
            format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc{get}"),
        ),
        case(
            "chunks and then one more",
            format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{get}"),
        ),
        case("good and then bad", format!("{get}BAD\r\n\r\n")),
        case("bad and then good", format!("B@D / HTTP/1.1\r\n\r\n{get}")),
        case("close and then one more", format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{get}")),
        case("empty lines between", format!("{get}\r\n\r\n{get}")),
        Case { finish: true, ..case("client stops in the request line", "GET / HT") },
        Case { finish: true, ..case("client stops in the fields", "GET / HTTP/1.1\r\nHost: a") },
        Case { finish: true, ..case("client stops in an empty line", "\r\n") },
    ]
}

fn bodies() -> Vec<Case> {
    let post = |name, rest: &str| case(name, format!("POST / HTTP/1.1\r\nHost: a.test\r\n{rest}"));
    let chunked = |name, chunks: &str| {
        case(name, format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))
    };
    vec![
        post("length 0", "Content-Length: 0\r\n\r\n"),
        post("length", "Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"),
        post("length with blanks", "Content-Length:  5 \r\n\r\nhello"),
        post("length with zeros", "Content-Length: 0005\r\n\r\nhello"),
        post("large body", &format!("Content-Length: 100000\r\n\r\n{}", "x".repeat(100_000))),
        case("get with body", "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        case("http/1.0 with body", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
        chunked("one chunk", "5\r\nhello\r\n0\r\n\r\n"),
        chunked("three chunks", "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"),
        chunked("no chunk", "0\r\n\r\n"),
        chunked("chunk size in upper case", "A\r\n0123456789\r\n0\r\n\r\n"),
        chunked("chunk size in lower case", "a\r\n0123456789\r\n0\r\n\r\n"),
        chunked("chunk size with zeros", "0005\r\nhello\r\n000\r\n\r\n"),
        chunked("chunk extension", "5;a=b\r\nhello\r\n0\r\n\r\n"),
        chunked("chunk extension on the last", "5\r\nhello\r\n0;x\r\n\r\n"),
        chunked("chunk trailer", "5\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n"),
        chunked("blank after chunk size", "5 \r\nhello\r\n0\r\n\r\n"),
        chunked("blank before chunk size", " 5\r\nhello\r\n0\r\n\r\n"),
        chunked("bare lf after chunk size", "5\nhello\r\n0\r\n\r\n"),
        chunked("bare lf after chunk", "5\r\nhello\n0\r\n\r\n"),
        chunked("bare lf at the end", "5\r\nhello\r\n0\n\n"),
        chunked("chunk longer than it says", "3\r\nhello\r\n0\r\n\r\n"),
        chunked("no chunk size", "\r\nhello\r\n0\r\n\r\n"),
        chunked("chunk size with sign", "+5\r\nhello\r\n0\r\n\r\n"),
        chunked("chunk size with prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("chunk size not hex", "g\r\nhello\r\n0\r\n\r\n"),
        chunked("chunk size too large", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ]
}

fn smuggling() -> Vec<Case> {
    let post = |name, fields: &str, body: &str| {
        case(name, format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n{body}"))
    };
    vec![
        post("length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n"),
        post("two lengths", "Content-Length: 2\r\nContent-Length: 3", "abc"),
        post("two equal lengths", "Content-Length: 2\r\nContent-Length: 2", "ab"),
        post("length list", "Content-Length: 2, 2", "ab"),
        post("negative length", "Content-Length: -1", ""),
        post("length with sign", "Content-Length: +2", "ab"),
        post("length in hex", "Content-Length: 0x2", "ab"),
        post("length with a word", "Content-Length: 2a", "ab"),
        post("empty length", "Content-Length:", ""),
        post("length too large", "Content-Length: 99999999999999999999", ""),
        post("length with blank inside", "Content-Length: 1 0", ""),
        post("blank before the length's colon", "Content-Length : 2", "ab"),
        post("blank before the encoding's colon", "Transfer-Encoding : chunked", "0\r\n\r\n"),
        post("chunked in upper case", "Transfer-Encoding: CHUNKED", "0\r\n\r\n"),
        post("chunked with a tab", "Transfer-Encoding:\tchunked", "0\r\n\r\n"),
        post("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("chunked listed twice", "Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
        post("identity", "Transfer-Encoding: identity", ""),
        post("identity and chunked", "Transfer-Encoding: identity, chunked", "0\r\n\r\n"),
        post("gzip and chunked", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        post("chunked in quotes", "Transfer-Encoding: \"chunked\"", "0\r\n\r\n"),
        post("xchunked", "Transfer-Encoding: xchunked", "0\r\n\r\n"),
        post("empty encoding", "Transfer-Encoding:", ""),
        post("underscore in the length's name", "Content_Length: 2\r\nContent-Length: 3", "abc"),
        post("underscore in the encoding's name", "Transfer_Encoding: chunked\r\nContent-Length: 3", "abc"),
        post("folded encoding", "Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
        case(
            "chunks in http/1.0",
            "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        case(
            "a request inside a get's body",
            "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 37\r\n\r\nGET /inner HTTP/1.1\r\nHost: b.test\r\n\r\n",
        ),
    ]
}

fn expectations() -> Vec<Case> {
    let expect = |name, value: &str| {
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: {value}\r\n\r\n");
        (name, head)
    };
    let (first, head) = expect("expect, and the body after the answer", "100-continue");
    let (second, head_upper) = expect("expect in upper case", "100-CONTINUE");
    let (third, head_other) = expect("expect something else", "200-ok");
    vec![
        Case { parts: vec![head.clone().into_bytes(), b"hi".to_vec()], ..case(first, "") },
        Case { parts: vec![head_upper.into_bytes(), b"hi".to_vec()], ..case(second, "") },
        case(third, format!("{head_other}hi")),
        case("expect with the body at once", format!("{head}hi")),
        case(
            "expect in http/1.0",
            "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
        ),
        case("expect without body", "GET / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n"),
    ]
}

fn sizes() -> Vec<Case> {
    let long = |count: usize| "x".repeat(count);
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect::<String>();
    vec![
        case("long target", format!("GET /?{} HTTP/1.1\r\nHost: a.test\r\n\r\n", long(7000))),
        case("target too long", format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", long(9000))),
        case("long field", format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Test: {}\r\n\r\n", long(7000))),
        case("field too long", format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Test: {}\r\n\r\n", long(9000))),
        case("name too long", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}: x\r\n\r\n", long(9000))),
        case("hundred fields", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", fields(100))),
        case(
            "fields too long together",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", format!("X-Test: {}\r\n", long(7000)).repeat(6)),
        ),
        case(
            "body too large",
            format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2000000\r\n\r\n{}", long(2_000_000)),
        ),
        case(
            "chunk too large",
            format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n{}\r\n0\r\n\r\n",
                long(0x20_0000)
            ),
        ),
    ]
}
