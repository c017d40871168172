//! What articles about nginx show does here what the article says of it, on ports of this test's own. What
//! needs more than is built is refused by name (`main.rs`).

use std::time::Duration;

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Response, Setup, TcpPeer, WebSocket, connect};
use fairlead_harness::{eventually_within, read_line};

use crate::seed;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}

/// A block of an article, with these pieces of its text replaced.
fn start(setup: Setup, name: &str, pieces: &[(&str, &str)]) -> Proxy {
    let mut text = std::fs::read_to_string(seed(name)).expect("the block is there");
    for (written, ours) in pieces {
        assert!(text.contains(written), "{name}: {written}");
        text = text.replace(written, ours);
    }
    if !pieces.iter().any(|(written, _)| written.contains("pid")) {
        text = format!("worker_processes 1; error_log {{dir}}/error.log info; pid {{dir}}/pid;\n{text}");
    }
    setup.start_exactly(&format!("daemon off;\n{text}"))
}

const LISTEN: (&str, &str) = ("listen 80;", "listen 127.0.0.1:{port};");

fn ask(proxy: &Proxy, host: &str, target: &str, fields: &str) -> Response {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    Client::connect(proxy.address()).request(head)
}

/// As the article's Python server, whose port says who it is.
fn python(name: &str) -> HttpPeer {
    HttpPeer::named(&format!("Served from port {name}"))
}

#[test]
fn one_proxy_alternates_and_survives_a_killed_server() {
    let peers = [python("8001"), python("8002")];
    let [one, two] = peers.each_ref().map(|peer| peer.address().to_string());
    let pieces = [
        ("server_name  proxy;", "listen 127.0.0.1:{port}; server_name proxy;"),
        ("127.0.0.1:8001", one.as_str()),
        ("127.0.0.1:8002", two.as_str()),
    ];
    let proxy = start(fairlead(), "one-proxy", &pieces);
    let served = |count: usize| (0..count).map(|_| proxy.get("/").text()).collect::<Vec<_>>();
    let alternating = ["Served from port 8001", "Served from port 8002"].repeat(2);
    assert_eq!(served(4), alternating);
    let [first, _second] = peers;
    let port = first.stop().expect("its port is its own");
    assert_eq!(served(6), ["Served from port 8002"; 6]);
    let _first = HttpPeer::named_at("Served from port 8001", port.address());
    eventually_within(Duration::from_secs(60), "the first one is back", || {
        served(2).iter().any(|text| text == alternating[0])
    });
    let mut again = served(4);
    again.sort_unstable();
    assert_eq!(again.iter().filter(|text| **text == alternating[0]).count(), 2, "{again:?}");
    assert!(proxy.directory().read("logs/proxy.access.log").lines().count() > 10);
}

#[test]
fn application_site_is_passed_on_with_who_asked() {
    let apache = HttpPeer::named("Django");
    let address = apache.address().to_string();
    let pieces = [("listen       80;", LISTEN.1), ("127.0.0.1:8080", address.as_str())];
    let proxy = start(fairlead(), "application-site", &pieces);
    assert_eq!(ask(&proxy, "dev.testproject.com", "/admin/?a=1", "X-Forwarded-For: 192.0.2.1\r\n").text(), "Django");
    let got = apache.last();
    assert_eq!(got.target(), "/admin/?a=1");
    let told = ["Host", "X-Real-IP", "X-Forwarded-For"].map(|name| got.header(name).unwrap_or_default().to_owned());
    assert_eq!(told, ["dev.testproject.com", "127.0.0.1", "192.0.2.1, 127.0.0.1"]);
    let post = |length: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        Client::connect(proxy.address()).request([head.as_bytes(), &vec![b'x'; length.min(10 << 20)]].concat()).status()
    };
    assert_eq!([post(10 << 20), post((10 << 20) + 1)], [200, 413]);
    assert_eq!(apache.last().body.len(), 10 << 20);
}

