//! When a peer fails, the next one gets the request, as long as that is safe.

use fairlead_harness::{Answer, Client, HttpPeer, Port, Proxy};

use crate::fairlead;

fn group(bad: impl std::fmt::Display, good: &HttpPeer, location: &str) -> Proxy {
    fairlead().workers(1).set("bad", bad).set("good", good.address()).http(&format!(
        "log_format tried '$upstream_addr|$upstream_status|$status';
        upstream group {{ server {{bad}} max_fails=0; server {{good}}; }}
        server {{ listen 127.0.0.1:{{port}}; access_log {{dir}}/tried.log tried;
            location / {{ proxy_pass http://group; {location} }} }}"
    ))
}

fn statuses(proxy: &Proxy, count: usize) -> Vec<u16> {
    (0..count).map(|_| proxy.get("/").status()).collect()
}

#[test]
fn a_refused_connection_goes_unnoticed() {
    let (nobody, good) = (Port::reserve(), HttpPeer::named("good"));
    let proxy = group(nobody.address(), &good, "");
    assert_eq!(statuses(&proxy, 6), [200; 6]);
    assert_eq!(good.requests().len(), 6);
    let tried = format!("{}, {}|502, 200|200", nobody.address(), good.address());
    fairlead_harness::eventually("both peers are in the log", || proxy.directory().read("tried.log").contains(&tried));
}

#[test]
fn a_peer_that_closes_without_a_word_is_left() {
    let (bad, good) = (HttpPeer::start(|_| Answer::nothing()), HttpPeer::named("good"));
    let proxy = group(bad.address(), &good, "");
    assert_eq!(statuses(&proxy, 6), [200; 6]);
    assert!(!bad.requests().is_empty());
}

#[test]
fn a_peer_that_stays_silent_is_left_after_proxy_read_timeout() {
    let (bad, good) = (HttpPeer::start(|_| Answer::silence()), HttpPeer::named("good"));
    let proxy = group(bad.address(), &good, "proxy_read_timeout 200ms;");
    assert_eq!(statuses(&proxy, 2), [200; 2]);
    assert_eq!(bad.requests().len(), 1);
}

#[test]
fn statuses_count_as_failures_only_when_listed() {
    let (bad, good) = (HttpPeer::start(|_| Answer::status("503 Busy", "bad")), HttpPeer::named("good"));
    let mut seen = statuses(&group(bad.address(), &good, ""), 4);
    seen.sort_unstable();
    assert_eq!(seen, [200, 200, 503, 503]);
    let proxy = group(bad.address(), &good, "proxy_next_upstream error http_503;");
    assert_eq!(statuses(&proxy, 4), [200; 4]);
}

#[test]
fn a_request_that_may_have_had_effects_is_not_repeated() {
    let (bad, good) = (HttpPeer::start(|_| Answer::nothing()), HttpPeer::named("good"));
    let post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let send = |proxy: &Proxy| {
        let mut seen: Vec<u16> = (0..4).map(|_| Client::connect(proxy.address()).request(post).status()).collect();
        seen.sort_unstable();
        seen
    };
    assert_eq!(send(&group(bad.address(), &good, "")), [200, 200, 502, 502]);
    let proxy = group(bad.address(), &good, "proxy_next_upstream error non_idempotent;");
    assert_eq!(send(&proxy), [200; 4]);
    assert!(good.requests().iter().all(|request| request.body == b"x"), "the body was sent again");
}

#[test]
fn a_request_that_never_left_is_repeated_whatever_its_method() {
    let (nobody, good) = (Port::reserve(), HttpPeer::named("good"));
    let proxy = group(nobody.address(), &good, "");
    let post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    for _ in 0..4 {
        assert_eq!(Client::connect(proxy.address()).request(post).status(), 200);
    }
}

#[test]
fn off_and_tries_limit_the_attempts() {
    let (nobody, good) = (Port::reserve(), HttpPeer::named("good"));
    for location in ["proxy_next_upstream off;", "proxy_next_upstream_tries 1;"] {
        let mut seen = statuses(&group(nobody.address(), &good, location), 4);
        seen.sort_unstable();
        assert_eq!(seen, [200, 200, 502, 502], "{location}");
    }
}

#[test]
fn when_every_peer_fails_the_client_learns_how() {
    let (one, two) = (Port::reserve(), Port::reserve());
    let proxy = fairlead().workers(1).set("one", one.address()).set("two", two.address()).http(
        "upstream group { server {one}; server {two}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://group; } }",
    );
    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!(proxy.get("/").status(), 502);
    proxy.wait_for_error("no live upstreams while connecting to upstream");
    proxy.wait_for_error("Connection refused) while connecting to upstream");
}

#[test]
fn no_peer_is_asked_after_its_time() {
    let silent = fairlead_harness::TcpPeer::start(|stream| {
        let _ = std::io::Read::read(&mut &stream, &mut [0; 4096]);
        std::thread::sleep(std::time::Duration::from_secs(2));
    });
    let good = HttpPeer::named("good");
    for (time, status) in [("50ms", 504), ("30s", 200)] {
        let location = format!("proxy_read_timeout 200ms; proxy_next_upstream_timeout {time};");
        let proxy = group(silent.address(), &good, &location);
        let statuses = statuses(&proxy, 2);
        assert!(statuses.contains(&status), "{time}: {statuses:?}");
        assert!(status == 504 || !statuses.contains(&504), "{time}: {statuses:?}");
    }
}

/// A peer that answers with a head, and dies before the body that the head announces.
fn headless(fields: &'static str) -> HttpPeer {
    HttpPeer::start(move |_| Answer::Last(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes()))
}

#[test]
fn a_peer_that_dies_behind_its_head_is_left_before_the_client_sees_it() {
    for fields in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let (bad, good) = (headless(fields), HttpPeer::named("good"));
        let proxy = group(bad.address(), &good, "");
        let answers: Vec<(u16, String)> =
            (0..4).map(|_| proxy.get("/")).map(|got| (got.status(), got.text())).collect();
        assert_eq!(answers, vec![(200, "good".to_owned()); 4], "{fields}");
        assert!(!bad.requests().is_empty());
        proxy.wait_for_error("upstream prematurely closed connection while reading upstream");
        let tried = format!("{}, {}|502, 200|200", bad.address(), good.address());
        fairlead_harness::eventually("both are in the log", || proxy.directory().read("tried.log").contains(&tried));
    }
}

#[test]
fn a_head_waits_for_its_body_only_where_that_may_help() {
    let (bad, good) = (headless("Content-Length: 4"), HttpPeer::named("good"));
    let cut = |location: &str, method: &str| {
        let proxy = group(bad.address(), &good, location);
        let send = |_| {
            let mut client = Client::connect(proxy.address());
            client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
            client.try_response()
        };
        let heads = (0..4).map(send).filter(|answer| answer.as_ref().is_err_and(|error| error.contains("of 4 bytes")));
        heads.count()
    };
    assert_eq!(cut("", "GET"), 0);
    assert_eq!(cut("", "POST"), 2, "a request that may have had effects is not repeated");
    assert_eq!(cut("proxy_next_upstream_tries 1;", "GET"), 2);
    assert_eq!(cut("proxy_next_upstream off;", "GET"), 2);
    assert_eq!(cut("proxy_buffering off;", "GET"), 2, "the head is with the client already");
}

#[test]
fn a_body_that_comes_later_comes_whole_behind_its_head() {
    use std::io::Write;
    let slow = |_: &fairlead_harness::Request| {
        Answer::Talk(Box::new(|stream| {
            for piece in ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConte", "nt-Length: 4\r\n\r\n", "bo", "dy"] {
                let _ = stream.write_all(piece.as_bytes());
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }))
    };
    let (late, good) = (HttpPeer::start(slow), HttpPeer::start(slow));
    let proxy = group(late.address(), &good, "");
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "body");
    }
    assert_eq!((late.requests().len(), good.requests().len()), (2, 2));
}
