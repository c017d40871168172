//! One line for each request, in the format that was asked for.

use fairlead_harness::{Answer, Client, HttpPeer, eventually};

use crate::fairlead;

#[test]
fn the_default_is_the_combined_format() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; return 200 hello; }");
    let request = "GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\nReferer: http://from/\r\nUser-Agent: test \"1\"\r\n\r\n";
    Client::connect(proxy.address()).request(request);
    let line = proxy.access_lines(1).remove(0);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let rest = "] \"GET /a%20b?c=d HTTP/1.1\" 200 5 \"http://from/\" \"test \\x221\\x22\"";
    assert!(line.ends_with(rest), "{line}");
    let time = &line[15..41];
    assert!(time.as_bytes()[2] == b'/' && time.as_bytes()[11] == b':' && time.contains(" +"), "{time}");
}

#[test]
fn variables_say_what_happened() {
    let peer =
        HttpPeer::start(|_| Answer::Raw(b"HTTP/1.1 201 Made\r\nX-Peer: p\r\nContent-Length: 4\r\n\r\nbody".to_vec()));
    let proxy = fairlead().set("peer", peer.address()).http(
        "log_format own '$request_method|$uri|$args|$status|$body_bytes_sent|$request_length|$http_x_own|$host|'
                        '$upstream_addr|$upstream_status|$sent_http_x_peer|$upstream_http_x_peer|$server_protocol|$cookie_c';
        server { listen 127.0.0.1:{port}; access_log {dir}/own.log own;
            location / { proxy_pass http://{peer}; } }",
    );
    let request =
        "PUT /x?y=z HTTP/1.1\r\nHost: Host.test\r\nX-Own: own\r\nCookie: b=1; c=2\r\nContent-Length: 2\r\n\r\nhi";
    Client::connect(proxy.address()).request(request);
    let expected = format!("PUT|/x|y=z|201|4|{}|own|host.test|{}|201|p|p|HTTP/1.1|2\n", request.len(), peer.address());
    eventually(&format!("the line {expected:?}"), || proxy.directory().read("own.log") == expected);
}

#[test]
fn escaping_is_a_choice() {
    let proxy = fairlead().http(
        r#"log_format json escape=json '{"agent":"$http_user_agent","none":"$http_none"}';
        log_format plain escape=none '$http_user_agent|$http_none';
        server { listen 127.0.0.1:{port}; return 200 x;
            access_log {dir}/json.log json; access_log {dir}/plain.log plain; }"#,
    );
    Client::connect(proxy.address()).request("GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: a\"b\\c\r\n\r\n");
    eventually("both logs have their line", || {
        proxy.directory().read("json.log") == "{\"agent\":\"a\\\"b\\\\c\",\"none\":\"\"}\n"
            && proxy.directory().read("plain.log") == "a\"b\\c|\n"
    });
}

#[test]
fn a_log_can_be_conditional_or_off() {
    let proxy = fairlead().http(
        "server { listen 127.0.0.1:{port};
            location /off { access_log off; return 200 x; }
            location /if { access_log {dir}/if.log combined if=$arg_log; return 200 x; }
            location /on { return 200 x; } }",
    );
    for path in ["/off", "/if?log=0", "/if", "/if?log=1", "/on"] {
        assert_eq!(proxy.get(path).status(), 200);
    }
    let lines = proxy.access_lines(1);
    assert!(lines.len() == 1 && lines[0].contains("GET /on "), "{lines:?}");
    eventually("the conditional log has its line", || proxy.directory().read("if.log").contains("GET /if?log=1 "));
    assert_eq!(proxy.directory().read("if.log").lines().count(), 1);
}

#[test]
fn requests_that_never_were_are_logged_too() {
    let proxy = fairlead().http("server { listen 127.0.0.1:{port}; return 200 x; }");
    Client::connect(proxy.address()).request("NONSENSE\r\n\r\n");
    let line = proxy.access_lines(1).remove(0);
    assert!(line.contains("] \"NONSENSE\" 400 "), "{line}");
}

#[test]
fn a_buffered_log_loses_nothing_when_the_program_stops() {
    let mut proxy = fairlead().http(
        "server { listen 127.0.0.1:{port}; access_log {dir}/buffered.log combined buffer=64k flush=1h; return 200 x; }",
    );
    for _ in 0..20 {
        proxy.get("/");
    }
    proxy.stop_with(fairlead_harness::Signal::SIGQUIT);
    assert_eq!(proxy.directory().read("buffered.log").lines().count(), 20);
}

#[test]
fn a_log_can_be_compressed_and_its_name_can_have_variables() {
    let proxy = fairlead().workers(1).http(
        "log_format own '$uri'; open_log_file_cache max=2;
        server { listen 127.0.0.1:{port}; return 200 x;
            access_log {dir}/own.gz own gzip buffer=1k flush=100ms; access_log {dir}/$arg_to.log own; }",
    );
    // Such files are opened by the worker, whoever that is.
    let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(proxy.directory().path(), anybody).unwrap();
    for path in ["/a?to=one", "/b?to=two", "/c?to=one"] {
        proxy.get(path);
    }
    eventually("each line is in its file", || {
        proxy.directory().read("one.log") == "/a\n/c\n" && proxy.directory().read("two.log") == "/b\n"
    });
    eventually("the compressed log can be read", || {
        let output = std::process::Command::new("gzip").arg("-dc").arg(proxy.directory().join("own.gz")).output();
        output.unwrap().stdout == b"/a\n/b\n/c\n"
    });
}
