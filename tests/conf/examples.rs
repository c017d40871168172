//! The examples in `conf/` do what they say, on ports of this test's own.

use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Setup, WebSocket, eventually, get};

use crate::root;

/// An example over these peers, each with the address it has in the file.
fn example(name: &str, peers: &[(&str, &HttpPeer)]) -> Proxy {
    start(Setup::new(env!("CARGO_BIN_EXE_fairlead")), name, peers)
}

fn start(setup: Setup, name: &str, peers: &[(&str, &HttpPeer)]) -> Proxy {
    let read = |file: &str| std::fs::read_to_string(root().join("conf").join(file)).expect("the example is there");
    let mut text = read(&format!("{name}.conf"));
    let mut replace = |written: &str, ours: &str| {
        assert!(text.contains(written), "{name}: {written}");
        text = text.replace(written, ours);
    };
    replace("listen 8080", "listen 127.0.0.1:{port}");
    replace("pid run/fairlead.pid", "pid {dir}/pid");
    replace("access_log /dev/stdout", "access_log {dir}/access.log");
    replace("error_log stderr", "error_log {dir}/error.log");
    for (written, peer) in peers {
        replace(written, &peer.address().to_string());
    }
    // One thread: one round robin.
    let text = text.replace("worker_processes auto", "worker_processes 1");
    setup.file("mime.types", read("mime.types")).start_exactly(&format!("daemon off;\n{text}"))
}

fn named<const N: usize>(names: [&str; N]) -> [HttpPeer; N] {
    names.map(HttpPeer::named)
}

fn ask(proxy: &Proxy, target: &str, fields: &str) -> fairlead_harness::Response {
    let head = format!("GET {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n{fields}\r\n");
    Client::connect(proxy.address()).request(head)
}

#[test]
fn python_a_failed_server_is_left_alone_and_comes_back() {
    let [one, two] = named(["one", "two"]);
    let setup = Setup::new(env!("CARGO_BIN_EXE_fairlead")).file("html/static/site.css", "body {}\n");
    let proxy = start(setup, "python", &[("127.0.0.1:8001", &one), ("127.0.0.1:8002", &two)]);
    let answers = |count: usize| (0..count).map(|_| proxy.get("/").text()).collect::<Vec<_>>();
    assert_eq!(answers(4), ["one", "two", "one", "two"]);
    let style = proxy.get("/static/site.css");
    assert_eq!((style.text().as_str(), style.header("cache-control")), ("body {}\n", Some("max-age=3600")));

    let got = two.last();
    let told = ["Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"];
    let told = told.map(|name| got.header(name).unwrap_or_default().to_owned());
    assert_eq!(told, ["localhost", "127.0.0.1", "127.0.0.1", "localhost", "http"]);
    assert_eq!(got.header("connection"), None, "connections are kept");

    let port = one.stop().expect("its port is its own");
    assert_eq!(answers(4), ["two"; 4]);
    let _one = HttpPeer::named_at("one again", port.address());
    eventually("the first one is back", || proxy.get("/").text() == "one again");
    let log = proxy.access_lines(10);
    let tried = format!("peer={}, {} status=502, 200", port.address(), two.address());
    assert_eq!(log.iter().filter(|line| line.contains(&tried)).count(), 1, "{log:#?}");
}

