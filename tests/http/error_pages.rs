//! `error_page`, named locations, `internal`, `proxy_intercept_errors` and `X-Accel-Redirect`: the answer is to be
//! had elsewhere inside the server.

use fairlead_harness::{Answer, Client, HttpPeer, Port, Proxy, Request};

use crate::fairlead;

fn start(peer: &HttpPeer, server: &str) -> Proxy {
    let nobody = Port::reserve();
    fairlead()
        .set("peer", peer.address())
        .set("nobody", nobody.address())
        .file("files/404.html", "own 404")
        .file("files/private/a b.txt", "secret")
        .http(&format!(
            "log_format tried '$upstream_addr|$upstream_status|$status|$request_method|$uri';
            server {{ listen 127.0.0.1:{{port}}; root {{dir}}/files; access_log {{dir}}/tried.log tried; {server} }}"
        ))
}

#[test]
fn a_page_of_ours_keeps_the_status_of_the_error() {
    let peer = HttpPeer::named("x");
    let proxy = start(
        &peer,
        "error_page 404 /404.html; location /kept/ { error_page 404 =200 /404.html; }
        location /own/ { error_page 403 /none.html; } location = /404.html { internal; }",
    );
    let answer = proxy.get("/missing?x=1");
    assert_eq!((answer.status_line(), answer.text().as_str()), ("HTTP/1.1 404 Not Found", "own 404"));
    assert_eq!(answer.header("accept-ranges"), None, "ranges are of a 200");
    assert_eq!(proxy.get("/kept/missing").status(), 200);
    assert!(proxy.get("/own/missing").text().contains("<center>"), "the list of the server is not inherited");
    let direct = proxy.get("/404.html");
    assert_eq!((direct.status(), direct.text().as_str()), (404, "own 404"), "clients may not ask for it");
}

