//! `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`: whom a trusted proxy speaks for.

use fairlead_harness::{Client, HttpPeer, Proxy};

use crate::fairlead;

fn start(realip: &str) -> Proxy {
    fairlead().http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; listen 127.0.0.1:{{port_proxied}} proxy_protocol; {realip}
           location / {{ return 200 \"$remote_addr:$remote_port $realip_remote_addr\"; }} }}"
    ))
}

fn ask_from(proxy: &Proxy, source: &str, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    Client::connect_from(source, proxy.address()).request(request).text()
}

#[test]
fn the_default_header_is_x_real_ip() {
    let proxy = start("set_real_ip_from 127.0.0.2;");
    assert_eq!(ask_from(&proxy, "127.0.0.2", "X-Real-IP: 192.0.2.7\r\n"), "192.0.2.7: 127.0.0.2");
    assert_eq!(ask_from(&proxy, "127.0.0.2", "X-Real-IP: 192.0.2.7:99\r\n"), "192.0.2.7:99 127.0.0.2");
    assert_eq!(ask_from(&proxy, "127.0.0.2", "X-Real-IP: [2001:db8::7]:99\r\n"), "2001:db8::7:99 127.0.0.2");
    for fields in ["", "X-Real-IP: nonsense\r\n", "X-Forwarded-For: 192.0.2.7\r\n"] {
        let told = ask_from(&proxy, "127.0.0.2", fields);
        assert!(told.starts_with("127.0.0.2:") && told.ends_with(" 127.0.0.2"), "{fields}: {told}");
    }
    assert!(ask_from(&proxy, "127.0.0.3", "X-Real-IP: 192.0.2.7\r\n").starts_with("127.0.0.3:"), "not trusted");
}

#[test]
fn forwarded_for_is_read_from_the_end() {
    let fields = "X-Forwarded-For: 192.0.2.1, 192.0.2.2, 10.0.0.1\r\n";
    let proxy = start("set_real_ip_from 127.0.0.2; set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;");
    assert_eq!(ask_from(&proxy, "127.0.0.2", fields), "10.0.0.1: 127.0.0.2");
    let recursive = "set_real_ip_from 127.0.0.2; set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;
        real_ip_recursive on;";
    let proxy = start(recursive);
    assert_eq!(ask_from(&proxy, "127.0.0.2", fields), "192.0.2.2: 127.0.0.2");
    let two = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.1\r\n";
    assert_eq!(ask_from(&proxy, "127.0.0.2", two), "192.0.2.1: 127.0.0.2");
    assert_eq!(ask_from(&proxy, "127.0.0.2", "X-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n"), "10.0.0.2: 127.0.0.2");
}

#[test]
fn any_field_may_say_it_and_a_location_may_ask_anew() {
    let proxy = fairlead().workers(1).http(
        "server { listen 127.0.0.1:{port}; root {dir};
           location / { set_real_ip_from 127.0.0.0/8; real_ip_header CF-Connecting-IP; deny 192.0.2.66; } }",
    );
    let status = |field: &str| {
        let request = format!("GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n");
        Client::connect(proxy.address()).request(request).status()
    };
    assert_eq!([status("cf-connecting-ip: 192.0.2.66\r\n"), status("CF-Connecting-IP: 192.0.2.67\r\n")], [403, 404]);
    proxy.wait_for_error("access forbidden by rule, client: 192.0.2.66, server:");
    let log = proxy.access_lines(2);
    assert!(log[0].starts_with("192.0.2.66 ") && log[1].starts_with("192.0.2.67 "), "{log:?}");
}

#[test]
fn a_proxy_header_says_it_too() {
    let proxy = start("set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;");
    let ask = |header: &str| {
        let request = format!("{header}\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        Client::connect(proxy.port("port_proxied")).request(request).text()
    };
    assert_eq!(ask("PROXY TCP4 192.0.2.1 192.0.2.2 5000 80"), "192.0.2.1:5000 127.0.0.1");
    assert!(ask("PROXY UNKNOWN").starts_with("127.0.0.1:"));
}

#[test]
fn each_request_of_a_connection_has_its_own_client() {
    let peer = HttpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).http(
        "set_real_ip_from 127.0.0.1; limit_req_zone $remote_addr zone=one:1m rate=1r/m;
         server { listen 127.0.0.1:{port}; location / { limit_req zone=one; proxy_pass http://{peer};
           proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Port $realip_remote_port; } }",
    );
    let mut client = Client::connect(proxy.address());
    let mut ask = |field: &str| client.request(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).status();
    let one = "X-Real-IP: 192.0.2.1\r\n";
    assert_eq!([ask(one), ask("X-Real-IP: 192.0.2.2\r\n"), ask(""), ask(one)], [200, 200, 200, 503]);
    let told: Vec<_> = peer.requests().iter().map(|got| got.header("x-forwarded-for").unwrap().to_owned()).collect();
    assert_eq!(told, ["192.0.2.1", "192.0.2.2", "127.0.0.1"]);
    let own = client.stream().local_addr().unwrap().port().to_string();
    assert!(peer.requests().iter().all(|got| got.header("x-port") == Some(&own)), "who connected stays the same");
}
