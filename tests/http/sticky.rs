//! `sticky cookie`: the first answer names the peer, and the cookie leads back to it.
//! (NGINX Plus has it and Debian's nginx does not.)

use std::collections::HashSet;

use fairlead_harness::{Client, HttpPeer, Proxy, Response};

use crate::fairlead;

fn peers(count: usize) -> Vec<HttpPeer> {
    (0..count).map(|number| HttpPeer::named(&format!("peer {number}"))).collect()
}

fn start(peers: &[HttpPeer], sticky: &str) -> Proxy {
    let servers: String = peers.iter().map(|peer| format!("server {};", peer.address())).collect();
    fairlead().http(&format!(
        "upstream group {{ {servers} {sticky} }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; }} }}"
    ))
}

fn ask(proxy: &Proxy, cookie: Option<&str>) -> Response {
    let cookie = cookie.map(|cookie| format!("Cookie: other=1; {cookie}\r\n")).unwrap_or_default();
    Client::connect(proxy.address()).request(format!("GET / HTTP/1.1\r\nHost: h\r\n{cookie}Connection: close\r\n\r\n"))
}

fn cookie_of(answer: &Response) -> String {
    let value = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", answer.head));
    value.split(';').next().unwrap().to_owned()
}

#[test]
fn the_cookie_leads_back_to_the_peer_that_set_it() {
    let peers = peers(4);
    let proxy = start(&peers, "sticky cookie srv_id expires=1h path=/;");
    for _ in 0..4 {
        let first = ask(&proxy, None);
        let cookie = cookie_of(&first);
        for _ in 0..10 {
            let again = ask(&proxy, Some(&cookie));
            assert_eq!(again.text(), first.text());
            assert_eq!(cookie_of(&again), cookie, "the cookie is sent again");
        }
    }
}

#[test]
fn without_a_cookie_the_balancer_chooses() {
    let peers = peers(3);
    let proxy = start(&peers, "sticky cookie srv_id;");
    let seen: HashSet<String> = (0..12).map(|_| ask(&proxy, None).text()).collect();
    assert_eq!(seen.len(), 3);
}

#[test]
fn value_and_attributes_are_nginxs() {
    let peers = peers(1);
    let proxy =
        start(&peers, "sticky cookie srv_id expires=1h domain=.example.test httponly secure samesite=lax path=/p;");
    let answer = ask(&proxy, None);
    let value = answer.header("set-cookie").unwrap();
    let (first, rest) = value.split_once("; ").unwrap();
    let id = first.strip_prefix("srv_id=").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{id}");
    assert!(rest.starts_with("expires="), "{rest}");
    assert!(rest.ends_with("; max-age=3600; domain=.example.test; httponly; secure; samesite=lax; path=/p"), "{rest}");
}

#[test]
fn an_unknown_cookie_is_no_obstacle() {
    let peers = peers(2);
    let proxy = start(&peers, "sticky cookie srv_id;");
    let answer = ask(&proxy, Some("srv_id=ffffffffffffffffffffffffffffffff"));
    assert_eq!(answer.status(), 200);
    assert_ne!(cookie_of(&answer), "srv_id=ffffffffffffffffffffffffffffffff");
}

#[test]
fn when_its_peer_is_gone_another_serves_and_the_cookie_changes() {
    let mut peers = peers(3);
    let proxy = start(&peers, "sticky cookie srv_id;");
    let first = ask(&proxy, None);
    let cookie = cookie_of(&first);
    let number: usize = first.text().strip_prefix("peer ").unwrap().parse().unwrap();
    let port = peers.remove(number).stop();
    let answer = ask(&proxy, Some(&cookie));
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.text(), first.text());
    assert_ne!(cookie_of(&answer), cookie);
    drop(port);
}
