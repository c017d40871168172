//! `if`: what it asks, and the nameless location it is inside a location.

use fairlead_harness::{Client, HttpPeer, Proxy, get};
use std::os::unix::fs::PermissionsExt;

use crate::fairlead;

#[track_caller]
fn expect(proxy: &Proxy, bodies: &[(&str, &str)]) {
    for (path, body) in bodies {
        assert_eq!(get(proxy.address(), path).text(), *body, "{path}");
    }
}

#[test]
fn variables_are_true_or_equal_or_match() {
    let proxy = fairlead().http(
        r#"server { listen 127.0.0.1:{port};
            location /true { set $is ""; if ($arg_a) { set $is yes; } return 200 "$is"; }
            location /equal { if ($arg_a = b) { return 200 equal; } if ($arg_a != b) { return 200 other; } }
            location /empty { if ($arg_a = "") { return 200 empty; } return 200 full; }
            location /same { if ( $arg_a = $arg_b ) { return 200 same; } return 200 differ; }
            location /match { if ($arg_a ~ ^(.)B(?<rest>.*)$) { return 200 "$1 $rest"; } return 200 no; }
            location /any { if ($arg_a ~* "^(.)b") { return 200 "$1"; } return 200 no; }
            location /not { if ($arg_a !~ B) { return 200 none; } return 200 some; }
            location /nor { if ($arg_a !~* b) { return 200 none; } return 200 some; }
        }"#,
    );
    expect(
        &proxy,
        &[
            ("/true?a=1", "yes"),
            ("/true?a=00", "yes"),
            ("/true?a=0", ""),
            ("/true?a=", ""),
            ("/true", ""),
            ("/equal?a=b", "equal"),
            ("/equal?a=B", "other"),
            ("/empty", "empty"),
            ("/empty?a=x", "full"),
            ("/same?a=1&b=1", "same"),
            ("/same?a=1&b=2", "differ"),
            ("/match?a=xBc", "x c"),
            ("/match?a=xbc", "no"),
            ("/any?a=xBc", "x"),
            ("/any?a=c", "no"),
            ("/not?a=b", "none"),
            ("/not?a=B", "some"),
            ("/nor?a=B", "some"),
            ("/nor?a=c", "none"),
        ],
    );
}

#[test]
fn files_are_looked_at() {
    let setup = fairlead().file("www/file", "").file("www/folder/file", "");
    let program = setup.file("www/program", "");
    let proxy = program.http(
        r#"server { listen 127.0.0.1:{port}; root {dir}/www;
            set $is "";
            if (-f $request_filename) { set $is "${is}f"; }
            if (-d $request_filename) { set $is "${is}d"; }
            if (-e $document_root$uri) { set $is "${is}e"; }
            if (-x $request_filename) { set $is "${is}x"; }
            if (!-f $request_filename) { set $is "${is}!f"; }
            if (!-d $request_filename) { set $is "${is}!d"; }
            if (!-e $request_filename) { set $is "${is}!e"; }
            if (!-x $request_filename) { set $is "${is}!x"; }
            return 200 $is;
        }"#,
    );
    let path = proxy.directory().join("www/program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    expect(
        &proxy,
        &[
            ("/file", "fe!d!x"),
            ("/folder", "dex!f"),
            ("/program", "fex!d"),
            ("/missing", "!f!d!e!x"),
            ("/file/below", "!f!d!e!x"),
            ("/%0afile", "!f!d!e!x"),
        ],
    );
    assert!(!proxy.error_log().contains("stat()"), "{}", proxy.error_log());
}