#[test]
fn websocket_sockets_events_and_pages_pass_side_by_side() {
    let answer = |request: &fairlead_harness::Request| match request.target() {
        "/socket" => Answer::websocket(),
        "/events" => Answer::Talk(Box::new(|stream| {
            use std::io::{Read, Write};
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
            let _ = stream.write_all(head);
            let _ = stream.read(&mut [0; 1]);
        })),
        _ => Answer::ok("page"),
    };
    let peers = [HttpPeer::start(answer), HttpPeer::start(answer)];
    let proxy = example("websocket", &[("127.0.0.1:9101", &peers[0]), ("127.0.0.1:9102", &peers[1])]);
    let mut sockets: Vec<WebSocket> = (0..4).map(|_| WebSocket::connect(proxy.address(), "/socket")).collect();
    for socket in &mut sockets {
        assert_eq!(socket.ask("hello"), "hello");
    }
    assert_eq!(peers.each_ref().map(|peer| peer.requests().len()), [2, 2], "the one with the fewest gets the next");
    // The event is here while the answer goes on.
    let mut listener = Client::connect(proxy.address());
    listener.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let came = String::from_utf8_lossy(&listener.bytes(150)).into_owned();
    assert!(came.starts_with("HTTP/1.1 200 OK"), "{came}");
    assert_eq!(proxy.get("/").text(), "page");
    let pages = peers.iter().flat_map(HttpPeer::requests).filter(|request| request.target() == "/");
    assert!(
        pages.into_iter().all(|request| request.header("connection").is_none()),
        "a plain request asks for nothing"
    );
    proxy.signal(fairlead_harness::Signal::SIGHUP);
    proxy.wait_for_error("reconfiguring");
    assert_eq!(sockets[0].ask("still there"), "still there");
}

#[test]
fn static_files_are_kept_as_long_as_their_kind_allows() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_fairlead"))
        .file("html/index.html", "<h1>Home</h1>\n")
        .file("html/404.html", "<h1>Not here</h1>\n")
        .file("html/css/site.css", ".row { color: teal; }\n".repeat(500))
        .file("html/photo.png", "picture")
        .file("html/.git/config", "secret")
        .file("html/files/a.pdf", "document");
    let proxy = start(setup, "static", &[]);
    let field = |target: &str, name: &str| ask(&proxy, target, "").header(name).map(str::to_owned);
    assert_eq!(field("/", "cache-control").as_deref(), Some("no-cache"));
    assert_eq!(field("/", "content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(field("/css/site.css", "expires").as_deref(), Some("Thu, 31 Dec 2037 23:55:55 GMT"));
    assert_eq!(field("/photo.png", "cache-control").as_deref(), Some("max-age=2592000"));
    assert_eq!(field("/files/a.pdf", "cache-control"), None);
    assert_eq!(field("/downloads/a.pdf", "content-disposition").as_deref(), Some("attachment"));
    let packed = ask(&proxy, "/css/site.css", "Accept-Encoding: gzip\r\n");
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), (Some("gzip"), Some("Accept-Encoding")));
    assert!(packed.body.len() < 1000, "{} bytes", packed.body.len());
    let part = ask(&proxy, "/css/site.css", "Range: bytes=0-3\r\n");
    assert_eq!((part.status(), part.text().as_str()), (206, ".row"));
    let none = ask(&proxy, "/none", "");
    assert_eq!((none.status(), none.text().as_str()), (404, "<h1>Not here</h1>\n"));
    assert_eq!(ask(&proxy, "/.git/config", "").status(), 404);
    let tag = field("/", "etag").expect("a file has one");
    assert_eq!(ask(&proxy, "/", &format!("If-None-Match: {tag}\r\n")).status(), 304);
}

#[test]
fn limits_turn_away_hold_back_and_spare() {
    let peers = named(["one", "two"]);
    let proxy = example("limits", &[("127.0.0.1:9101", &peers[0]), ("127.0.0.1:9102", &peers[1])]);
    let begin = Instant::now();
    let mut turns = (0..12).map(|_| ask(&proxy, "/", ""));
    let refused = turns.find(|answer| answer.status() != 200).expect("twelve at once are too many");
    assert_eq!((refused.status(), refused.text().as_str()), (429, "{\"error\":\"too many requests\"}\n"));
    assert_eq!((refused.header("retry-after"), refused.header("content-type")), (Some("1"), Some("application/json")));
    if begin.elapsed() < Duration::from_secs(1) {
        assert_eq!(peers.iter().map(|peer| peer.requests().len()).sum::<usize>(), 5);
    }
    assert!((0..12).all(|_| ask(&proxy, "/", "X-Api-Key: gold\r\n").status() == 200));
    assert_eq!(ask(&proxy, "/trial", "").status(), 200);

    let begin = Instant::now();
    assert!((0..4).all(|_| ask(&proxy, "/search", "").status() == 200));
    assert!(begin.elapsed() >= Duration::from_millis(590), "three waited for their turn: {:?}", begin.elapsed());

    let large = Client::connect(proxy.address())
        .request("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n");
    assert_eq!(large.status(), 413);
    let log = proxy.access_lines(20);
    for words in ["req=REJECTED", "req=DELAYED", "req=REJECTED_DRY_RUN", "conn=PASSED"] {
        assert!(log.iter().any(|line| line.contains(words)), "{words}: {log:#?}");
    }
}

