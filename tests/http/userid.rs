//! Cookies by which clients are told apart.

use fairlead_harness::{Client, get};

use crate::fairlead;

fn cookie(answer: &fairlead_harness::Response) -> String {
    let value = answer.header("set-cookie").unwrap_or_else(|| panic!("{}", answer.head));
    value.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
}

#[test]
fn a_client_keeps_the_identifier_it_was_given() {
    // One thread: its lines are in the order of the requests.
    let proxy = fairlead().workers(1).http(
        "log_format uids '$uid_got $uid_set'; userid on;
        server { listen 127.0.0.1:{port}; access_log {dir}/access.log uids; location / { return 200 text; } location /log/ { userid log; return 200 text; } }",
    );
    let first = cookie(&get(proxy.address(), "/"));
    let second = cookie(&get(proxy.address(), "/"));
    assert_ne!(first, second);
    assert!(first.len() == 24 && first.starts_with("fwAAA"), "the address that was asked comes first: {first}");
    let mut client = Client::connect(proxy.address());
    for path in ["/", "/log/"] {
        let again = client.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: uid={first}\r\n\r\n"));
        assert_eq!(again.header("set-cookie"), None);
    }
    let lines = proxy.access_lines(4);
    let set = lines[0].strip_prefix("- uid=0100007F").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(lines[2], format!("uid=0100007F{set} -"));
    assert_eq!(lines[3], lines[2]);
}

#[test]
fn the_cookie_says_where_and_how_long_it_holds() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; userid on; userid_name id; userid_domain example.com; userid_path /a;
            userid_expires 1d; userid_flags secure samesite=lax; userid_p3p 'CP=x'; userid_service 258;
            location / { return 200 text; } location /v1/ { userid v1; userid_expires max; return 200 text; } }",
    );
    let answer = get(proxy.address(), "/");
    let value = answer.header("set-cookie").unwrap();
    assert!(value.starts_with("id=AAABA") && value.contains("; expires="), "{value}");
    assert!(value.ends_with(" GMT; domain=example.com; path=/a; secure; samesite=lax"), "{value}");
    assert_eq!(answer.header("p3p"), Some("CP=x"));
    let v1 = get(proxy.address(), "/v1/");
    let value = v1.header("set-cookie").unwrap();
    assert!(value.starts_with("id=AgEAA") && value.contains("; expires=Thu, 31-Dec-37 23:55:55 GMT;"), "{value}");
}

#[test]
fn a_mark_or_a_reset_gives_another_cookie() {
    let proxy = fairlead().http(
        "map $arg_reset $uid_reset { default $arg_reset; }
        server { listen 127.0.0.1:{port}; userid on; location / { return 200 $uid_got; }
            location /marked/ { userid_mark x; return 200 text; } }",
    );
    let mut client = Client::connect(proxy.address());
    let mut ask =
        |path: &str, uid: &str| client.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: uid={uid}\r\n\r\n"));
    let uid = cookie(&get(proxy.address(), "/"));
    let marked = cookie(&ask("/marked/", &uid));
    assert_eq!(marked, format!("{}x=", &uid[..22]));
    assert_eq!(ask("/marked/", &marked).header("set-cookie"), None);
    assert_eq!(ask("/?reset=0", &uid).header("set-cookie"), None);
    assert_ne!(cookie(&ask("/?reset=log", &uid)), uid);
    proxy.wait_for_error("was reset");
    let short = ask("/", "short");
    assert!(short.header("set-cookie").is_some() && short.text().is_empty());
    proxy.wait_for_error("client sent too short userid cookie \"uid=short\"");
}

#[test]
fn workers_do_not_give_the_same_identifier() {
    let proxy =
        fairlead().workers(4).http("server { listen 127.0.0.1:{port}; userid on; location / { return 200 text; } }");
    let mut given: Vec<String> = (0..64).map(|_| cookie(&get(proxy.address(), "/"))).collect();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 64);
}

#[test]
fn what_cannot_be_set_is_refused() {
    for (directive, words) in [
        ("userid maybe;", "userid"),
        ("userid_mark xy;", "value must be \"off\" or a single letter, digit or \"=\""),
        ("userid_expires soon;", "invalid value"),
        ("userid_expires 100y;", "value must be less than 68 years"),
        ("userid_flags sticky;", "sticky"),
        ("userid_service x;", "userid_service"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {directive} }}"));
        assert!(!fine && said.contains(words), "{directive}: {said}");
    }
}
