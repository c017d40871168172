//! Variables that Debian's nginx does not have or that only live traffic can show; the others are
//! compared with nginx's own in `differential/request_variables`.

use fairlead_harness::{Client, eventually};

use crate::fairlead;

#[test]
fn the_port_that_a_client_asks_for() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; return 200 '$host$is_request_port$request_port'; }");
    for (request, text) in [
        ("GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n", "a.test:8080"),
        ("GET / HTTP/1.1\r\nHost: A.test\r\n\r\n", "a.test"),
        ("GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n", "a.test"),
        ("GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n", "[::1]:81"),
        ("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", "[::1]"),
        ("GET http://b.test:90/ HTTP/1.1\r\nHost: a.test:8080\r\n\r\n", "b.test:90"),
        ("GET http://b.test/ HTTP/1.1\r\nHost: a.test:8080\r\n\r\n", "b.test"),
    ] {
        assert_eq!(Client::connect(proxy.address()).request(request).text(), text, "{request:?}");
    }
}

#[test]
fn times_and_numbers_of_the_connection_have_their_forms() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port};
            return 200 '$time_iso8601_ms|$tcpinfo_rtt|$tcpinfo_rttvar|$tcpinfo_snd_cwnd|$tcpinfo_rcv_space|$request_id|$request_id|$pid|$connection_requests|$hostname|$nginx_version'; }",
    );
    let mut client = Client::connect(proxy.address());
    client.get("/");
    let text = client.get("/").text();
    let values: Vec<&str> = text.split('|').collect();
    let time = values[0].as_bytes();
    assert!(time.len() == 29 && time[10] == b'T' && time[19] == b'.' && matches!(time[23], b'+' | b'-'), "{text}");
    assert!(values[1..5].iter().all(|number| number.parse::<u64>().is_ok_and(|number| number > 0)), "{text}");
    assert!(values[5].len() == 32 && values[5] == values[6], "{text}");
    assert!(proxy.workers().contains(&values[7].parse().unwrap()), "{text}");
    assert_eq!(values[8], "2");
    assert!(!values[9].is_empty() && values[10].starts_with("1."), "{text}");
    assert_ne!(client.get("/").text().split('|').nth(5), Some(values[5]), "each request has an id of its own");
}

#[test]
fn a_socket_in_the_file_system_has_no_numbers_of_tcp() {
    let proxy = fairlead().http(
        "server { listen unix:{dir}/web.sock; return 200 '[$tcpinfo_rtt][$remote_addr][$remote_port][$server_addr][$server_port]'; }
         server { listen 127.0.0.1:{port}; location / { proxy_pass http://unix:{dir}/web.sock; } }",
    );
    let expected = format!("[][unix:][][unix:{}][]", proxy.directory().join("web.sock").display());
    assert_eq!(proxy.get("/").text(), expected);
}

#[test]
fn the_real_root_follows_its_links() {
    let proxy = fairlead().workers(1).file("one/a", "1").file("two/a", "2").http(
        "log_format own '$realpath_root'; access_log {dir}/own.log own;
         server { listen 127.0.0.1:{port}; root {dir}/current;
            location / { return 200 '$document_root $realpath_root'; }
            location /set { set $kept $realpath_root; return 200 $kept; }
            location /arg { root {dir}/$arg_x; return 200 '[$realpath_root]'; } }",
    );
    let dir = proxy.directory().path().canonicalize().unwrap();
    let turn_to = |folder: &str| {
        let _ = std::fs::remove_file(proxy.directory().join("current"));
        std::os::unix::fs::symlink(folder, proxy.directory().join("current")).unwrap();
    };
    turn_to("one");
    let current = proxy.directory().join("current");
    assert_eq!(proxy.get("/").text(), format!("{} {}/one", current.display(), dir.display()));
    turn_to("two");
    assert_eq!(proxy.get("/set").text(), format!("{}/two", dir.display()));
    assert_eq!(proxy.get("/arg?x=two/../one").text(), format!("[{}/one]", dir.display()));
    assert_eq!(proxy.get("/arg?x=none").text(), "[]");
    proxy.wait_for_error("none\" failed (2: No such file or directory)");
    let expected = format!("{0}/one\n{0}/two\n{0}/one\n-\n", dir.display());
    eventually("the log has all lines", || proxy.directory().read("own.log").lines().count() == 4);
    assert_eq!(proxy.directory().read("own.log"), expected);
}

#[test]
fn trailers_are_known_once_they_are_sent() {
    let proxy = fairlead().workers(1).file("a.txt", "abc").http(
        "log_format own '[$sent_trailer_x_one][$sent_trailer_x_two][$sent_trailer_none]'; access_log {dir}/own.log own;
         server { listen 127.0.0.1:{port}; root {dir}; add_trailer X-One 'one: $uri'; add_trailer X-Two 2; }",
    );
    proxy.get("/a.txt");
    Client::connect(proxy.address()).request("GET /a.txt HTTP/1.0\r\n\r\n");
    let expected = "[one: /a.txt][2][-]\n[-][-][-]\n";
    eventually("the log has the trailers", || proxy.directory().read("own.log") == expected);
}

#[test]
fn what_a_proxy_header_says() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port} proxy_protocol;
            return 200 '$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port|$proxy_protocol_tlv_alpn|$proxy_protocol_tlv_0x02|$proxy_protocol_tlv_ssl_cn|$proxy_protocol_tlv_ssl_verify|$proxy_protocol_tlv_netns'; }",
    );
    let ask = |header: &[u8]| {
        let mut client = Client::connect(proxy.address());
        client.send(header);
        client.get("/").text()
    };
    assert_eq!(ask(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n"), "192.0.2.1|5000|192.0.2.2|80|||||");
    assert_eq!(ask(b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\n"), "2001:db8::1|5000|2001:db8::2|443|||||");
    assert_eq!(ask(b"PROXY UNKNOWN\r\n"), "||||||||");
    let tlv = |kind: u8, value: &[u8]| [&[kind, 0, value.len() as u8], value].concat();
    let ssl = [&[1, 0, 0, 0, 0][..], &tlv(0x22, b"joe")].concat();
    let tlvs = [tlv(0x01, b"h2"), tlv(0x02, b"a.test"), tlv(0x20, &ssl)].concat();
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0, 80];
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(((addresses.len() + tlvs.len()) as u16).to_be_bytes());
    header.extend([&addresses[..], &tlvs].concat());
    assert_eq!(ask(&header), "192.0.2.1|5000|192.0.2.2|80|h2|a.test|joe|0|");
}

#[test]
fn fields_of_one_name_are_one_value() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; add_header X-A 1; add_header X-A 2; access_log {dir}/own.log own;
            return 200 '$http_x_one|$http_cookie|$cookie_b|$cookie_none|$arg_a|$arg_none|$args|$https|$scheme'; }
         log_format own '$sent_http_x_a';",
    );
    let answer = Client::connect(proxy.address()).request(
        "GET /?A=1&b=2 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nx-oNE: 2\r\nCookie: a=1\r\nCookie: b=2; c=3\r\n\r\n",
    );
    assert_eq!(answer.text(), "1, 2|a=1; b=2; c=3|2||1||A=1&b=2||http");
    eventually("the fields of the answer are joined", || proxy.directory().read("own.log") == "1, 2\n");
}
