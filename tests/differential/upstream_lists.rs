//! The `$upstream_*` variables of requests that needed more than one try, or more than one group: the
//! lists of both, element by element; times are compared as there or not there.

use std::net::SocketAddr;

use fairlead_harness::{Answer, Client, HttpPeer, Port, Proxy, Setup, eventually};

use crate::pair::both;

const LISTS: &str = "$uri|$status|$upstream_addr|$upstream_status|$upstream_connect_time|$upstream_header_time|\
    $upstream_response_time|$upstream_response_length|$upstream_bytes_sent|$upstream_bytes_received|\
    $upstream_http_x_name|$upstream_http_content_type|$upstream_cookie_color";

/// `{a}` and `{b}` live, `{f}` answers 500 with a body, `{x}` and `{y}` are dead, `{s}` never answers,
/// `{c}` closes at once, `{p}` sends half of what it announces.
const HTTP: &str = r#"
    upstream plain { server {a}; }
    upstream dead_then_live { server {x} max_fails=0; server {a} backup; }
    upstream dead { server {x} max_fails=0; server {y} max_fails=0; }
    upstream gone { server {a} down; server {b} down; }
    upstream failing { server {f} max_fails=0; server {c} max_fails=0; server {b} backup; }
    upstream silent { server {s} max_fails=0; server {a} backup; }
    upstream sends { server {e}; }
    upstream partly { server {p}; }
    server { listen 127.0.0.1:{port}; access_log {dir}/lists.log lists;
        proxy_http_version 1.1; proxy_set_header Host upstream.test; proxy_set_header Connection "";
        location /plain { proxy_pass http://plain; }
        location /retried { proxy_pass http://dead_then_live; }
        location /dead { proxy_pass http://dead; }
        location /gone { proxy_pass http://gone; }
        location /failing { proxy_pass http://failing; proxy_next_upstream error http_500; }
        location /late { proxy_pass http://silent; proxy_read_timeout 300ms; }
        location /too_late { proxy_pass http://{s}; proxy_read_timeout 300ms; }
        location /redirected { proxy_pass http://sends; }
        location /page { proxy_pass http://failing; proxy_next_upstream off; proxy_intercept_errors on;
            error_page 500 502 = @other; }
        location @other { proxy_pass http://dead_then_live; }
        location /twice { proxy_pass http://gone; error_page 502 = /retried/twice; }
        location /aborted { proxy_pass http://{s}; }
        location /partly { proxy_pass http://partly; }
        location /none { return 204; }
    }"#;

struct Peers {
    _live: Vec<HttpPeer>,
    _dead: [Port; 2],
    addresses: Vec<(&'static str, SocketAddr)>,
}

fn named(name: &'static str) -> HttpPeer {
    HttpPeer::start(move |_| {
        let head = format!("X-Name: {name}\r\nSet-Cookie: color={name}; Path=/\r\nContent-Type: text/x");
        Answer::Raw(format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: 1\r\n\r\n{name}").into_bytes())
    })
}

fn peers() -> Peers {
    let redirect = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /retried/from\r\nX-Name: e\r\nContent-Length: 2\r\n\r\nno";
    let half = "HTTP/1.1 200 OK\r\nX-Name: p\r\nContent-Length: 20\r\n\r\n0123456789";
    let live = vec![
        ("a", named("a")),
        ("b", named("b")),
        ("f", HttpPeer::start(|_| Answer::status("500 No", "no good"))),
        ("c", HttpPeer::start(|_| Answer::nothing())),
        ("s", HttpPeer::start(|_| Answer::silence())),
        ("e", HttpPeer::start(move |_| Answer::Raw(redirect.as_bytes().to_vec()))),
        ("p", HttpPeer::start(move |_| Answer::Last(half.as_bytes().to_vec()))),
    ];
    let dead = [Port::reserve(), Port::reserve()];
    let mut addresses: Vec<_> = live.iter().map(|(name, peer)| (*name, peer.address())).collect();
    addresses.extend([("x", dead[0].address()), ("y", dead[1].address())]);
    Peers { _live: live.into_iter().map(|(_, peer)| peer).collect(), _dead: dead, addresses }
}

/// Numbers with three decimals as T, addresses as names.
fn shape(line: &str, addresses: &[(&str, SocketAddr)]) -> String {
    let line = addresses.iter().fold(line.to_owned(), |line, (name, address)| line.replace(&address.to_string(), name));
    let words = line.split_inclusive(['|', ',', ' ']).map(|word| {
        let text = word.trim_end_matches(['|', ',', ' ']);
        let time = text.split_once('.').is_some_and(|(seconds, millis)| {
            millis.len() == 3 && [seconds, millis].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if time { format!("T{}", &word[text.len()..]) } else { word.to_owned() }
    });
    words.collect()
}

fn lists(setup: Setup, peers: &Peers, paths: &[&str]) -> Vec<String> {
    let setup = peers.addresses.iter().fold(setup, |setup, (name, address)| setup.set(name, address));
    let proxy: Proxy = setup.workers(1).http(&format!("log_format lists '{LISTS}';\n{HTTP}"));
    for path in paths {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        if *path == "/aborted" {
            std::thread::sleep(std::time::Duration::from_millis(500));
            continue;
        }
        let _ = client.try_rest();
    }
    let read = || proxy.directory().read("lists.log");
    eventually("every request is logged", || read().lines().count() >= paths.len());
    read().lines().map(|line| shape(line, &peers.addresses)).collect()
}

#[test]
fn tries_and_groups_are_listed_alike() {
    let peers = peers();
    let paths = [
        "/plain",
        "/retried",
        "/dead",
        "/gone",
        "/failing",
        "/late",
        "/too_late",
        "/redirected",
        "/page",
        "/twice",
        "/partly",
        "/none",
        "/plain",
    ];
    let sides: [fn() -> Setup; 2] = [|| Setup::new(env!("CARGO_BIN_EXE_fairlead")), Setup::nginx];
    let [ours, nginx] = both(&sides, |setup| lists(setup(), &peers, &paths));
    let different: Vec<String> = ours
        .iter()
        .zip(&nginx)
        .filter(|(ours, nginx)| ours != nginx)
        .map(|(ours, nginx)| format!("nginx    {nginx}\nfairlead {ours}"))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(ours.len(), paths.len());
}
