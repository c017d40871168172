//! Which `server` answers: exact name, `*.` wildcard, `.*` wildcard, regular expression, default.

use fairlead_harness::{Client, Proxy};

use crate::fairlead;

const SERVERS: &str = r#"
    server { listen 127.0.0.1:{port}; server_name first.test; return 200 first; }
    server { listen 127.0.0.1:{port} default_server; server_name _; return 200 default; }
    server { listen 127.0.0.1:{port}; server_name www.example.test alias.test; return 200 exact; }
    server { listen 127.0.0.1:{port}; server_name *.example.test; return 200 leading; }
    server { listen 127.0.0.1:{port}; server_name *.deep.example.test; return 200 deeper; }
    server { listen 127.0.0.1:{port}; server_name www.tail.*; return 200 trailing; }
    server { listen 127.0.0.1:{port}; server_name .dotted.test; return 200 dotted; }
    server { listen 127.0.0.1:{port}; server_name ~^(?<user>[a-z]+)\.users\.test$; return 200 "user $user"; }
    server { listen 127.0.0.1:{port}; server_name ~\.test$; return 200 "any test"; }
    server { listen 127.0.0.1:{port}; server_name ""; return 200 nameless; }
"#;

#[track_caller]
fn ask(proxy: &Proxy, host: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    Client::connect(proxy.address()).request(request).text()
}

#[test]
fn the_most_specific_name_wins_whatever_the_order() {
    let proxy = fairlead().http(SERVERS);
    for (host, answer) in [
        ("first.test", "first"),
        ("www.example.test", "exact"),
        ("WWW.Example.TEST", "exact"),
        ("alias.test", "exact"),
        ("a.example.test", "leading"),
        ("a.b.example.test", "leading"),
        ("a.deep.example.test", "deeper"),
        ("www.tail.org", "trailing"),
        ("www.tail.co.uk", "trailing"),
        ("dotted.test", "dotted"),
        ("x.dotted.test", "dotted"),
        ("joe.users.test", "user joe"),
        ("example.test", "any test"),
        ("nobody.invalid", "default"),
    ] {
        assert_eq!(ask(&proxy, host), answer, "{host}");
    }
}

#[test]
fn a_port_and_a_final_dot_do_not_count() {
    let proxy = fairlead().http(SERVERS);
    assert_eq!(ask(&proxy, "www.example.test:8080"), "exact");
    assert_eq!(ask(&proxy, "www.example.test."), "exact");
}

#[test]
fn an_absolute_target_names_the_server() {
    let proxy = fairlead().http(SERVERS);
    let request = "GET http://www.example.test/ HTTP/1.1\r\nHost: first.test\r\nConnection: close\r\n\r\n";
    assert_eq!(Client::connect(proxy.address()).request(request).text(), "exact");
}

#[test]
fn a_request_without_host_reaches_the_empty_name() {
    let proxy = fairlead().http(SERVERS);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "nameless");
}

#[test]
fn without_default_server_the_first_is_the_default() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; server_name a.test; return 200 a; }
         server { listen 127.0.0.1:{port}; server_name b.test; return 200 b; }",
    );
    assert_eq!(ask(&proxy, "c.test"), "a");
    assert_eq!(ask(&proxy, "b.test"), "b");
}

#[test]
fn ports_are_virtual_servers_of_their_own() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; server_name same.test; return 200 one; }
         server { listen 127.0.0.1:{port_two}; server_name same.test; return 200 two; }",
    );
    assert_eq!(ask(&proxy, "same.test"), "one");
    let request = "GET / HTTP/1.1\r\nHost: same.test\r\nConnection: close\r\n\r\n";
    assert_eq!(Client::connect(proxy.port("port_two")).request(request).text(), "two");
}
