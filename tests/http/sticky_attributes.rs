//! What `sticky cookie` sends: its attributes, where variables may stand, and with which answers.

use std::time::{SystemTime, UNIX_EPOCH};

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, Response};

use crate::fairlead;

const SERVER: &str = "server { listen 127.0.0.1:{port};";

fn start(peer: &HttpPeer, sticky: &str, locations: &str) -> Proxy {
    fairlead().set("peer", peer.address()).http(&format!(
        "map $arg_site $site {{ default $arg_site; }}
        upstream group {{ server {{peer}}; {sticky} }}
        upstream plain {{ server {{peer}}; }}
        {SERVER} {locations} }}"
    ))
}

fn cookies(answer: &Response) -> Vec<&str> {
    let fields = answer.headers().into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    fields.map(|(_, value)| value).collect()
}

/// The attributes behind the value.
fn attributes(proxy: &Proxy, path: &str) -> String {
    let answer = proxy.get(path);
    let cookies = cookies(&answer);
    assert_eq!(cookies.len(), 1, "{}", answer.head);
    cookies[0].split_once("; ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

#[test]
fn the_time_it_expires_is_told_twice() {
    let peer = HttpPeer::named("peer");
    let location = "location / { proxy_pass http://group; }";
    let said = attributes(&start(&peer, "sticky cookie id expires=2h;", location), "/");
    let (date, age) = said.strip_prefix("expires=").unwrap().split_once("; ").unwrap();
    assert_eq!(age, "max-age=7200");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let hour = |second: u64| (second / 3600 + 2) % 24;
    let named: u64 = date[15..17].parse().unwrap_or_else(|_| panic!("{date}"));
    assert!(hour(now) == named || hour(now - 60) == named, "{date}");
    assert!(date.as_bytes()[7] == b'-' && date.as_bytes()[11] == b'-' && date.ends_with(" GMT"), "{date}");
    let said = attributes(&start(&peer, "sticky cookie id expires=max;", location), "/");
    assert_eq!(said, "expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000");
    assert_eq!(attributes(&start(&peer, "sticky cookie id;", location), "/"), "");
}

#[test]
fn variables_make_domain_path_and_samesite() {
    let peer = HttpPeer::named("peer");
    let sticky = "sticky cookie id domain=$arg_domain path=$arg_path samesite=$site;";
    let proxy = start(&peer, sticky, "location / { proxy_pass http://group; }");
    let said = attributes(&proxy, "/?domain=.a.test&path=/x&site=Lax");
    assert_eq!(said, "domain=.a.test; samesite=Lax; path=/x");
    assert_eq!(attributes(&proxy, "/?domain=a&site=bad"), "domain=a; samesite=strict");
    assert_eq!(attributes(&proxy, "/"), "", "what has no value is left out");
    assert_eq!(attributes(&proxy, "/?domain=a;secure&path=/x"), "path=/x", "a value stays one attribute");
}

#[test]
fn a_literal_samesite_is_sent_as_it_is_written() {
    let peer = HttpPeer::named("peer");
    let proxy = start(&peer, "sticky cookie id samesite=None secure;", "location / { proxy_pass http://group; }");
    assert_eq!(attributes(&proxy, "/"), "secure; samesite=None");
}

#[test]
fn the_cookie_goes_along_with_pages_and_redirects_of_ours() {
    let peer = HttpPeer::start(|request| match request.target() {
        "/elsewhere" => {
            Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Redirect: /plain\r\n\r\n".to_vec())
        }
        "/broken" => Answer::nothing(),
        "/missing" => Answer::status("404 Not Found", "theirs"),
        _ => Answer::ok("peer"),
    });
    let proxy = start(
        &peer,
        "sticky cookie id;",
        "location / { proxy_pass http://group; }
        location = /plain { proxy_pass http://plain; }
        location = /missing { proxy_pass http://group; proxy_intercept_errors on; error_page 404 /plain; }",
    );
    for (path, status) in [("/", 200), ("/elsewhere", 200), ("/missing", 404), ("/broken", 502)] {
        let answer = proxy.get(path);
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(cookies(&answer).len(), 1, "{path}: {}", answer.head);
    }
    assert!(cookies(&proxy.get("/plain")).is_empty());
}

#[test]
fn a_group_that_variables_name_is_sticky_too() {
    let peers = [HttpPeer::named("a"), HttpPeer::named("b")];
    let proxy = fairlead().workers(1).set("a", peers[0].address()).set("b", peers[1].address()).http(
        "upstream group { server {a} route=first; server {b} route=second; sticky cookie id; }
        log_format sticky '$upstream_sticky_status $cookie_id';
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log sticky;
            location / { set $to group; proxy_pass http://$to; } }",
    );
    for (route, name) in [("second", "b"), ("first", "a"), ("second", "b")] {
        let mut client = Client::connect(proxy.address());
        let answer = client.request(format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: id={route}\r\n\r\n"));
        assert_eq!((answer.text(), cookies(&answer)), (name.to_owned(), vec![format!("id={route}").as_str()]));
    }
    proxy.get("/");
    let lines = proxy.access_lines(4);
    assert_eq!(lines, ["HIT second", "HIT first", "HIT second", "NEW -"]);
}
