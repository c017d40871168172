//! Several servers behind one port, chosen by the name that a TLS client asks for.

use std::io::Write;
use std::net::SocketAddr;

use fairlead_harness::{Signal, TcpPeer, client_hello, connect, eventually, read_exactly, read_to_end};

use crate::fairlead;

/// What the server says that a client of this name gets to.
fn answer(address: SocketAddr, name: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(&client_hello(name, &[])).unwrap();
    String::from_utf8(read_to_end(&stream)).unwrap()
}

#[test]
fn names_choose_the_server() {
    let proxy = fairlead().stream(
        r"server { listen 127.0.0.1:{port}; ssl_preread on; return default; }
        server { listen 127.0.0.1:{port}; server_name www.example.com second.example.com; return exact; }
        server { listen 127.0.0.1:{port}; server_name *.example.com; return leading; }
        server { listen 127.0.0.1:{port}; server_name mail.*; return trailing; }
        server { listen 127.0.0.1:{port}; server_name .example.org; return both; }
        server { listen 127.0.0.1:{port}; server_name ~^shop\d+\.; return regex; }",
    );
    for (name, expected) in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("www.example.com.", "exact"),
        ("second.example.com", "exact"),
        ("other.example.com", "leading"),
        ("a.b.example.com", "leading"),
        ("mail.example.com", "leading"),
        ("mail.example.net", "trailing"),
        ("example.org", "both"),
        ("deep.in.example.org", "both"),
        ("shop12.example.net", "regex"),
        ("shop.example.net", "default"),
        ("example.com", "default"),
        ("", "default"),
    ] {
        assert_eq!(answer(proxy.address(), name), expected, "{name}");
    }
}

#[test]
fn groups_of_a_regex_are_variables() {
    let proxy = fairlead().stream(
        r"server { listen 127.0.0.1:{port}; ssl_preread on; return 'none <$1>'; }
        server { listen 127.0.0.1:{port}; server_name ~^(?<shop>\w+)\.(\w+)\.example$; return '$shop in $2, $1'; }
        server { listen 127.0.0.1:{port_one}; ssl_preread on; server_name ~^(?<only>.+)\.one$; return '<$only>'; }",
    );
    assert_eq!(answer(proxy.address(), "Books.paris.example"), "books in paris, books");
    assert_eq!(answer(proxy.address(), "elsewhere"), "none <>");
    // One server alone has no choice to make, but its groups to fill.
    assert_eq!(answer(proxy.port("port_one"), "a.one"), "<a>");
    assert_eq!(answer(proxy.port("port_one"), "a.two"), "<>");
}

#[test]
fn default_server_takes_what_nobody_is_named_for() {
    let proxy = fairlead().stream(
        "server { listen 127.0.0.1:{port}; server_name a; return a; }
        server { listen 127.0.0.1:{port} default_server; server_name b; ssl_preread on; return b; }",
    );
    assert_eq!(answer(proxy.address(), "a"), "a");
    assert_eq!(answer(proxy.address(), "b"), "b");
    assert_eq!(answer(proxy.address(), "c"), "b");
}

#[test]
fn only_the_default_server_decides_whether_names_are_read() {
    let proxy = fairlead().stream(
        "server { listen 127.0.0.1:{port}; return default; }
        server { listen 127.0.0.1:{port}; server_name a; ssl_preread on; return a; }",
    );
    assert_eq!(answer(proxy.address(), "a"), "default");
}

#[test]
fn the_chosen_servers_settings_hold_from_then_on() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format short '$status $ssl_preread_server_name $bytes_received';
        server { listen 127.0.0.1:{port}; ssl_preread on; access_log {dir}/default.log short; return default; }
        server { listen 127.0.0.1:{port}; server_name a; proxy_pass {peer}; proxy_timeout 200ms;
                 access_log {dir}/access.log short; }",
    );
    let hello = client_hello("a", &["h2"]);
    let mut stream = connect(proxy.address());
    stream.write_all(&hello).unwrap();
    assert_eq!(read_exactly(&stream, hello.len()), hello, "the peer gets what was read first");
    assert_eq!(read_to_end(&stream), b"", "the session ends after its own timeout");
    assert_eq!(proxy.access_lines(1), [format!("200 a {}", hello.len())]);
    assert_eq!(proxy.directory().read("default.log"), "");
}

#[test]
fn a_reload_changes_the_names() {
    let mut proxy = fairlead().stream(
        "server { listen 127.0.0.1:{port}; ssl_preread on; return default; }
        server { listen 127.0.0.1:{port}; server_name old; return named; }",
    );
    assert_eq!(answer(proxy.address(), "old"), "named");
    proxy.rewrite(
        "stream { server { listen 127.0.0.1:{port}; ssl_preread on; return default; }
        server { listen 127.0.0.1:{port}; server_name new; return named; } }",
    );
    proxy.signal(Signal::SIGHUP);
    eventually("the new name is known", || answer(proxy.address(), "new") == "named");
    assert_eq!(answer(proxy.address(), "old"), "default");
}

#[test]
fn names_that_contradict_each_other_are_said() {
    let listen = "listen 127.0.0.1:{port}";
    let check = |servers: &str| fairlead().check(&format!("stream {{ {} }}", servers.replace("LISTEN", listen)));
    let (taken, said) =
        check("server { LISTEN; server_name a; return 1; } server { LISTEN; server_name a; return 2; }");
    assert!(taken && said.contains("conflicting server name \"a\" on 127.0.0.1:"), "{said}");
    for (servers, expected) in [
        (
            "server { LISTEN default_server; return 1; } server { LISTEN default_server; return 2; }",
            "a duplicate default server for 127.0.0.1:",
        ),
        (
            "server { LISTEN backlog=9; return 1; } server { LISTEN rcvbuf=9k; return 2; }",
            "duplicate listen options for 127.0.0.1:",
        ),
        ("server { LISTEN; LISTEN; return 1; }", "a duplicate listen 127.0.0.1:"),
        ("server { LISTEN; server_name *; return 1; }", "server name \"*\" is invalid"),
        ("server { LISTEN; server_name a*; return 1; }", "invalid server name or wildcard \"a*\""),
    ] {
        let (taken, said) = check(servers);
        assert!(!taken && said.contains(expected), "{servers}: {said}");
    }
}
