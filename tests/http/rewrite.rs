//! `rewrite`, `return`, `break` and `set`: what rules make of a request on its way to an answer.

use fairlead_harness::{Client, HttpPeer, Proxy, get};

use crate::fairlead;

/// Body of a page, or where a redirect leads.
fn outcome(proxy: &Proxy, path: &str) -> String {
    let answer = get(proxy.address(), path);
    match answer.header("location") {
        Some(location) => format!("{} {location}", answer.status()),
        None => format!("{} {}", answer.status(), answer.text()),
    }
}

#[track_caller]
fn expect(proxy: &Proxy, outcomes: &[(&str, &str)]) {
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
fn variables_are_set_in_order_and_kept_across_locations() {
    let proxy = fairlead().workers(1).http(
        r#"log_format own "$uri $step $http_x_mark"; access_log {dir}/own.log own;
        server { listen 127.0.0.1:{port};
            set $step "$arg_a"; set $step "$step-server";
            location /a { set $step "$step-a"; set $http_x_mark made; rewrite ^ /b last; }
            location /b { set $step "$step-b"; return 200 "$step $http_x_mark"; }
            location /c { return 200 "$step $http_x_mark"; }
        }"#,
    );
    expect(&proxy, &[("/a?a=1", "200 1-server-a-b made"), ("/c?a=2", "200 2-server ")]);
    let mut client = Client::connect(proxy.address());
    let answer = client.request("GET /c HTTP/1.1\r\nHost: h\r\nX-Mark: sent\r\n\r\n");
    assert_eq!(answer.text(), "-server sent", "until it is set it is the client's");
    fairlead_harness::eventually("three lines", || proxy.directory().read("own.log").lines().count() == 3);
    assert_eq!(proxy.directory().read("own.log"), "/b 1-server-a-b made\n/c 2-server -\n/c -server sent\n");
}

#[test]
fn an_unset_variable_is_empty_and_told_once() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port};
            location /set { set $name value; return 200 [$name]; }
            location /quiet { uninitialized_variable_warn off; return 200 [$name$name]; }
            location / { return 200 [$name$name]; }
        }",
    );
    expect(&proxy, &[("/set", "200 [value]"), ("/quiet", "200 []"), ("/", "200 []")]);
    proxy.wait_for_error("using uninitialized \"name\" variable");
    let log = proxy.error_log();
    assert_eq!(log.matches("using uninitialized").count(), 1, "{log}");
    assert!(log.contains("[warn]") && log.contains("request: \"GET / HTTP/1.1\""), "{log}");
}

#[test]
fn eleven_changes_are_a_cycle() {
    let proxy = fairlead().http(
        r#"server { listen 127.0.0.1:{port};
            location / { rewrite ^/(.*)$ /x$1 last; }
            location /ten { if ($uri !~ "y{10}$") { rewrite ^(.*)$ ${uri}y last; } return 200 $uri; }
            location /eleven { if ($uri !~ "y{11}$") { rewrite ^(.*)$ ${uri}y last; } return 200 $uri; }
        }"#,
    );
    expect(&proxy, &[("/ten", "200 /tenyyyyyyyyyy")]);
    for path in ["/", "/eleven"] {
        assert_eq!(get(proxy.address(), path).status(), 500, "{path}");
    }
    proxy.wait_for_error("rewrite or internal redirection cycle while processing \"/xxxxxxxxxxx\", client: 127.0.0.1");
    proxy.wait_for_error("while processing \"/elevenyyyyyyyyyyy\"");
}

