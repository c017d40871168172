use crate::harness::plan;
use fairlead_core::health::Kind;
use fairlead_core::log::Registry;

fn problems(text: &str) -> Vec<String> {
    plan(text, None, &Registry::default()).err().expect("is refused")
}

#[test]
fn says_what_nginx_says() {
    let peer = "proxy_pass 127.0.0.1:9;";
    for (text, expected) in [
        (format!("server {{ {peer} }}"), "no \"listen\" is defined for server"),
        ("server { listen 9000; }".to_owned(), "no handler for server"),
        (format!("server {{ listen 9000; listen *:9000; {peer} }}"), "a duplicate listen 0.0.0.0:9000"),
        (format!("server {{ listen [::]:9000; listen [::]:9000; {peer} }}"), "a duplicate listen [::]:9000"),
        (format!("server {{ listen 127.0.0.1; {peer} }}"), "no port in \"127.0.0.1\" of the \"listen\" directive"),
        (format!("server {{ listen 70000; {peer} }}"), "invalid port in \"70000\" of the \"listen\" directive"),
        (
            format!("server {{ listen 1 udp backlog=5; {peer} }}"),
            "\"listen\" directive \"backlog\" parameter is incompatible with \"udp\"",
        ),
        (
            format!("server {{ listen 1 ssl; {peer} }}"),
            "\"ssl\" parameter is known to nginx, not built in fairlead yet",
        ),
        (
            format!("server {{ listen 9010-9000; {peer} }}"),
            "invalid port range in \"9010-9000\" of the \"listen\" directive",
        ),
        ("server { listen 1; proxy_pass nowhere; }".to_owned(), "no port in upstream \"nowhere\""),
        (
            "upstream a { server 127.0.0.1:1; } server { listen 1; proxy_pass a:80; }".to_owned(),
            "upstream \"a\" may not have port 80",
        ),
        (
            "upstream a { server 127.0.0.1:1; } upstream A { server 127.0.0.1:1; }".to_owned(),
            "duplicate upstream \"A\"",
        ),
        (format!("server {{ listen 1; {peer} access_log /tmp/x; }}"), "log format is not specified"),
        (format!("server {{ listen 1; {peer} access_log /tmp/x y; }}"), "unknown log format \"y\""),
        (format!("server {{ listen 1; {peer} proxy_bind 127.0.0.1 opaque; }}"), "invalid parameter \"opaque\""),
        (format!("server {{ listen 1; {peer} proxy_bind nowhere; }}"), "invalid address \"nowhere\""),
    ] {
        assert_eq!(problems(&text), [expected], "{text}");
    }
}

#[test]
fn reports_everything_that_is_wrong() {
    let text = "server { listen 1; } server { proxy_pass 127.0.0.1:9; } server { listen 2 ssl; proxy_pass x; }";
    assert_eq!(problems(text).len(), 4, "{:?}", problems(text));
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for directive in ["proxy_ssl on;", "ssl_handshake_timeout 5s;"] {
        let text = format!("server {{ listen 1; proxy_pass 127.0.0.1:9; {directive} }}");
        let found = problems(&text);
        let name = directive.split(' ').next().expect("a name");
        assert!(found.len() == 1 && found[0].contains(name), "{found:?}");
    }
}

#[test]
fn servers_inherit_from_the_stream() {
    let text = "proxy_timeout 5s; proxy_responses 1; tcp_nodelay off;
                server { listen 1; proxy_pass 127.0.0.1:9; }
                server { listen 2; proxy_pass 127.0.0.1:9; proxy_timeout 1s; tcp_nodelay on; }";
    let plan = plan(text, None, &Registry::default()).expect("a plan");
    let servers: Vec<_> = plan.listening.iter().map(|listening| listening.default_server()).collect();
    let [one, two] = servers[..] else { panic!("two servers") };
    assert_eq!((one.proxy.timeout.as_secs(), one.session.tcp_nodelay), (5, false));
    assert_eq!((two.proxy.timeout.as_secs(), two.session.tcp_nodelay), (1, true));
    assert_eq!((one.proxy.responses, two.proxy.responses), (Some(1), Some(1)));
    assert_eq!(one.proxy.connect_timeout.as_secs(), 60);
}

#[test]
fn a_reload_keeps_what_the_peers_know() {
    let text = "upstream a { server 127.0.0.1:1; } server { listen 1; proxy_pass a; }
                server { listen 2; proxy_pass 127.0.0.1:3; }";
    let logs = Registry::default();
    let before = plan(text, None, &logs).expect("a plan");
    let after = plan(text, Some(&before), &logs).expect("a plan");
    for (old, new) in before.groups().zip(after.groups()) {
        assert!(std::sync::Arc::ptr_eq(&old.peers[0].state, &new.peers[0].state), "{}", old.name);
    }
    for ((_, old), (_, new)) in before.outcomes().zip(after.outcomes()) {
        assert!(std::sync::Arc::ptr_eq(old, new));
    }
}

#[test]
fn health_checks_name_their_group_and_match() {
    let text = "match hello { send PING; expect ~ PONG; } upstream a { zone a 64k; server 127.0.0.1:1; }
                server { listen 1; proxy_pass a; health_check interval=2 match=hello; health_check_timeout 3s; }
                server { listen 2 udp; proxy_pass a; health_check udp; }";
    let plan = plan(text, None, &Registry::default()).expect("a plan");
    let checks = plan.checks();
    let [tcp, udp] = &checks[..] else { panic!("two checks") };
    assert_eq!(tcp.group.name, "a".into());
    assert_eq!((tcp.settings.interval.as_secs(), tcp.read_timeout.as_secs()), (2, 3));
    assert!(tcp.matching.is_some() && udp.matching.is_none());
    assert!(matches!((&tcp.kind, &udp.kind), (Kind::Tcp, Kind::Udp)));
}

#[test]
fn health_checks_say_what_they_miss() {
    let upstream = "upstream a { zone a 64k; server 127.0.0.1:1; }";
    for (text, expected) in [
        ("server { listen 1; proxy_pass a; health_check match=b; }", "match \"b\" is not found"),
        (
            "server { listen 1; proxy_pass $remote_addr:1; health_check; }",
            "\"health_check\" requires \"proxy_pass\" without variables",
        ),
        ("match m { send x; } match m { send y; } server { listen 1; proxy_pass a; }", "duplicate match \"m\""),
    ] {
        assert_eq!(problems(&format!("{upstream} {text}")), [expected], "{text}");
    }
}