#[test]
fn best_practices_tell_the_application_and_open_sockets() {
    let peer = || {
        HttpPeer::start(|request| match request.header("upgrade") {
            Some(_) => Answer::websocket(),
            None => Answer::ok("app"),
        })
    };
    let peers = [peer(), peer(), peer()];
    let [node, python, backup] = peers.each_ref().map(|peer| peer.address().to_string());
    let pieces = [
        LISTEN,
        ("127.0.0.1:3000", node.as_str()),
        ("127.0.0.1:8000", python.as_str()),
        ("127.0.0.1:8081", backup.as_str()),
    ];
    let proxy = start(fairlead(), "best-practices", &pieces);
    let mut sockets: Vec<WebSocket> = (0..6).map(|_| WebSocket::connect(proxy.address(), "/ws/chat")).collect();
    for socket in &mut sockets {
        assert_eq!(socket.ask("hi"), "hi");
    }
    // Twice the weight, twice the sockets; the backup has none.
    assert_eq!(peers.each_ref().map(|peer| peer.requests().len()), [4, 2, 0]);
    assert_eq!(ask(&proxy, "example.com", "/", "").text(), "app");
    let got = peers.iter().flat_map(HttpPeer::requests).find(|request| request.target() == "/").expect("it came");
    let told = ["Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto"];
    let told = told.map(|name| got.header(name).unwrap_or_default().to_owned());
    assert_eq!(told, ["example.com", "127.0.0.1", "127.0.0.1", "http"]);
    let [node, python, backup] = peers;
    let ports = [node.stop(), python.stop()];
    assert_eq!(ask(&proxy, "example.com", "/", "").text(), "app");
    assert_eq!(backup.requests().len(), 1);
    drop(ports);
}

#[test]
fn canonical_name_is_where_the_other_one_leads() {
    let setup = fairlead().file("html/index.html", "the site\n");
    let proxy = start(setup, "canonical-name", &[("listen      80;", LISTEN.1)]);
    let answer = ask(&proxy, "example.com", "/a%20b?c=d", "");
    assert_eq!((answer.status(), answer.header("location")), (301, Some("http://www.example.com/a%20b?c=d")));
    assert_eq!(ask(&proxy, "www.example.com", "/", "").text(), "the site\n");
}

#[test]
fn local_site_is_a_folder_of_files() {
    let setup = fairlead().file("html/index.html", "welcome\n").file("html/old/index.htm", "old\n");
    let proxy = start(setup, "local-site", &[("listen       80;", LISTEN.1)]);
    assert_eq!(proxy.get("/").text(), "welcome\n");
    assert_eq!(proxy.get("/old/").text(), "old\n");
    assert_eq!(proxy.get("/none").status(), 404);
}

#[test]
fn rewrite_finds_music_under_its_new_name() {
    let setup = fairlead()
        .file("html/download/cdn-west/mp3/file1.mp3", "music\n")
        .file("html/download/cdn-east/mp3/talk.ra", "talk\n")
        .file("html/index.html", "hidden\n");
    let proxy = start(setup, "rewrite", &[LISTEN]);
    assert_eq!(proxy.get("/download/cdn-west/media/file1").text(), "music\n");
    assert_eq!(proxy.get("/download/cdn-west/media/file1.flv").text(), "music\n");
    assert_eq!(proxy.get("/download/cdn-east/audio/talk").text(), "talk\n");
    assert_eq!(["/", "/index.html", "/download/cdn-west/mp3/file1.mp3"].map(|path| proxy.get(path).status()), [403; 3]);
}

#[test]
fn static_expiry_is_forever_and_the_rest_is_the_applications() {
    let setup = fairlead()
        .file("site/style.css", "body {}\n")
        .file("site/song.ogg", "music")
        .file("site/page.txt", "page\n")
        .file("site/folder/index.php", "")
        .file("site/index.php", "");
    // The gateway to PHP is not built; what becomes of the request shows without it.
    let gateway = ("fastcgi_pass unix:/var/run/php5-fpm.sock;", "default_type text/plain; return 200 \"$uri?$args\";");
    let pieces = [
        ("root /var/www/example;", "listen 127.0.0.1:{port}; root {dir}/site;"),
        gateway,
        ("$uri =404;", "$uri =404;"),
    ];
    let proxy = start(setup, "static-expiry", &pieces);
    for path in ["/style.css", "/song.ogg"] {
        let answer = proxy.get(path);
        assert_eq!(answer.header("expires"), Some("Thu, 31 Dec 2037 23:55:55 GMT"), "{}", answer.head);
        assert_eq!(answer.header("cache-control"), Some("max-age=315360000"));
    }
    assert_eq!(proxy.get("/page.txt").header("expires"), None);
    assert_eq!(proxy.get("/page.txt").text(), "page\n");
    assert_eq!(proxy.get("/articles/7?a=b").text(), "/index.php?a=b");
    assert_eq!(proxy.get("/folder/").text(), "/folder/index.php?");
    assert_eq!(proxy.get("/none.css").status(), 404);
    let log = || proxy.directory().read("logs/example.access.log");
    eventually_within(Duration::from_secs(20), "what PHP answered is logged", || log().contains("/folder/"));
    let log = log();
    assert!(log.contains("/articles/7") && !log.contains(".css"), "{log}");
    assert!(!proxy.directory().read("logs/example.error.log").contains("none.css"), "log_not_found off");
}