#[test]
fn the_method_becomes_get_and_the_connection_goes_on() {
    let peer = HttpPeer::named("x");
    let proxy = start(
        &peer,
        "location / { return 405; error_page 405 = @told; } location @told { return 200 $request_method:$uri; }
        location = /404.html { }
        location /head { return 403; error_page 403 /404.html; }",
    );
    let mut client = Client::connect(proxy.address());
    let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(client.request(post).text(), "POST:/a", "a named location changes neither");
    let head = client.request("HEAD /head HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status(), head.header("content-length")), (403, Some("7")));
    assert_eq!(client.request(post).status(), 200);
}

#[test]
fn a_named_location_takes_over_from_a_dead_peer() {
    let peer = HttpPeer::named("fallback");
    let proxy = start(
        &peer,
        "location / { proxy_pass http://{nobody}; error_page 502 = @fallback; }
        location @fallback { proxy_pass http://{peer}; proxy_set_header X-Uri $uri; }",
    );
    let post = "POST /a%20b?q HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
    assert_eq!(Client::connect(proxy.address()).request(post).text(), "fallback");
    let seen = peer.last();
    assert_eq!((seen.line(), seen.body.as_slice()), ("POST /a%20b?q HTTP/1.1", &b"body"[..]));
    let line = format!(" : {}|502 : 200|200|POST|/a b", peer.address());
    fairlead_harness::eventually("both are in the log", || proxy.directory().read("tried.log").contains(&line));
}

#[test]
fn a_url_sends_the_client_away() {
    let peer = HttpPeer::named("x");
    let proxy = start(
        &peer,
        "error_page 404 http://other.test/$arg_to; error_page 403 =307 https://else.test/; location /no { return 403; }",
    );
    let answer = proxy.get("/missing?to=here");
    assert_eq!((answer.status(), answer.header("location")), (302, Some("http://other.test/here")));
    let answer = proxy.get("/no");
    assert_eq!((answer.status(), answer.header("location")), (307, Some("https://else.test/")));
}

#[test]
fn errors_lead_on_only_when_asked_and_never_for_ever() {
    let peer = HttpPeer::named("x");
    let server = "error_page 404 /none.html; location = /none.html { error_page 404 /404.html; }
        location /loop { error_page 500 /loop; return 500; } location /nowhere { return 500; error_page 500 @nobody; }";
    assert!(start(&peer, server).get("/missing").text().contains("<center>"));
    let proxy = start(&peer, &format!("recursive_error_pages on; {server}"));
    assert_eq!(proxy.get("/missing").text(), "own 404");
    assert_eq!(proxy.get("/loop").status(), 500);
    proxy.wait_for_error("rewrite or internal redirection cycle while internally redirecting to \"/loop\"");
    assert_eq!(proxy.get("/nowhere").status(), 500);
    proxy.wait_for_error("could not find named location \"@nobody\"");
}

#[test]
fn errors_of_a_peer_are_worded_here_when_asked() {
    let peer = HttpPeer::start(|request: &Request| match request.target() {
        "/401" => Answer::Raw(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        target => Answer::status(&format!("{} Odd", &target[1..]), "the peer's"),
    });
    let pages = "error_page 404 503 /404.html; error_page 401 =403 @told; location @told { return 200 told; }";
    let proxy = start(
        &peer,
        &format!(
            "{pages} location / {{ proxy_pass http://{{peer}}; proxy_intercept_errors on; }}
        location = /404.html {{ }}"
        ),
    );
    for status in [404, 503] {
        let answer = proxy.get(&format!("/{status}"));
        assert_eq!((answer.status(), answer.text().as_str()), (status, "own 404"));
    }
    assert_eq!(proxy.get("/500").text(), "the peer's", "500 is not named");
    let answer = proxy.get("/401");
    assert_eq!(
        (answer.status(), answer.header("www-authenticate"), answer.text().as_str()),
        (403, Some("Basic"), "told")
    );
    let proxy = start(&peer, &format!("{pages} location / {{ proxy_pass http://{{peer}}; }}"));
    assert_eq!(proxy.get("/404").text(), "the peer's");
}

/// What a client gets when the peer answers with `fields`.
fn accel(fields: &str, location: &str) -> (Proxy, fairlead_harness::Response) {
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 4\r\n\r\npeer");
    let peer = HttpPeer::start(move |_| Answer::Raw(answer.clone().into()));
    let proxy = start(
        &peer,
        &format!(
            "location / {{ proxy_pass http://{{peer}}; {location} }}
        location /private/ {{ internal; }} location @named {{ return 200 $uri; }}"
        ),
    );
    let answer = proxy.get("/ask?x");
    (proxy, answer)
}

#[test]
fn a_peer_may_send_the_request_to_a_file() {
    let fields = "X-Accel-Redirect: /private/a%20b.txt?q\r\nContent-Type: text/odd\r\nContent-Disposition: attachment\r\n\
                  Set-Cookie: a=b; path=/app/\r\nX-Other: 1\r\nETag: \"peer\"\r\n";
    let (proxy, answer) = accel(fields, "proxy_cookie_path /app/ /;");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "secret"));
    for (name, value) in
        [("content-type", "text/odd"), ("content-disposition", "attachment"), ("set-cookie", "a=b; path=/")]
    {
        assert_eq!(answer.header(name), Some(value), "{}", answer.head);
    }
    assert_eq!(answer.header("x-other"), None);
    assert_ne!(answer.header("etag"), Some("\"peer\""));
    assert_eq!(proxy.get("/private/a%20b.txt").status(), 404, "clients may not ask for it");
}

#[test]
fn a_peer_may_name_a_location_but_not_climb() {
    assert_eq!(accel("X-Accel-Redirect: @named\r\n", "").1.text(), "/ask");
    let (proxy, answer) = accel("X-Accel-Redirect: /private/%2e%2e/404.html\r\n", "");
    assert_eq!(answer.status(), 404);
    proxy.wait_for_error("unsafe URI \"/private/%2e%2e/404.html\" was detected");
    let (_, answer) = accel("X-Accel-Redirect: @named\r\n", "proxy_ignore_headers X-Accel-Redirect Vary;");
    assert_eq!((answer.text().as_str(), answer.header("x-accel-redirect")), ("peer", None));
    let (_, answer) = accel(
        "X-Accel-Redirect: @named\r\n",
        "proxy_ignore_headers X-Accel-Redirect; proxy_pass_header X-Accel-Redirect;",
    );
    assert_eq!(answer.header("x-accel-redirect"), Some("@named"));
}

#[test]
fn what_is_no_error_page_is_refused() {
    for (rule, words) in [
        ("error_page 299 /x;", "value \"299\" must be between 300 and 599"),
        ("error_page x /x;", "invalid value \"x\""),
        ("error_page 404 =x /x;", "invalid value \"=x\""),
        ("error_page =200 /x;", "invalid value \"=200\""),
        ("location /a { location @b { } }", "named location \"@b\" can be on the server level only"),
        ("location @a { location /b { } }", "location \"/b\" cannot be inside the named location \"@a\""),
        ("location @a { proxy_pass http://127.0.0.1:1/x; }", "\"proxy_pass\" cannot have URI part"),
        ("location @a { alias /x; }", "\"alias\" directive cannot be used inside the named location"),
    ] {
        let (good, said) = fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:1; {rule} }} }}"));
        assert!(!good && said.contains(words), "{rule}: {said}");
    }
}
