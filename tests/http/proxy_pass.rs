//! What URI and which peer a `proxy_pass` chooses.

use fairlead_harness::{Answer, HttpPeer, get};

use crate::fairlead;

fn peer_that_tells_the_target() -> HttpPeer {
    HttpPeer::start(|request| Answer::ok(request.target()))
}

#[test]
fn without_a_uri_the_target_is_passed_as_the_client_wrote_it() {
    let peer = peer_that_tells_the_target();
    let proxy = fairlead()
        .set("peer", peer.address())
        .http("server { listen 127.0.0.1:{port}; location /a/ { proxy_pass http://{peer}; } }");
    for target in ["/a/b", "/a/b?c=d&e", "/a/%2Fx%20y", "/x/../a//b", "/a/b?", "/a/?x=/../y"] {
        assert_eq!(get(proxy.address(), target).text(), target);
    }
}

#[test]
fn with_a_uri_it_replaces_the_part_the_location_matched() {
    let peer = peer_that_tells_the_target();
    let proxy = fairlead().set("peer", peer.address()).http(
        "server {
            listen 127.0.0.1:{port};
            location /name/ { proxy_pass http://{peer}/remote/; }
            location /bare { proxy_pass http://{peer}/; }
            location = /one { proxy_pass http://{peer}/other; }
            location /glue/ { proxy_pass http://{peer}/x-; }
        }",
    );
    for (asked, passed) in [
        ("/name/a?b=c", "/remote/a?b=c"),
        ("/name/a%20b", "/remote/a%20b"),
        ("/name/x/../y", "/remote/y"),
        ("/bare/a", "//a"),
        ("/barefoot", "/foot"),
        ("/one?q", "/other?q"),
        ("/glue/a", "/x-a"),
        ("/name/a%3Fb", "/remote/a%3Fb"),
        ("/name/a%23b%25c", "/remote/a%23b%25c"),
    ] {
        assert_eq!(get(proxy.address(), asked).text(), passed, "{asked}");
    }
}

#[test]
fn with_variables_the_uri_is_exactly_what_they_say() {
    let peer = peer_that_tells_the_target();
    let proxy = fairlead().set("peer", peer.address()).http(
        r#"upstream backend { server {peer}; }
        server {
            listen 127.0.0.1:{port};
            location /raw/ { proxy_pass http://{peer}$request_uri; }
            location /args { proxy_pass http://{peer}/fixed?was=$arg_x; }
            location ~ ^/cut/(.*)$ { proxy_pass http://backend/$1$is_args$args; }
            location ~ ^/by/(?<group>\w+)/ { proxy_pass http://$group/here; }
        }"#,
    );
    for (asked, passed) in [
        ("/raw/%41?x", "/raw/%41?x"),
        ("/args?x=1&y=2", "/fixed?was=1"),
        ("/cut/a/b?q=1", "/a/b?q=1"),
        ("/cut/a", "/a"),
        ("/by/backend/x", "/here"),
    ] {
        assert_eq!(get(proxy.address(), asked).text(), passed, "{asked}");
    }
}

#[test]
fn a_regex_location_passes_the_target_unchanged() {
    let peer = peer_that_tells_the_target();
    let proxy = fairlead()
        .set("peer", peer.address())
        .http(r#"server { listen 127.0.0.1:{port}; location ~ \.php$ { proxy_pass http://{peer}; } }"#);
    assert_eq!(get(proxy.address(), "/a/b.php?x=%20").text(), "/a/b.php?x=%20");
}

#[test]
fn a_peer_on_a_unix_socket_is_reached() {
    use std::io::{Read, Write};
    let setup = fairlead();
    let proxy = setup.http(
        "upstream unix_group { server unix:{dir}/peer.sock; }
         server { listen 127.0.0.1:{port};
            location / { proxy_pass http://unix_group; }
            location /direct/ { proxy_pass http://unix:{dir}/peer.sock:/cut/; } }",
    );
    let path = proxy.directory().join("peer.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&path, everyone).unwrap();
    let serve = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix").unwrap();
            lines.push(String::from_utf8_lossy(&buffer[..count]).lines().next().unwrap().to_owned());
        }
        lines
    });
    assert_eq!(get(proxy.address(), "/a").text(), "unix");
    assert_eq!(get(proxy.address(), "/direct/b").text(), "unix");
    let lines = serve.join().unwrap();
    assert!(lines[0].starts_with("GET /a HTTP/1."), "{lines:?}");
    assert!(lines[1].starts_with("GET /cut/b HTTP/1."), "{lines:?}");
}
