//! `set`, variables that nobody set, and what `rewrite_log` tells.

use fairlead_harness::{Client, eventually, get};

use crate::fairlead;
use crate::rewrite::expect;

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
    eventually("three lines", || proxy.directory().read("own.log").lines().count() == 3);
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
