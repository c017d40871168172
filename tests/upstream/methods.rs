//! The methods that the http plane shares with stream, and `drain` beside a sticky cookie.

use std::time::Duration;

use fairlead_harness::{Answer, Client, HttpPeer, Proxy, eventually, eventually_within};

use crate::fairlead;

fn start(group: &str, peers: [&HttpPeer; 2]) -> Proxy {
    fairlead().workers(1).set("a", peers[0].address()).set("b", peers[1].address()).http(&format!(
        "upstream group {{ {group} }}
        server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://group; }} }}"
    ))
}

#[test]
fn requests_avoid_the_peer_that_answers_late() {
    for method in [
        "least_time header",
        "least_time last_byte",
        "least_time header inflight",
        "least_time last_byte inflight",
        "random two least_time=header",
        "random two least_time=last_byte",
    ] {
        let slow = HttpPeer::start(|_| {
            std::thread::sleep(Duration::from_millis(600));
            Answer::ok("slow")
        });
        let quick = HttpPeer::named("quick");
        let proxy = start(&format!("{method}; server {{a}}; server {{b}};"), [&slow, &quick]);
        let mut client = Client::connect(proxy.address());
        let late = (0..40).filter(|_| client.get("/").text() == "slow").count();
        assert!((1..=4).contains(&late), "{method}: {late} of 40 went to the slow one");
    }
}

#[test]
fn a_draining_peer_gets_only_the_requests_whose_cookie_names_it() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let before = start("sticky cookie srv; server {a}; server {b};", [&a, &b]);
    let cookie_of = |name: &str| {
        let mut client = Client::connect(before.address());
        let mut answers = (0..4).map(|_| client.get("/"));
        let answer = answers.find(|answer| answer.text() == name).unwrap();
        answer.header("set-cookie").unwrap().to_owned()
    };
    let cookie = cookie_of("a");
    let proxy = start("sticky cookie srv; server {a} drain; server {b};", [&a, &b]);
    let mut client = Client::connect(proxy.address());
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "b");
        let bound = client.request(format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n"));
        assert_eq!(bound.text(), "a");
    }
}

#[test]
fn maglev_keeps_each_key_with_its_peer() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let one = start("hash $request_uri maglev; server {a}; server {b};", [&a, &b]);
    let other = start("hash $request_uri maglev; server {b}; server {a};", [&a, &b]);
    let answers = |proxy: &Proxy| {
        let mut client = Client::connect(proxy.address());
        (0..40).map(|key| client.get(&format!("/{key}")).text()).collect::<Vec<_>>()
    };
    let first = answers(&one);
    assert_eq!(first, answers(&one));
    assert_eq!(first, answers(&other));
    let share = first.iter().filter(|name| *name == "a").count();
    assert!((8..=32).contains(&share), "{share} of 40");
}

#[test]
fn times_of_stream_are_refused_in_http() {
    for method in ["least_time connect", "least_time first_byte", "random two least_time=connect"] {
        let (fine, said) = fairlead().check(&format!("http {{ upstream a {{ {method}; server 127.0.0.1:1; }} }}"));
        let word = method.rsplit(' ').next().unwrap();
        assert!(!fine && said.contains(&format!("invalid value \"{word}\"")), "{said}");
    }
}

#[test]
fn a_peer_that_failed_gets_its_share_by_and_by() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let proxy = start("server {a} fail_timeout=1s slow_start=6s; server {b};", [&a, &b]);
    let share = |count: usize| (0..count).filter(|_| proxy.get("/").text() == "a").count();
    assert_eq!(share(40), 20, "whole from the start");
    let port = a.stop().unwrap();
    assert_eq!(share(10), 0);
    let _a = HttpPeer::named_at("a", port.address());
    eventually("the trial", || proxy.get("/").text() == "a");
    let first = share(40);
    assert!(first <= 10, "{first} of 40 at once");
    eventually_within(Duration::from_secs(20), "its whole share", || share(20) == 10);
}

#[test]
fn a_sticky_client_goes_elsewhere_while_its_peer_is_down_or_gone_and_to_backups_as_a_last_resort() {
    let (a, b) = (HttpPeer::named("a"), HttpPeer::named("b"));
    let ask = |proxy: &Proxy| {
        let mut client = Client::connect(proxy.address());
        let answer = client.request("GET / HTTP/1.1\r\nHost: x\r\nCookie: srv=one\r\n\r\n");
        (answer.text(), answer.header("set-cookie").unwrap_or_default().to_owned())
    };
    let expect = |servers: &str, name: &str, route: &str| {
        let proxy = start(&format!("sticky cookie srv; {servers}"), [&a, &b]);
        for _ in 0..4 {
            assert_eq!(ask(&proxy), (name.to_owned(), format!("srv={route}")), "{servers}");
        }
    };
    expect("server {a} route=one; server {b} route=two;", "a", "one");
    expect("server {a} route=one down; server {b} route=two;", "b", "two");
    expect("server {b} route=two;", "b", "two");
    expect("server {a} route=one drain; server {b} route=two;", "a", "one");
    // A backup is no primary one, whoever asks for it.
    expect("server {a} route=one backup; server {b} route=two;", "b", "two");
    expect("server {a} route=one backup; server {b} route=two down;", "a", "one");
    // Two that have one route share its clients.
    let proxy = start("sticky cookie srv; server {a} route=one; server {b} route=one;", [&a, &b]);
    assert!((0..4).all(|_| ask(&proxy).1 == "srv=one"));
}
