//! `rewrite`, `return`, `break` and `set`: what rules make of a request on its way to an answer.

use fairlead_harness::{HttpPeer, Proxy, get};

use crate::fairlead;

/// Body of a page, or where a redirect leads.
pub fn outcome(proxy: &Proxy, path: &str) -> String {
    let answer = get(proxy.address(), path);
    match answer.header("location") {
        Some(location) => format!("{} {location}", answer.status()),
        None => format!("{} {}", answer.status(), answer.text()),
    }
}

#[track_caller]
pub fn expect(proxy: &Proxy, outcomes: &[(&str, &str)]) {
    for (path, expected) in outcomes {
        assert_eq!(outcome(proxy, path), *expected, "{path}");
    }
}

const TELL: &str = "location / { return 200 $uri?$args; }";

#[test]
fn flags_say_where_the_request_goes_on() {
    let proxy = fairlead().http(&format!(
        "server {{ listen 127.0.0.1:{{port}};
            location /last/ {{ rewrite ^/last/(.*)$ /$1 last; return 200 never; }}
            location /break/ {{ rewrite ^/break/(.*)$ /$1 break; return 200 never; }}
            location /on/ {{ rewrite ^/on/(.*)$ /two/$1; rewrite ^/two/(.*)$ /three/$1; }}
            location /answer/ {{ rewrite ^/answer/(.*)$ /two/$1; return 200 answered$uri; }}
            location /stay/ {{ rewrite ^/stay/(.*)$ /three/$1; break; return 200 never; }}
            {TELL}
        }}"
    ));
    expect(
        &proxy,
        &[
            ("/last/a?x=1", "200 /a?x=1"),
            ("/on/a", "200 /three/a?"),
            ("/answer/a", "200 answered/two/a"),
            ("/other", "200 /other?"),
        ],
    );
    // No location is searched for these: no file has the new name.
    for path in ["/break/a", "/stay/a"] {
        assert_eq!(get(proxy.address(), path).status(), 404, "{path}");
    }
    proxy.wait_for_error("html/three/a\" failed (2: No such file or directory)");
}

#[test]
fn redirects_leave_with_their_status_and_arguments() {
    let proxy = fairlead().http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; absolute_redirect off;
            rewrite ^/302/(.*)$ /new/$1 redirect;
            rewrite ^/301/(.*)$ /new/$1 permanent;
            rewrite ^/bare/(.*)$ /new/$1? redirect;
            rewrite ^/more/(.*)$ /new?from=$1 redirect;
            rewrite ^/full/(.*)$ http://other.test/$1;
            rewrite ^/secure/(.*)$ https://other.test/$1 last;
            rewrite ^/scheme/(.*)$ $scheme://$host/$1 break;
            {TELL}
        }}"
    ));
    expect(
        &proxy,
        &[
            ("/302/a?x=1", "302 /new/a?x=1"),
            ("/301/a", "301 /new/a"),
            ("/bare/a?x=1", "302 /new/a"),
            ("/more/a?x=1", "302 /new?from=a&x=1"),
            ("/full/a?x=1", "302 http://other.test/a?x=1"),
            ("/secure/a", "302 https://other.test/a"),
            ("/scheme/a", "302 http://localhost/a"),
            // What the client escaped stays so, where it has to.
            ("/302/%C3%A9%20b%3F", "302 /new/%C3%A9%20b?"),
        ],
    );
    assert_eq!(get(proxy.address(), "/301/a").status_line(), "HTTP/1.1 301 Moved Permanently");
}

#[test]
fn arguments_are_joined_or_dropped() {
    let proxy = fairlead().http(&format!(
        "server {{ listen 127.0.0.1:{{port}};
            rewrite ^/join/(.*)$ /to?p=$1 last;
            rewrite ^/only/(.*)$ /to?p=$1? last;
            rewrite ^/none/(.*)$ /to/$1? last;
            rewrite ^/swap$ /to?b=$arg_a&a=$arg_b? last;
            {TELL}
        }}"
    ));
    expect(
        &proxy,
        &[
            ("/join/a?x=1", "200 /to?p=a&x=1"),
            ("/join/a", "200 /to?p=a"),
            ("/join/a%26b%20c", "200 /to?p=a%26b%20c"),
            ("/only/a?x=1", "200 /to?p=a"),
            ("/none/a?x=1", "200 /to/a?"),
            ("/swap?a=1&b=2", "200 /to?b=1&a=2"),
        ],
    );
}

#[test]
fn a_peer_gets_the_new_path() {
    let peer = HttpPeer::named("peer");
    let proxy = fairlead().set("peer", peer.address()).http(
        r#"server { listen 127.0.0.1:{port};
            location /last/ { rewrite ^/last/(.*)$ /inner/$1 last; }
            location /inner/ { proxy_pass http://{peer}/app/; }
            location /break/ { rewrite ^/break/(.*)$ "/whole path/$1" break; proxy_pass http://{peer}/ignored/; }
            location /set/ { set $to /elsewhere; proxy_pass http://{peer}$to; }
            location /args/ { set $args fixed=1; proxy_pass http://{peer}; }
            location /group/ { rewrite ^/group/(?<rest>[^/]*)$ /x?a=$rest break; proxy_pass http://{peer}; }
        }"#,
    );
    for (path, target) in [
        ("/last/a?x=1", "/app/a?x=1"),
        ("/last/a%20b", "/app/a%20b"),
        ("/break/a%C3%A9?x", "/whole%20path/a%C3%A9?x"),
        ("/set/a", "/elsewhere"),
        ("/args/a?x", "/args/a?fixed=1"),
        // A decoded line end does not end the line.
        ("/group/a%0d%0aX-Injected:1", "/x?a=a%0D%0AX-Injected:1"),
    ] {
        assert_eq!(get(proxy.address(), path).text(), "peer", "{path}");
        assert_eq!(peer.last().target(), target, "{path}");
        assert_eq!(peer.last().header("x-injected"), None);
    }
}

#[test]
fn an_index_meets_the_rules_of_its_server() {
    let proxy = fairlead()
        .file("www/index.html", "index")
        .file("www/other", "other")
        .http("server { listen 127.0.0.1:{port}; root {dir}/www; rewrite ^/index.html$ /other; }");
    expect(&proxy, &[("/", "200 other")]);
}

/// The rules that an article about nginx shows.
#[test]
fn downloads_are_found_under_their_new_names() {
    let proxy = fairlead().file("www/download/cdn-west/mp3/file1.mp3", "music").http(
        r"server { listen 127.0.0.1:{port}; root {dir}/www;
            rewrite ^(/download/.*)/media/(\w+)\.?.*$ $1/mp3/$2.mp3 last;
            rewrite ^(/download/.*)/audio/(\w+)\.?.*$ $1/mp3/$2.ra  last;
            return  403;
        }",
    );
    expect(
        &proxy,
        &[("/download/cdn-west/media/file1", "200 music"), ("/download/cdn-west/media/file1.flv", "200 music")],
    );
    assert_eq!(get(proxy.address(), "/download/cdn-west/audio/file1").status(), 404);
    proxy.wait_for_error("www/download/cdn-west/mp3/file1.ra\" failed (2: No such file or directory)");
    assert_eq!(get(proxy.address(), "/elsewhere").status(), 403);
}
