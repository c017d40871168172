//! `try_files`: what is there serves, else the request goes on elsewhere.

use fairlead_harness::{Client, HttpPeer, Proxy, Setup, get};

use crate::fairlead;

fn site() -> Setup {
    fairlead()
        .file("site/index.html", "home\n")
        .file("site/page.html", "page\n")
        .file("site/docs/index.html", "docs\n")
        .file("site/bare/file.txt", "file\n")
        .file("secret", "secret\n")
}

fn start(setup: Setup, inside: &str) -> Proxy {
    setup.http(&format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; {inside} }}"))
}

#[test]
fn the_first_that_is_there_serves() {
    let proxy = start(site(), "location / { try_files $uri $uri.html $uri/ /index.html; }");
    for (path, text) in [
        ("/page.html", "page\n"),
        ("/page", "page\n"),
        ("/docs/", "docs\n"),
        ("/nothing/of/this", "home\n"),
        ("/nothing?with=args", "home\n"),
    ] {
        assert_eq!(get(proxy.address(), path).text(), text, "{path}");
    }
    let answer = get(proxy.address(), "/docs");
    assert_eq!(answer.status(), 301);
    assert!(answer.header("location").is_some_and(|to| to.ends_with("/docs/")), "{}", answer.head);
    assert_eq!(get(proxy.address(), "/bare/").status(), 403);
}

#[test]
fn what_is_nowhere_goes_to_a_path_a_named_location_or_a_status() {
    let peer = HttpPeer::named("peer");
    let proxy = start(
        site().set("peer", peer.address()),
        "location / { try_files $uri @peer; }
        location @peer { proxy_pass http://{peer}; }
        location /front/ { try_files $uri /shown?q=$uri&$args; }
        location /shown { return 200 \"$uri|$args|$request_method\"; }
        location /gone/ { try_files $uri =410; }
        location /lost/ { try_files $uri @nowhere; }
        location /round/ { try_files $uri /round/again; }",
    );
    assert_eq!(get(proxy.address(), "/page.html").text(), "page\n");
    assert_eq!(get(proxy.address(), "/dynamic?x=1").text(), "peer");
    assert_eq!(peer.last().target(), "/dynamic?x=1");
    let mut client = Client::connect(proxy.address());
    let answer = client.request("POST /front/a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(answer.text(), "/shown|q=/front/a&b=c|POST");
    assert_eq!(client.get("/gone/x").status(), 410);
    assert_eq!(get(proxy.address(), "/lost/x").status(), 500);
    assert_eq!(get(proxy.address(), "/round/x").status(), 500);
}

#[test]
fn a_peer_gets_what_the_client_asked_for() {
    let peer = HttpPeer::named("peer");
    let proxy = start(
        site().set("peer", peer.address()),
        "location /plain/ { try_files $uri /page.html =404; proxy_pass http://{peer}; }
        location /based/ { try_files $uri /page.html =404; proxy_pass http://{peer}/base; }",
    );
    get(proxy.address(), "/plain/x?y=1");
    assert_eq!(peer.last().target(), "/plain/x?y=1");
    assert_eq!(get(proxy.address(), "/plain/nothing").text(), "peer");
}

#[test]
fn below_an_alias_names_with_variables_lose_the_prefix() {
    let proxy = start(
        site(),
        "location /d/ { alias {dir}/site/docs/; try_files $uri /page.html; }
        location ~ ^/r/(.*)$ { alias {dir}/site/; try_files $1 docs/index.html =404; }
        location /page.html { }",
    );
    assert_eq!(get(proxy.address(), "/d/index.html").text(), "docs\n");
    assert_eq!(get(proxy.address(), "/d/none").text(), "page\n");
    assert_eq!(get(proxy.address(), "/r/page.html").text(), "page\n");
    assert_eq!(get(proxy.address(), "/r/none").text(), "docs\n");
}

#[test]
fn nothing_outside_is_tried() {
    let proxy = start(
        site(),
        "location / { try_files $uri /$arg_f $arg_f =404; }
        location /alias/ { alias {dir}/site/docs/; try_files $arg_f =404; }
        location /on/ { try_files /none $arg_f; }",
    );
    for path in [
        "/%2e%2e/secret",
        "/x?f=../secret",
        "/x?f=docs/../../secret",
        "/x?f=/../secret",
        "/alias/x?f=../../secret",
        "/on/?f=/../secret",
        "/on/?f=../secret",
    ] {
        let answer = get(proxy.address(), path);
        assert!(answer.status() >= 400 && !answer.text().contains("secret"), "{path}: {}", answer.head);
    }
    assert_eq!(get(proxy.address(), "/x?f=docs/index.html").text(), "docs\n");
}

#[test]
fn a_server_tries_only_for_what_matches_no_location() {
    let proxy = start(
        site(),
        "try_files $uri /page.html; location /own/ { location /own/tried/ { try_files /docs/index.html =404; } }",
    );
    assert_eq!(get(proxy.address(), "/nothing").text(), "page\n");
    assert_eq!(get(proxy.address(), "/own/nothing").status(), 404);
    assert_eq!(get(proxy.address(), "/own/tried/x").text(), "docs\n");
    assert_eq!(get(proxy.address(), "/own/x").status(), 404);
}

#[test]
fn what_cannot_be_tried_is_refused() {
    for (line, told) in [
        ("try_files $uri;", "invalid number of arguments in \"try_files\" directive"),
        ("try_files $uri =40x;", "invalid code \"=40x\""),
        ("try_files $uri =1000;", "invalid code \"=1000\""),
        ("try_files $uri =;", "invalid code \"=\""),
        ("try_files $nothing =404;", "unknown \"nothing\" variable"),
        ("try_files a =404; try_files b =404;", "\"try_files\" directive is duplicate"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ server {{ location / {{ {line} }} }} }}"));
        assert!(!fine && said.contains(told), "{line}: {said}");
    }
}
