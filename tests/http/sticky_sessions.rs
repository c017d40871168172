//! `sticky route` and `sticky learn`: the peers themselves say where a session is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Signal, eventually};

use crate::fairlead;

/// Begins a session for who asks for `/login`, and knows it from then on.
fn server(name: &'static str) -> HttpPeer {
    let (known, next) = (Mutex::new(Vec::new()), AtomicU64::new(1));
    HttpPeer::start(move |request| {
        if request.target() == "/login" {
            let session = format!("{name}{}", next.fetch_add(1, Ordering::SeqCst));
            known.lock().unwrap().push(format!("session={session}"));
            let head = format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: session={session}; HttpOnly\r\nContent-Length: 1\r\n\r\n{name}"
            );
            return Answer::Raw(head.into_bytes());
        }
        match request.header("cookie") {
            Some(cookie) if known.lock().unwrap().iter().any(|known| known == cookie) => Answer::ok(name),
            _ => Answer::ok(format!("{name} does not know you")),
        }
    })
}

fn start(peers: [&HttpPeer; 2], sticky: &str) -> Proxy {
    fairlead().workers(4).set("a", peers[0].address()).set("b", peers[1].address()).http(&blocks(sticky))
}

fn blocks(sticky: &str) -> String {
    format!(
        "map $cookie_jsession $route_cookie {{ ~\\.(?P<route>\\w+)$ $route; }}
        map $request_uri $route_uri {{ ~jsession=[^.]+\\.(?P<route>\\w+)$ $route; }}
        log_format sticky '$upstream_sticky_status';
        upstream group {{ server {{a}} route=a; server {{b}} route=b; {sticky} }}
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/access.log sticky;
            location / {{ proxy_pass http://group; }} }}"
    )
}

fn ask(proxy: &Proxy, target: &str, cookie: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    Client::connect(proxy.address()).request(request).text()
}

fn login(proxy: &Proxy) -> (String, String) {
    let answer = proxy.get("/login");
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (answer.text(), cookie)
}

#[test]
fn the_first_route_that_is_not_empty_names_the_server() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let proxy = start([&a, &b], "sticky route $route_cookie $route_uri;");
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "/", "jsession=12.b"), "b");
        assert_eq!(ask(&proxy, "/x;jsession=12.a", "other=1"), "a");
        assert_eq!(ask(&proxy, "/x;jsession=12.a", "jsession=34.b"), "b");
    }
    let anybody = |cookie: &str| {
        let seen: Vec<String> = (0..24).map(|_| ask(&proxy, "/", cookie)).collect();
        assert!(seen.contains(&"a".to_owned()) && seen.contains(&"b".to_owned()), "{seen:?}");
    };
    anybody("jsession=12.c");
    anybody("other=1");
    let lines = proxy.access_lines(57);
    let count = |word: &str| lines.iter().filter(|line| *line == word).count();
    assert_eq!((count("HIT"), count("MISS"), count("NEW")), (9, 24, 24));
    assert!(proxy.get("/").header("set-cookie").is_none());
}

#[test]
fn a_session_is_learnt_and_its_requests_follow_it_over_all_workers() {
    let (a, b) = (server("a"), server("b"));
    let learn = "sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=sessions:64k;";
    let proxy = start([&a, &b], learn);
    let sessions: Vec<(String, String)> = (0..20).map(|_| login(&proxy)).collect();
    assert!(sessions.iter().any(|(name, _)| name == "a") && sessions.iter().any(|(name, _)| name == "b"));
    for _ in 0..3 {
        for (name, cookie) in &sessions {
            assert_eq!(ask(&proxy, "/", cookie), *name);
        }
    }
}

#[test]
fn sessions_outlive_a_reload() {
    let (a, b) = (server("a"), server("b"));
    let learn = "sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=sessions:64k header;";
    let mut proxy = start([&a, &b], learn);
    let sessions: Vec<(String, String)> = (0..10).map(|_| login(&proxy)).collect();
    let body = blocks(learn);
    proxy.rewrite(&format!("http {{ {body} server {{ listen 127.0.0.1:{{port_new}}; return 204; }} }}"));
    proxy.signal(Signal::SIGHUP);
    eventually("the new configuration serves", || Client::try_connect(proxy.port("port_new")).is_ok());
    for (name, cookie) in sessions.iter().cycle().take(40) {
        assert_eq!(ask(&proxy, "/", cookie), *name);
    }
}

#[test]
fn a_session_is_forgotten_after_its_timeout() {
    let (a, b) = (server("a"), server("b"));
    let learn = "sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=sessions:64k timeout=1s;";
    let proxy = start([&a, &b], learn);
    let (name, cookie) = login(&proxy);
    // Used all the time, it is known all the time.
    let start = Instant::now();
    while start.elapsed().as_millis() < 1500 {
        assert_eq!(ask(&proxy, "/", &cookie), name);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Asking would keep it alive: its time has to pass.
    std::thread::sleep(Duration::from_millis(1100));
    ask(&proxy, "/", &cookie);
    let last = |proxy: &Proxy| proxy.access_log().last().cloned();
    eventually("it is not known any longer", || last(&proxy).as_deref() == Some("MISS"));
}

#[test]
fn a_session_moves_to_the_peer_that_took_it_over() {
    let (a, b) = (server("a"), server("b"));
    let learn = "sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=sessions:64k;";
    let proxy = start([&a, &b], learn);
    let (mut name, mut cookie) = login(&proxy);
    while name != "a" {
        (name, cookie) = login(&proxy);
    }
    let port = a.stop().unwrap();
    assert_eq!(ask(&proxy, "/", &cookie), "b does not know you");
    let _a = HttpPeer::named_at("back", port.address());
    for _ in 0..10 {
        assert_eq!(ask(&proxy, "/", &cookie), "b does not know you", "it stays where it was taken over");
    }
    let (fine, said) = fairlead().check(
        "http { upstream x { server 127.0.0.1:1; sticky learn create=$a lookup=$b zone=z:64k; }
        upstream y { server 127.0.0.1:1; sticky learn create=$http_a lookup=$http_b zone=z:64k; } }",
    );
    assert!(!fine && said.contains("sticky zone \"z\" is already used in upstream \"x\""), "{said}");
}