#[test]
fn sticky_clients_stay_with_their_peer() {
    let peers = named(["one", "two", "three"]);
    let places = ["127.0.0.1:9101", "127.0.0.1:9102", "127.0.0.1:9103"];
    let proxy = example("sticky", &[(places[0], &peers[0]), (places[1], &peers[1]), (places[2], &peers[2])]);
    let all = |target: &str, fields: &str| {
        let mut seen: Vec<String> = (0..6).map(|_| ask(&proxy, target, fields).text()).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    let first = ask(&proxy, "/", "");
    let cookie = first.header("set-cookie").and_then(|value| value.split(';').next()).expect("it sets a cookie");
    assert_eq!(all("/", &format!("Cookie: {cookie}\r\n")), [first.text()]);
    assert_eq!(all("/", "").len(), 3, "without the cookie it is the next one's turn");
    assert_eq!(all("/address/", "").len(), 1);
    assert_eq!(all("/item/7", "").len(), 1);
    assert_eq!(all("/session/", "Cookie: session=42\r\n").len(), 1);
    let spread = |request: &dyn Fn(u32) -> String| {
        let mut seen: Vec<String> = (0..50).map(request).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
    };
    assert_eq!(spread(&|number| ask(&proxy, &format!("/item/{number}"), "").text()), 3);
    assert_eq!(spread(&|number| ask(&proxy, "/session/", &format!("Cookie: session={number}\r\n")).text()), 3);
}

#[test]
fn rewrite_rules_lead_where_they_say() {
    let peers = named(["one", "two"]);
    let setup = Setup::new(env!("CARGO_BIN_EXE_fairlead"))
        .file("html/index.html", "home\n")
        .file("html/download/cdn-west/mp3/file1.mp3", "music\n");
    let proxy = start(setup, "rewrite", &[("127.0.0.1:9101", &peers[0]), ("127.0.0.1:9102", &peers[1])]);
    let place = |target: &str| {
        let answer = ask(&proxy, target, "");
        (answer.status(), answer.header("location").unwrap_or_default().to_owned())
    };
    let port = proxy.address().port();
    assert_eq!(place("/index.php?a=1"), (301, format!("http://www.example.com:{port}/")));
    assert_eq!(place("/articles/12-old.html").1, format!("http://www.example.com:{port}/article/12"));
    assert_eq!(ask(&proxy, "/download/cdn-west/media/file1.flv", "").text(), "music\n");
    assert_eq!(ask(&proxy, "/index.html", "").text(), "home\n");
    assert_eq!(ask(&proxy, "/shop/12", "Cookie: release=next\r\n").status(), 200);
    let asked: Vec<String> = peers.iter().flat_map(HttpPeer::requests).map(|request| request.target().into()).collect();
    assert_eq!(asked, ["/app/item?id=12&release=next"]);
    let other = Client::connect(proxy.address())
        .request("GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    assert_eq!(other.header("location"), Some("http://www.example.com/a?b=c"));
    proxy.directory().write("html/maintenance", "");
    assert_eq!(get(proxy.address(), "/index.html").status(), 503);
}
