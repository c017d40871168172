//! Where rules end: after ten changes, at patterns that run away, at the root of a folder, in front of mistakes.

use fairlead_harness::get;

use crate::fairlead;
use crate::rewrite::expect;

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
fn a_pattern_that_runs_away_is_given_up() {
    let proxy = fairlead().http(
        r#"server { listen 127.0.0.1:{port};
            rewrite "^/(?:(a+)+)\1$" /found last;
            location / { return 200 $uri; }
            location ~ "^/location/(?:(a+)+)\1$" { return 200 never; }
        }"#,
    );
    expect(&proxy, &[("/b", "200 /b")]);
    let path = format!("/{}!", "a".repeat(64));
    assert_eq!(get(proxy.address(), &path).status(), 500);
    proxy.wait_for_error("regex match failed: too complex on");
    assert_eq!(proxy.error_log().matches("too complex").count(), 1);
    let path = format!("/location/{}!", "a".repeat(64));
    assert_eq!(get(proxy.address(), &path).status(), 500);
    proxy.wait_for_error("aaa!\" in a location, client: 127.0.0.1");
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
