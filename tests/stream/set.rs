//! `set`: a value in the sessions of one server.

use fairlead_harness::{TcpPeer, connect};

use crate::{fairlead, problem};

#[test]
fn a_server_gives_values_in_order_and_others_have_none() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own '[$a][$b][$m]'; map x $m { default mapped; }
         server { listen 127.0.0.1:{port}; set $a $protocol; set $b \"$a-$remote_addr\"; set $a last; set $m own;
                  proxy_pass {peer}; access_log {dir}/access.log own; }
         server { listen 127.0.0.1:{port_other}; proxy_pass {peer}; access_log {dir}/access.log own; }",
    );
    drop(connect(proxy.address()));
    assert_eq!(proxy.access_lines(1), ["[last][TCP-127.0.0.1][own]"]);
    drop(connect(proxy.port("port_other")));
    assert_eq!(proxy.access_lines(2)[1], "[][][mapped]");
}

#[test]
fn it_can_choose_where_a_session_goes_and_what_is_logged() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own '$port'; map $remote_addr $log { default $port; }
         server { listen 127.0.0.1:{port}; set $to {peer}; set $port 0; proxy_pass $to;
                  access_log {dir}/access.log own if=$log; }
         server { listen 127.0.0.1:{port_other}; set $to {peer}; set $port 5; proxy_pass $to;
                  access_log {dir}/access.log own if=$log; }",
    );
    for port in ["port", "port_other"] {
        let mut stream = connect(proxy.port(port));
        std::io::Write::write_all(&mut stream, b"x").unwrap();
        assert_eq!(fairlead_harness::read_exactly(&stream, 1), b"x");
    }
    assert_eq!(proxy.access_lines(1), ["5"]);
}

#[test]
fn mistakes_are_told_in_nginx_s_words() {
    for (line, words) in [
        ("set a b;", "invalid variable name \"a\""),
        ("set $remote_addr b;", "the duplicate \"remote_addr\" variable"),
        ("set $x $nothing;", "unknown \"nothing\" variable"),
        ("set $x;", "invalid number of arguments in \"set\" directive"),
    ] {
        let told = problem(&format!("server {{ listen 127.0.0.1:{{port}}; {line} proxy_pass 127.0.0.1:9; }}"));
        assert!(told.contains(words), "{line}\n{told}");
    }
}