#[test]
fn the_last_true_one_in_a_location_serves_the_request() {
    let (one, two) = (HttpPeer::named("one"), HttpPeer::named("two"));
    let setup = fairlead().set("one", one.address()).set("two", two.address());
    let proxy = setup.file("a/file", "a").file("b/file", "b").http(
        "server { listen 127.0.0.1:{port};
            location /to/ {
                proxy_pass http://{one}/inner/;
                if ($arg_two) { proxy_pass http://{two}; }
                if ($arg_quiet) { access_log off; }
            }
            location / {
                root {dir}/a;
                if ($arg_b) { root {dir}/b; }
                if ($arg_peer) { proxy_pass http://{one}; }
            }
        }",
    );
    expect(
        &proxy,
        &[
            ("/to/x", "one"),
            ("/to/x?two=1", "two"),
            ("/to/x?quiet=1", "one"),
            ("/file", "a"),
            ("/file?b=1", "b"),
            ("/file?b=1&peer=1", "one"),
        ],
    );
    let targets: Vec<String> = one.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/inner/x", "/inner/x?quiet=1", "/file?b=1&peer=1"]);
    assert_eq!(two.last().target(), "/to/x?two=1");
    let log = proxy.access_lines(5).join("\n");
    assert!(!log.contains("quiet"), "{log}");
}

#[test]
fn rules_stand_in_their_order_around_it() {
    let proxy = fairlead().http(
        r#"server { listen 127.0.0.1:{port};
            if ($request_method = POST) { return 405; }
            location /ended { if ($arg_a) { break; } return 200 reached; }
            location /order { set $x 1; if ($x = 1) { set $x "$x-2"; } set $x "$x-3"; if ($x = 1-2-3) { return 200 $x; } }
            location /moved { if ($arg_a ~ ^(.*)$) { rewrite ^ /to/$1? last; } return 200 stayed; }
            location /to/ { return 200 $uri; }
        }"#,
    );
    expect(&proxy, &[("/order", "1-2-3"), ("/ended", "reached"), ("/moved?a=x", "/to/"), ("/moved", "/to/")]);
    assert_eq!(get(proxy.address(), "/ended?a=1").status(), 404, "no rule below break runs");
    let mut client = Client::connect(proxy.address());
    let answer = client.request("POST /order HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(answer.status_line(), "HTTP/1.1 405 Not Allowed");
    assert_eq!(client.get("/order").text(), "1-2-3");
}

#[test]
fn rows_inside_it_hold_there() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port};
            if ($arg_log) { rewrite_log on; rewrite ^/no /never; }
            if ($arg_quiet) { uninitialized_variable_warn off; set $y $x; }
            location / { set $x \"$x\"; if ($arg_none) { set $x 1; } return 200 [$x]; }
        }",
    );
    expect(&proxy, &[("/a?log=1", "[]"), ("/b?quiet=1", "[]")]);
    proxy.wait_for_error("\"^/no\" does not match \"/a\"");
    let log = proxy.error_log();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("using uninitialized")).collect();
    assert!(warned.len() == 1 && warned[0].contains("GET /a?log=1"), "{log}");
}

#[test]
fn what_is_no_condition_is_refused_in_nginx_s_words() {
    for (condition, words) in [
        ("$arg_a", "invalid condition \"$arg_a\""),
        ("(arg_a)", "invalid condition \"arg_a\""),
        ("()", "invalid condition \")\""),
        ("($arg_a = )", "invalid condition \"$arg_a\""),
        ("($arg_a == b)", "unexpected \"==\" in condition"),
        ("($arg_a ~ [)", "invalid regular expression \"[\""),
        ("($nope)", "unknown \"nope\" variable"),
        ("($1 = a)", "unknown \"1\" variable"),
        ("(-q /x)", "invalid condition \"-q\""),
        ("(-f)", "invalid condition \"-f\""),
        ("($arg_a ~ (?<args>x))", "the duplicate \"args\" variable"),
    ] {
        let server = format!("server {{ listen 127.0.0.1:{{port}}; if {condition} {{ return 200; }} }}");
        let (valid, told) = fairlead().check(&format!("http {{ {server} }}"));
        assert!(!valid && told.contains(words), "{condition}\n{told}");
    }
    for (inside, words) in [
        ("if ($arg_a) { if ($arg_b) { return 200; } }", "\"if\" directive is not allowed here"),
        ("if ($arg_a) { root /x; }", "\"root\" directive is not allowed here"),
        ("location / { if ($arg_a) { alias /x; } }", "\"alias\" directive is not allowed here"),
        (
            "location / { if ($arg_a) { proxy_pass http://127.0.0.1:9/x; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression",
        ),
    ] {
        let (valid, told) = fairlead().check(&format!("http {{ server {{ listen 127.0.0.1:{{port}}; {inside} }} }}"));
        assert!(!valid && told.contains(words), "{inside}\n{told}");
    }
}