#[test]
fn the_log_tells_what_rules_do() {
    let proxy = fairlead().http(
        "rewrite_log on;
        server { listen 127.0.0.1:{port};
            rewrite ^/no/ /never; rewrite ^/a/(.*)$ /b/$1?c=d; rewrite ^/go/(.*)$ /there/$1 redirect;
            location / { return 200 x; }
            location /quiet/ { rewrite_log off; rewrite ^/quiet/one$ /two last; }
        }",
    );
    for path in ["/a/x?y", "/go/x", "/quiet/one"] {
        get(proxy.address(), path);
    }
    proxy.wait_for_error("\"^/go/(.*)$\" does not match \"/quiet/one\", client: 127.0.0.1");
    let log = proxy.error_log();
    for line in [
        "\"^/no/\" does not match \"/a/x\"",
        "\"^/a/(.*)$\" matches \"/a/x\"",
        "rewritten data: \"/b/x\", args: \"c=d&y\"",
        "\"^/go/(.*)$\" matches \"/go/x\"",
        "rewritten redirect: \"/there/x\"",
    ] {
        assert!(log.lines().any(|told| told.contains("[notice]") && told.contains(line)), "{line} in\n{log}");
    }
    assert!(!log.contains("^/quiet/one"), "{log}");
}

#[test]
fn a_pattern_that_runs_away_is_given_up() {
    let proxy = fairlead().http(
        r#"server { listen 127.0.0.1:{port};
            rewrite "^/(?:(a+)+)\1$" /found last;
            location / { return 200 $uri; }
        }"#,
    );
    expect(&proxy, &[("/b", "200 /b")]);
    let path = format!("/{}!", "a".repeat(64));
    assert_eq!(get(proxy.address(), &path).status(), 500);
    proxy.wait_for_error("regex match failed: too complex on");
    assert_eq!(proxy.error_log().matches("too complex").count(), 1);
}

#[test]
fn rules_do_not_lead_out_of_a_folder() {
    let proxy = fairlead().file("secret", "secret").file("www/page", "page").http(
        "server { listen 127.0.0.1:{port}; root {dir}/www;
            location /files { rewrite ^ /$arg_name break; }
            location /alias/ { alias {dir}/www/; rewrite ^/alias/(.*)$ /$1 break; }
        }",
    );
    expect(&proxy, &[("/files?name=page", "200 page")]);
    for name in ["../secret", "x/../../secret", ".."] {
        assert_eq!(get(proxy.address(), &format!("/files?name={name}")).status(), 404, "{name}");
    }
    assert_eq!(get(proxy.address(), "/alias/page").status(), 500);
    proxy.wait_for_error("\"alias\" cannot be used in location \"/alias/\" where URI was rewritten");
}

#[test]
fn an_index_meets_the_rules_of_its_server() {
    let proxy = fairlead()
        .file("www/index.html", "index")
        .file("www/other", "other")
        .http("server { listen 127.0.0.1:{port}; root {dir}/www; rewrite ^/index.html$ /other; }");
    expect(&proxy, &[("/", "200 other")]);
}

#[test]
fn what_is_no_rule_is_refused_in_nginx_s_words() {
    for (rules, words) in [
        ("rewrite ^/a;", "invalid number of arguments in \"rewrite\" directive"),
        ("rewrite ^/a \"\";", "empty replacement"),
        ("rewrite ^/a /b first;", "invalid parameter \"first\""),
        ("rewrite ^/(a /b;", "invalid regular expression \"^/(a\""),
        ("rewrite ^/a /$nope;", "unknown \"nope\" variable"),
        ("rewrite ^/(?<uri>a) /b;", "the duplicate \"uri\" variable"),
        ("set name value;", "invalid variable name \"name\""),
        ("set $uri /x;", "the duplicate \"uri\" variable"),
        ("set $a;", "invalid number of arguments in \"set\" directive"),
        ("break now;", "invalid number of arguments in \"break\" directive"),
        ("return 1000;", "invalid return code \"1000\""),
        ("return /x;", "invalid return code \"/x\""),
        ("return;", "invalid number of arguments in \"return\" directive"),
        ("rewrite_log maybe;", "invalid value \"maybe\" in \"rewrite_log\" directive, it must be \"on\" or \"off\""),
        ("set $x 1; return 200 $y;", "unknown \"y\" variable"),
    ] {
        let (valid, told) = fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:{{port}}; {rules} }} }}"));
        assert!(!valid && told.contains(words), "{rules}\n{told}");
    }
    let (valid, told) = fairlead().check("http { rewrite ^ /x; server { listen 127.0.0.1:{port}; } }");
    assert!(!valid && told.contains("\"rewrite\" directive is not allowed here"), "{told}");
}
