//! Browsers of long ago that need to be humoured.

use fairlead_harness::{Client, Response};

use crate::fairlead;

const MSIE: &str = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)";
const CHROME: &str = "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Mac OS X 10_15) AppleWebKit/605 (KHTML, like Gecko) Safari/605";

fn ask(client: &mut Client, method: &str, path: &str, agent: &str) -> Response {
    client.request(format!("{method} {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\n\r\n"))
}

#[test]
fn short_pages_are_made_longer_for_some() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; location / { return 404; } location /moved/ { return 301 /x; }
            location /off/ { msie_padding off; return 404; } location /own/ { error_page 404 /page; return 404; }
            location /page { return 200 page; } }",
    );
    let mut client = Client::connect(proxy.address());
    let plain = ask(&mut client, "GET", "/", "curl/8");
    for agent in [MSIE, CHROME] {
        let padded = ask(&mut client, "GET", "/", agent);
        assert!(padded.text().starts_with(&plain.text()) && padded.body.len() > 512, "{}", padded.body.len());
        assert_eq!(ask(&mut client, "GET", "/off/", agent).body, plain.body);
        assert!(ask(&mut client, "GET", "/moved/", agent).body.len() < 200);
        assert_eq!(ask(&mut client, "GET", "/own/", agent).text(), "page");
    }
    assert_eq!(ask(&mut client, "GET", "/", SAFARI).body, plain.body);
}

#[test]
fn error_pages_elsewhere_refresh_where_redirects_do_not_work() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; msie_refresh on; error_page 404 'http://other.test/a?b=\"c>';
            location / { return 404; } location /off/ { msie_refresh off; return 404; } }",
    );
    let mut client = Client::connect(proxy.address());
    let page = ask(&mut client, "GET", "/", MSIE);
    assert_eq!((page.status(), page.header("location")), (200, None));
    assert!(page.text().contains("content=\"0; url=http://other.test/a?b=%22c%3E\""), "{}", page.text());
    assert_eq!(ask(&mut client, "GET", "/", CHROME).status(), 302);
    assert_eq!(ask(&mut client, "GET", "/off/", MSIE).status(), 302);
}

#[test]
fn some_do_not_keep_their_connections() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; location / { return 200 text; }
            location /safari/ { keepalive_disable safari; return 200 text; }
            location /none/ { keepalive_disable none; return 200 text; } }",
    );
    for (method, path, agent, kept) in [
        ("POST", "/", MSIE, false),
        ("GET", "/", MSIE, true),
        ("POST", "/", CHROME, true),
        ("POST", "/none/", MSIE, true),
        ("GET", "/safari/", SAFARI, false),
        ("GET", "/", SAFARI, true),
        ("POST", "/safari/", MSIE, true),
    ] {
        let answer = ask(&mut Client::connect(proxy.address()), method, path, agent);
        let said = if kept { "keep-alive" } else { "close" };
        assert_eq!(answer.header("connection"), Some(said), "{method} {path} {agent}");
    }
    let (fine, said) = fairlead().check("http { keepalive_disable netscape; }");
    assert!(!fine && said.contains("netscape"), "{said}");
}