#[test]
fn sticky_clients_stay_on_their_server() {
    let peers = [HttpPeer::named("webserver1"), HttpPeer::named("webserver2")];
    let [one, two] = peers.each_ref().map(|peer| peer.address().to_string());
    let proxy = start(fairlead(), "sticky", &[LISTEN, ("127.0.0.1:8001", &one), ("127.0.0.1:8002", &two)]);
    for _ in 0..2 {
        let first = ask(&proxy, "h", "/", "");
        let cookie = first.header("set-cookie").expect("the first answer names the server");
        assert!(cookie.starts_with("srv_id=") && cookie.contains("max-age=3600; path=/"), "{cookie}");
        let back = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap_or_default());
        assert!((0..5).all(|_| ask(&proxy, "h", "/", &back).text() == first.text()));
    }
    assert!(peers.iter().all(|peer| peer.requests().len() == 6), "each of the two clients had its own");
}

#[test]
fn weights_give_the_more_capable_server_more() {
    let name = |name: &'static str| {
        TcpPeer::start(move |mut stream| {
            let _ = std::io::Write::write_all(&mut stream, format!("{name}\n").as_bytes());
        })
    };
    let peers = [name("large"), name("small"), name("other")];
    let [large, small, other] = peers.each_ref().map(|peer| peer.address().to_string());
    let pieces = [
        ("listen 12340;", LISTEN.1),
        ("127.0.0.1:12345", large.as_str()),
        ("127.0.0.1:12346", small.as_str()),
        ("127.0.0.1:12347", other.as_str()),
    ];
    let proxy = start(fairlead(), "weights", &pieces);
    let mut seen: Vec<String> = (0..14).map(|_| read_line(&connect(proxy.address())).trim().to_owned()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [vec!["large"; 10], vec!["other"; 2], vec!["small"; 2]].concat());
}

#[test]
fn whole_server_compresses_spools_and_hides_its_version() {
    let page = HttpPeer::start(|_| {
        let body = "words that pack well, ".repeat(100);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", body.len());
        Answer::Raw((head + &body).into_bytes())
    });
    let setup = fairlead().set("peer", page.address()).file("sites-enabled/later", "");
    let pieces = [
        ("logs/error.log", "{dir}/error.log"),
        ("pid                 nginx.pid;", "pid {dir}/pid;"),
        (
            "include             sites-enabled/*;",
            "server { listen 127.0.0.1:{port}; location / { proxy_pass http://{peer}; } } include sites-enabled/*;",
        ),
    ];
    let proxy = start(setup, "whole-server", &pieces);
    let packed = ask(&proxy, "h", "/", "Accept-Encoding: gzip\r\nUser-Agent: Mozilla/5.0\r\nReferer: http://a/\r\n");
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), (Some("gzip"), Some("Accept-Encoding")));
    assert_eq!(packed.header("server").map(|server| server.contains('/')), Some(false), "{}", packed.head);
    let old = ask(&proxy, "h", "/", "Accept-Encoding: gzip\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 6.0)\r\n");
    assert_eq!(old.header("content-encoding"), None);
    // More than is kept in memory: it goes to disk first, and whole to the peer.
    let body = vec![b'b'; 500_000];
    let head = format!("POST /up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.request([head.as_bytes(), &body].concat()).status(), 200);
    assert_eq!(page.last().body, body);
    assert!(proxy.directory().join("client-body").is_dir());
    let lines = || proxy.directory().read("logs/access.log");
    eventually_within(Duration::from_secs(20), "three lines are logged", || lines().lines().count() == 3);
    assert!(lines().contains("\"GET / HTTP/1.1\" 200 ") && lines().contains("\"http://a/\" \"Mozilla/5.0\""));
}
