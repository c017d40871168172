//! `add_header`, `add_trailer` and `expires`: which responses they are added to, and from which block.

use fairlead_harness::{Answer, Client, HttpPeer, get};

use crate::fairlead;

#[test]
fn fields_are_added_to_good_answers_and_with_always_to_all() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; add_header X-Good $request_method; add_header X-All $status always;
            location /good { return 200 x; } location /bad { return 500; } location /moved { return 301 /; } }",
    );
    let added = |path| {
        let answer = get(proxy.address(), path);
        (answer.header("x-good").map(str::to_owned), answer.header("x-all").map(str::to_owned))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(added("/good"), (text("GET"), text("200")));
    assert_eq!(added("/moved"), (text("GET"), text("301")));
    assert_eq!(added("/bad"), (None, text("500")));
}

#[test]
fn a_block_replaces_the_list_or_joins_it() {
    if fairlead().is_nginx() {
        return;
    }
    let proxy = fairlead().http(
        "add_header X-A http; server { listen 127.0.0.1:{port};
            location /plain { return 200 x; }
            location /own { add_header X-B own; return 200 x; }
            location /merge { add_header_inherit merge; add_header X-B own; return 200 x;
                location /merge/in { add_header X-C in; return 200 x; }
                location /merge/none { return 200 x; } }
            location /off { add_header_inherit off; return 200 x; } }",
    );
    let added = |path| {
        let answer = get(proxy.address(), path);
        let names: Vec<_> = answer.headers().into_iter().map(|(name, _)| name.to_owned()).collect();
        names.into_iter().filter(|name| name.starts_with("X-")).collect::<Vec<_>>().join(" ")
    };
    for (path, expected) in [
        ("/plain", "X-A"),
        ("/own", "X-B"),
        ("/merge", "X-B X-A"),
        ("/merge/in", "X-C X-B X-A"),
        ("/merge/none", "X-B X-A"),
        ("/off", ""),
    ] {
        assert_eq!(added(path), expected, "{path}");
    }
}

#[test]
fn trailers_follow_the_body_in_chunks() {
    let peer = HttpPeer::start(|_| Answer::ok("body"));
    let proxy = fairlead().set("peer", peer.address()).file("site/f.txt", "file").http(
        "server { listen 127.0.0.1:{port}; add_trailer X-Length $body_bytes_sent; add_trailer X-Empty \"\"; add_trailer X-Path $uri;
            location / { proxy_pass http://{peer}; } location /f.txt { root {dir}/site; } location /bad { return 500; } }",
    );
    let ask = |line: &str| {
        let mut client = Client::connect(proxy.address());
        client.send(format!("{line}\r\nHost: h\r\nConnection: close\r\n\r\n"));
        String::from_utf8(client.rest()).unwrap()
    };
    for (path, body) in [("/x", "body"), ("/f.txt", "file")] {
        let answer = ask(&format!("GET {path} HTTP/1.1"));
        assert!(
            answer.contains("\r\nTransfer-Encoding: chunked\r\n") && !answer.contains("Content-Length"),
            "{answer}"
        );
        assert!(answer.contains(&format!("\r\n\r\n4\r\n{body}\r\n0\r\nX-Length: ")), "{answer}");
        assert!(answer.ends_with(&format!("\r\nX-Path: {path}\r\n\r\n")) && !answer.contains("X-Empty"), "{answer}");
    }
    let old = ask("GET /f.txt HTTP/1.0");
    assert!(old.ends_with("\r\n\r\nfile") && old.contains("Content-Length: 4"), "no chunks, no trailers: {old}");
    assert!(!ask("GET /bad HTTP/1.1").contains("chunked"));
}

#[test]
fn trailers_of_a_block_join_those_around_it() {
    if fairlead().is_nginx() {
        return;
    }
    let proxy = fairlead().http(
        "add_trailer X-A 1; server { listen 127.0.0.1:{port}; add_trailer_inherit merge; add_trailer X-B 2 always; return 404; }",
    );
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.ends_with("\r\n0\r\nX-B: 2\r\n\r\n"), "{answer}");
}

#[test]
fn answers_expire_when_they_are_told_to() {
    let proxy = fairlead().http(
        "map $arg_t $t { default $arg_t; } server { listen 127.0.0.1:{port}; expires 10m;
            location / { return 200 x; } location /never { expires off; return 200 x; }
            location /daily { expires @23h59m; return 200 x; } location /variable { expires $t; return 200 x; } }",
    );
    let control = |path: &str| get(proxy.address(), path).header("cache-control").map(str::to_owned);
    assert_eq!(control("/").as_deref(), Some("max-age=600"));
    assert_eq!(control("/never"), None);
    assert_eq!(control("/variable?t=-1").as_deref(), Some("no-cache"));
    assert_eq!(control("/variable?t=what"), None);
    let daily: u64 = control("/daily").unwrap().strip_prefix("max-age=").unwrap().parse().unwrap();
    assert!((1..=24 * 3600).contains(&daily), "{daily}");
}

#[test]
fn what_cannot_be_added_is_refused() {
    for (directive, words) in [
        ("add_header X y often;", "invalid parameter \"often\""),
        ("expires sometimes;", "invalid value"),
        ("expires modified @1h;", "daily time cannot be used with \"modified\" parameter"),
        ("expires @25h;", "daily time value must be less than 24 hours"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {directive} }}"));
        assert!(!fine && said.contains(words), "{directive}: {said}");
    }
}
