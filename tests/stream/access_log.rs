//! `access_log`: where lines go, when, and which. Every block here means the same to nginx.

use fairlead_harness::{Proxy, Signal, TcpPeer, connect, eventually};
use std::process::Command;

use crate::{fairlead, problem};

const FORMAT: &str = "log_format own '$remote_addr $status';";

fn start(stream: &str) -> (TcpPeer, Proxy) {
    let peer = TcpPeer::echo();
    let proxy = fairlead().workers(1).set("peer", peer.address()).stream(stream);
    (peer, proxy)
}

/// A session of one exchange, over when this returns as far as the client can tell.
fn session(proxy: &Proxy, port: &str) {
    let mut stream = connect(proxy.port(port));
    std::io::Write::write_all(&mut stream, b"x").unwrap();
    assert_eq!(fairlead_harness::read_exactly(&stream, 1), b"x");
}

/// What zcat makes of a file as it is now.
fn unpacked(proxy: &Proxy, name: &str) -> String {
    let output = Command::new("gzip").arg("-dc").arg(proxy.directory().join(name)).output().expect("gzip runs");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn levels_inherit_until_they_speak_for_themselves() {
    let (_peer, proxy) = start(&format!(
        "{FORMAT} log_format port '$server_port'; access_log {{dir}}/all.log own; proxy_timeout 10s;
         server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; }}
         server {{ listen 127.0.0.1:{{port_off}}; proxy_pass {{peer}}; access_log off; }}
         server {{ listen 127.0.0.1:{{port_own}}; proxy_pass {{peer}}; access_log {{dir}}/access.log port;
                   access_log {{dir}}/second.log own; }}"
    ));
    for port in ["port_off", "port", "port_own"] {
        session(&proxy, port);
    }
    assert_eq!(proxy.access_lines(1), [proxy.port("port_own").port().to_string()]);
    eventually("the others are written", || {
        ["all.log", "second.log"].iter().all(|name| proxy.directory().read(name) == "127.0.0.1 200\n")
    });
}

#[test]
fn a_buffer_is_written_when_it_is_full_or_its_time_has_come() {
    let (_peer, proxy) = start(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own buffer=64; }}
         server {{ listen 127.0.0.1:{{port_soon}}; proxy_pass {{peer}};
                   access_log {{dir}}/soon.log own buffer=64k flush=200ms; }}
         server {{ listen 127.0.0.1:{{port_now}}; proxy_pass {{peer}}; access_log {{dir}}/now.log own; }}"
    ));
    // Four lines of 14 bytes fit.
    for _ in 0..5 {
        session(&proxy, "port");
    }
    session(&proxy, "port_soon");
    session(&proxy, "port_now");
    eventually("what waits for nothing is there", || proxy.directory().read("now.log").lines().count() == 1);
    eventually("the timed one comes", || proxy.directory().read("soon.log").lines().count() == 1);
    assert_eq!(proxy.access_lines(4).len(), 4, "the fifth waits");
    let directory = proxy.directory().join("access.log");
    let text = {
        let mut proxy = proxy;
        proxy.stop_with(Signal::SIGTERM);
        std::fs::read_to_string(directory).unwrap()
    };
    assert_eq!(text.lines().count(), 5, "nothing is lost at the end");
}

#[test]
fn a_compressed_log_can_be_read_while_it_grows() {
    let (_peer, proxy) = start(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}};
                   access_log {{dir}}/own.gz own gzip=9 buffer=1k flush=100ms; }}"
    ));
    for count in 1..=3 {
        session(&proxy, "port");
        eventually("the line can be read", || unpacked(&proxy, "own.gz") == "127.0.0.1 200\n".repeat(count));
    }
}

