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
        "log_format own '$uri'; open_log_file_cache max=2; root {dir};
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

#[test]
fn a_log_of_a_host_is_made_only_where_its_root_is() {
    let proxy = fairlead().workers(1).file("hosts/a.test/index.html", "a").http(
        "log_format own '$host$uri';
        server { listen 127.0.0.1:{port}; root {dir}/hosts/$host; access_log {dir}/$host.log own; return 200 x; }",
    );
    let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(proxy.directory().path(), anybody).unwrap();
    for host in ["b.test", "../a.test", "a.test"] {
        Client::connect(proxy.address()).request(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    eventually("the host has its log", || proxy.directory().read("a.test.log") == "a.test/x\n");
    assert!(!proxy.directory().join("b.test.log").exists());
    proxy.wait_for_error("hosts/b.test\" existence failed (2: No such file or directory)");
}

#[test]
fn a_log_file_that_was_moved_is_opened_anew_on_usr1() {
    let proxy = fairlead().http(
        "log_format own '$uri';
        server { listen 127.0.0.1:{port}; access_log {dir}/own.log own buffer=4k flush=50ms; return 200 x; }",
    );
    proxy.get("/one");
    eventually("the first line is there", || proxy.directory().read("own.log") == "/one\n");
    std::fs::rename(proxy.directory().join("own.log"), proxy.directory().join("own.log.1")).unwrap();
    proxy.signal(fairlead_harness::Signal::SIGUSR1);
    eventually("a new file", || proxy.directory().join("own.log").exists());
    let mut number = 0;
    eventually("lines go to the new file", || {
        number += 1;
        proxy.get(&format!("/{number}"));
        !proxy.directory().read("own.log").is_empty()
    });
    assert!(proxy.directory().read("own.log.1").starts_with("/one\n"));
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let proxy = fairlead().workers(1).http(
        "log_format own '$uri';
        server { listen 127.0.0.1:{port}; root {dir}; access_log /dev/full own; access_log {dir}/own.log own;
            access_log {dir}/none/$host.log own; return 200 x; }",
    );
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    eventually("the other log has its lines", || proxy.directory().read("own.log").lines().count() == 5);
    proxy.wait_for_error("write() to \"/dev/full\" failed (28: No space left on device)");
}

#[test]
fn syslog_gets_each_line_with_its_facility_severity_and_tag() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let proxy = fairlead().set("syslog", server.local_addr().unwrap()).http(
        "log_format own '$request_method $uri';
        server { listen 127.0.0.1:{port}; return 200 x;
            access_log syslog:server={syslog},facility=local7,tag=edge,severity=warn,nohostname own;
            access_log syslog:server={syslog} own; }",
    );
    proxy.get("/hello");
    let mut lines: Vec<String> = (0..2)
        .map(|_| {
            let mut datagram = [0; 2048];
            let length = server.recv(&mut datagram).expect("a line comes");
            String::from_utf8_lossy(&datagram[..length]).into_owned()
        })
        .collect();
    lines.sort();
    assert!(lines[0].starts_with("<188>") && lines[0].ends_with(" edge: GET /hello"), "{lines:?}");
    assert!(lines[1].starts_with("<190>") && lines[1].ends_with(": GET /hello"), "{lines:?}");
}

#[test]
fn blocks_replace_the_logs_around_them() {
    let proxy = fairlead().http(
        "log_format own '$uri'; access_log {dir}/http.log own;
        server { listen 127.0.0.1:{port}; return 200 x; }
        server { listen 127.0.0.1:{port_two}; access_log {dir}/server.log own; access_log {dir}/second.log own;
            location /off { access_log off; return 200 x; }
            location /own { access_log {dir}/own.log own; return 200 x; }
            location /if { if ($arg_x) { access_log {dir}/if.log own; } limit_except GET { access_log {dir}/except.log own; }
                proxy_pass http://127.0.0.1:{port}; }
            location / { return 200 x; } }",
    );
    let mut client = Client::connect(proxy.port("port_two"));
    for path in ["/a", "/off", "/own", "/if?x=1", "/if"] {
        client.get(path);
    }
    client.request("POST /if HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let read = |name: &str| proxy.directory().read(name);
    eventually("each log has what is its own", || {
        read("server.log") == "/a\n/if\n"
            && read("second.log") == "/a\n/if\n"
            && read("own.log") == "/own\n"
            && read("if.log") == "/if\n"
            && read("except.log") == "/if\n"
            && read("http.log") == "/if\n/if\n/if\n"
    });
}

#[test]
fn what_is_no_log_is_refused_in_nginx_s_words() {
    for (rows, words) in [
        ("access_log {dir}/x none;", "unknown log format \"none\""),
        ("access_log {dir}/x combined buffer=0;", "invalid buffer size \"buffer=0\""),
        ("access_log {dir}/x combined flush=1s;", "no buffer is defined for access_log"),
        ("access_log {dir}/$host combined buffer=4k;", "buffered logs cannot have variables in name"),
        ("access_log syslog:server=127.0.0.1 combined buffer=4k;", "logs to syslog cannot be buffered"),
        ("access_log {dir}/x combined gzip=10;", "invalid compression level"),
        ("access_log {dir}/x combined color;", "invalid parameter \"color\""),
        ("access_log off now;", "invalid parameter \"now\""),
        ("access_log {dir}/x combined if=$nothing;", "unknown \"nothing\" variable"),
        ("log_format combined x;", "duplicate \"log_format\" name \"combined\""),
        ("log_format x escape=html y;", "unknown log format escaping \"html\""),
        ("log_format x '$1';", "unknown \"1\" variable"),
        ("open_log_file_cache inactive=1s;", "\"open_log_file_cache\" must have \"max\" parameter"),
        ("open_log_file_cache max=x;", "invalid \"open_log_file_cache\" parameter \"max=x\""),
    ] {
        let (accepted, said) = fairlead().check(&format!("http {{ {rows} server {{ listen 127.0.0.1:{{port}}; }} }}"));
        assert!(!accepted && said.contains(words), "{rows}: {said}");
    }
}
