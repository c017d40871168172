//! Answers without files: `empty_gif` and `stub_status`, whose numbers are those of all threads.

use fairlead_harness::{Client, Proxy, eventually, get};

use crate::fairlead;

#[test]
fn a_picture_of_nothing() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; location = /dot.gif { empty_gif; } }");
    let mut client = Client::connect(proxy.address());
    let answer = client.get("/dot.gif");
    assert_eq!((answer.header("content-type"), answer.body.len()), (Some("image/gif"), 43));
    assert_eq!(answer.header("last-modified"), Some("Mon, 28 Sep 1970 06:00:00 GMT"));
    let again =
        client.request("GET /dot.gif HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT\r\n\r\n");
    assert_eq!(again.status(), 304);
    assert_eq!(client.request("POST /dot.gif HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").status(), 405);
}

/// The seven numbers of the page: active, accepted, handled, requests, reading, writing, waiting.
fn status(proxy: &Proxy) -> [u64; 7] {
    let text = get(proxy.address(), "/status").text();
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(
        text.starts_with("Active connections: ") && text.contains(" \nserver accepts handled requests\n "),
        "{text}"
    );
    numbers.try_into().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn connections_of_all_threads_are_counted() {
    let proxy = fairlead()
        .workers(2)
        .http("server { listen 127.0.0.1:{port}; keepalive_timeout 60s; location /status { stub_status; } location / { return 200 ok; } }");
    let [_, accepted, _, requests, ..] = status(&proxy);
    let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(proxy.address())).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
        assert_eq!(client.get("/").text(), "ok");
    }
    let mut slow = Client::connect(proxy.address());
    slow.send("GET / HTT");
    eventually("16 wait, one is read, the one that asks is written to", || {
        let [active, _, _, _, reading, writing, waiting] = status(&proxy);
        (active, reading, writing, waiting) == (18, 1, 1, 16)
    });
    let [_, more, handled, asked, ..] = status(&proxy);
    assert_eq!(more, handled);
    assert!(more >= accepted + 18 && asked >= requests + 34, "{more} {asked}");
    drop((clients, slow));
    eventually("they are gone", || status(&proxy)[0] == 1);
}

#[test]
fn variables_tell_the_same() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; stub_status;
        location / { return 200 \"$connections_active $connections_reading $connections_writing $connections_waiting\"; } }",
    );
    let mut idle = Client::connect(proxy.address());
    idle.get("/");
    // Another thread may still be at the end of the first one's request.
    eventually("one waits and one is answered", || get(proxy.address(), "/").text() == "2 0 1 1");
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.request("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").status(), 200);
}