#[test]
fn a_condition_decides_which_sessions_have_a_line() {
    let (_peer, proxy) = start(&format!(
        "{FORMAT} map $server_port $log {{ default 1; {{port_zero}} 0; {{port_empty}} ''; }}
         access_log {{dir}}/access.log own if=$log;
         server {{ listen 127.0.0.1:{{port_zero}}; proxy_pass {{peer}}; }}
         server {{ listen 127.0.0.1:{{port_empty}}; proxy_pass {{peer}}; }}
         server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own if=x$log; }}"
    ));
    for port in ["port_zero", "port_empty", "port"] {
        session(&proxy, port);
    }
    assert_eq!(proxy.access_lines(1), ["127.0.0.1 200"]);
}

#[test]
fn variables_name_the_file() {
    for cache in ["", "open_log_file_cache max=2 inactive=20s min_uses=1 valid=1m;"] {
        let (_peer, proxy) = start(&format!(
            "{FORMAT} {cache} map $server_port $name {{ {{port}} one; {{port_two}} two; default three; }}
             access_log {{dir}}/$name.$protocol.log own;
             server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; }}
             server {{ listen 127.0.0.1:{{port_two}}; proxy_pass {{peer}}; }}
             server {{ listen 127.0.0.1:{{port_three}}; proxy_pass {{peer}}; }}"
        ));
        let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        // Such files are opened by the worker, whoever that is.
        std::fs::set_permissions(proxy.directory().path(), anybody).unwrap();
        for port in ["port", "port_two", "port_three", "port"] {
            session(&proxy, port);
        }
        let count = |name: &str| proxy.directory().read(&format!("{name}.TCP.log")).lines().count();
        eventually("each line is in its file", || [count("one"), count("two"), count("three")] == [2, 1, 1]);
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_told() {
    let (_peer, proxy) = start(&format!(
        "{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/none/$protocol.log own; }}"
    ));
    session(&proxy, "port");
    let name = proxy.directory().join("none/TCP.log");
    proxy.wait_for_error(&format!("open() \"{}\" failed (2: No such file or directory)", name.display()));
}

#[test]
fn values_are_escaped_as_the_format_says() {
    let (_peer, proxy) = start(
        r#"map x $odd { default 'a"b\\c	é'; } map x $none { }
         log_format default '[$odd][$upstream_addr]'; log_format json escape=json '{"odd":"$odd","peer":"$upstream_addr"}';
         log_format none escape=none '[$odd][$upstream_addr]';
         server { listen 127.0.0.1:{port}; proxy_pass $none;
                  access_log {dir}/access.log default; access_log {dir}/access.log json; access_log {dir}/access.log none; }"#,
    );
    drop(connect(proxy.address()));
    let lines = proxy.access_lines(3);
    assert_eq!(lines[0], r"[a\x22b\x5Cc\x09\xC3\xA9][-]");
    assert_eq!(lines[1], r#"{"odd":"a\"b\\c\té","peer":""}"#);
    assert_eq!(lines[2], "[a\"b\\c\té][]");
}

#[test]
fn mistakes_are_told_in_nginx_s_words() {
    for (lines, words) in [
        ("access_log a.log;", "log format is not specified"),
        ("access_log a.log other;", "unknown log format \"other\""),
        ("access_log a.log own gzip=0;", "invalid compression level \"0\""),
        ("access_log a.log own buffer=0;", "invalid buffer size \"0\""),
        ("access_log a.log own flush=1s;", "no buffer is defined for access_log \"a.log\""),
        ("access_log $protocol.log own buffer=1k;", "buffered logs cannot have variables in name"),
        ("access_log $nothing.log own;", "unknown \"nothing\" variable"),
        ("access_log a.log own buffer=1k; access_log a.log own gzip;", "already defined with conflicting parameters"),
        ("access_log off own;", "invalid parameter \"own\""),
        ("open_log_file_cache valid=1s;", "\"open_log_file_cache\" must have \"max\" parameter"),
        ("open_log_file_cache max=1 size=2;", "invalid \"open_log_file_cache\" parameter \"size=2\""),
    ] {
        let told =
            problem(&format!("{FORMAT} server {{ listen 127.0.0.1:{{port}}; proxy_pass 127.0.0.1:9; {lines} }}"));
        assert!(told.contains(words), "{lines}\n{told}");
    }
}
