//! What a peer may answer, and the requests that make it answer so.

use crate::pair::{Case, case};
use crate::recorder::Answers;

/// Whether the peer ends the connection after its bytes.
const STAYS: bool = false;
const ENDS: bool = true;

type Row = (&'static str, &'static str, bool);

const ROWS: &[Row] = &[
    ("length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", STAYS),
    ("length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", STAYS),
    ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", STAYS),
    ("no chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", STAYS),
    ("chunk trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", STAYS),
    ("chunk extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n", STAYS),
    ("until the end", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc", ENDS),
    ("http/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", ENDS),
    ("http/1.0 until the end", "HTTP/1.0 200 OK\r\n\r\nabc", ENDS),
    ("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", ENDS),
    ("no words", "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", STAYS),
    ("blank for words", "HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc", STAYS),
    ("odd words", "HTTP/1.1 200 Fine, I guess\r\nContent-Length: 3\r\n\r\nabc", STAYS),
    ("201", "HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", STAYS),
    ("204", "HTTP/1.1 204 No Content\r\nX-One: 1\r\n\r\n", STAYS),
    ("204 with length", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", STAYS),
    ("304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", STAYS),
    ("304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"x\"\r\n\r\n", STAYS),
    ("206", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc", STAYS),
    ("404", "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\ngone", STAYS),
    ("500", "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", STAYS),
    ("503 with retry", "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy", STAYS),
    ("unknown status", "HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\nx", STAYS),
    ("status 600", "HTTP/1.1 600 Odd\r\nContent-Length: 1\r\n\r\nx", STAYS),
    ("status 99", "HTTP/1.1 99 Odd\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("status 1000", "HTTP/1.1 1000 Odd\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("100 first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("103 first", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", ENDS),
    (
        "redirect to itself",
        "HTTP/1.1 302 Found\r\nLocation: http://PEER/inner/page?x=1\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    (
        "redirect elsewhere",
        "HTTP/1.1 302 Found\r\nLocation: http://else.test/inner/\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    ("relative redirect", "HTTP/1.1 302 Found\r\nLocation: /inner/page\r\nContent-Length: 0\r\n\r\n", STAYS),
    ("refresh", "HTTP/1.1 200 OK\r\nRefresh: 3; url=http://PEER/inner/\r\nContent-Length: 0\r\n\r\n", STAYS),
    (
        "its own server and date",
        "HTTP/1.1 200 OK\r\nServer: mine\r\nDate: then\r\nX-One: 1\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    (
        "hop-by-hop fields",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3\r\nConnection: x\r\nX: 1\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    (
        "accel fields",
        "HTTP/1.1 200 OK\r\nX-Accel-Expires: 3\r\nX-Accel-Buffering: no\r\nX-Pad: p\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    (
        "many fields",
        "HTTP/1.1 200 OK\r\nb: 1\r\nA: 2\r\nSet-Cookie: x=1\r\nc: 3\r\nSet-Cookie: y=2\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    (
        "type, tag and time",
        "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\nContent-Type: text/x; charset=utf-8\r\nAccept-Ranges: bytes\r\nCache-Control: no-cache\r\nExpires: 0\r\nVary: *\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        STAYS,
    ),
    ("field without value", "HTTP/1.1 200 OK\r\nX-One:\r\nX-Two: \r\nContent-Length: 0\r\n\r\n", STAYS),
    ("field without blank", "HTTP/1.1 200 OK\r\nX-One:1\r\nContent-Length:0\r\n\r\n", STAYS),
    ("bare lf", "HTTP/1.1 200 OK\nX-One: 1\nContent-Length: 1\n\nx", STAYS),
    ("no status line", "hello\n", ENDS),
    ("nothing", "", ENDS),
    ("cut in the head", "HTTP/1.1 200 OK\r\nContent-Le", ENDS),
    ("cut in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", ENDS),
    ("cut in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", ENDS),
    ("cut before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ENDS),
    ("bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc", ENDS),
    ("more than its length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", STAYS),
    ("bad length", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", ENDS),
    ("negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc", ENDS),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", ENDS),
    (
        "length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ENDS,
    ),
    ("odd encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", ENDS),
    ("blank before colon", "HTTP/1.1 200 OK\r\nX-One : 1\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("folded", "HTTP/1.1 200 OK\r\nX-One: 1\r\n more\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("no colon", "HTTP/1.1 200 OK\r\nX-One\r\nContent-Length: 1\r\n\r\nx", ENDS),
    ("http/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\nx", ENDS),
];

pub fn answers() -> Answers {
    let mut answers: Answers =
        ROWS.iter().map(|(name, bytes, last)| (*name, (bytes.as_bytes().to_vec(), *last))).collect();
    let body = "0123456789".repeat(20_000);
    answers.insert("large", (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into(), STAYS));
    answers.insert("large until the end", (format!("HTTP/1.1 200 OK\r\n\r\n{body}").into(), ENDS));
    let head = "x".repeat(5000);
    answers.insert("large head", (format!("HTTP/1.1 200 OK\r\nX: {head}\r\nContent-Length: 0\r\n\r\n").into(), ENDS));
    answers
}

pub fn requests() -> Vec<Case> {
    let ask = |name: &'static str, head: String| {
        case(name, format!("{head} HTTP/1.1\r\nHost: a.test\r\nX-Answer: {name}\r\n\r\n"))
    };
    let mut cases: Vec<Case> = ROWS.iter().map(|(name, ..)| ask(name, "GET /".into())).collect();
    cases.extend(["large", "large until the end", "large head"].map(|name| ask(name, "GET /".into())));
    let answered = |name: &'static str, line: &str, answer: &str| {
        case(name, format!("{line}\r\nHost: a.test\r\nX-Answer: {answer}\r\n\r\n"))
    };
    cases.extend([
        answered("head, length", "HEAD / HTTP/1.1", "length 0"),
        answered("http/1.0 client, chunks", "GET / HTTP/1.0", "chunks"),
        answered("http/1.0 client, until the end", "GET / HTTP/1.0", "until the end"),
        answered("http/1.0 client that keeps, length", "GET / HTTP/1.0\r\nConnection: keep-alive", "length"),
        answered("http/1.0 client that keeps, chunks", "GET / HTTP/1.0\r\nConnection: keep-alive", "chunks"),
        answered("old peer, length", "GET /old/ HTTP/1.1", "length"),
        answered("old peer, until the end", "GET /old/ HTTP/1.1", "until the end"),
        answered("old peer, chunks", "GET /old/ HTTP/1.1", "chunks"),
        answered("unbuffered, chunks", "GET /unbuffered/ HTTP/1.1", "chunks"),
        answered("unbuffered, length", "GET /unbuffered/ HTTP/1.1", "length"),
        answered("unbuffered, until the end", "GET /unbuffered/ HTTP/1.1", "until the end"),
        answered("unbuffered, large", "GET /unbuffered/ HTTP/1.1", "large"),
        answered("unbuffered, cut in the body", "GET /unbuffered/ HTTP/1.1", "cut in the body"),
        answered("hidden field", "GET /hidden/ HTTP/1.1", "its own server and date"),
        answered("mapped, redirect to itself", "GET /mapped/ HTTP/1.1", "redirect to itself"),
        answered("mapped, redirect elsewhere", "GET /mapped/ HTTP/1.1", "redirect elsewhere"),
        answered("mapped, relative redirect", "GET /mapped/ HTTP/1.1", "relative redirect"),
        answered("mapped, refresh", "GET /mapped/ HTTP/1.1", "refresh"),
        answered("unredirected", "GET /unredirected/ HTTP/1.1", "redirect to itself"),
        answered("range of a peer's answer", "GET / HTTP/1.1\r\nRange: bytes=0-0", "length"),
        answered("condition on a peer's answer", "GET / HTTP/1.1\r\nIf-None-Match: \"x\"", "type, tag and time"),
    ]);
    cases
}
