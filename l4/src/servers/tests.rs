use super::host;
use crate::harness::{plan, warnings};
use fairlead_core::log::Registry;
use fairlead_core::names::Captures;

fn problems(text: &str) -> Vec<String> {
    plan(text, None, &Registry::default()).err().expect("is refused")
}

/// What each name leads to: the text that the server returns.
fn chosen(text: &str, names: &[&str]) -> Vec<usize> {
    let plan = plan(text, None, &Registry::default()).expect("a plan");
    let listening = &plan.listening[0];
    let find = |name: &&str| listening.names.find(name.as_bytes(), &mut Captures::default()).copied();
    names.iter().map(|name| find(name).unwrap_or(listening.default)).collect()
}

#[test]
fn names_are_found_in_nginxs_order() {
    let text = r"server { listen 9000; return 0; }
        server { listen 9000; server_name ~^www\.; return 1; }
        server { listen 9000; server_name www.*; return 2; }
        server { listen 9000; server_name *.example.com .example.org; return 3; }
        server { listen 9000 default_server; server_name www.example.com; return 4; }";
    let names =
        ["www.example.com", "x.example.com", "www.net", "www.x.example.com", "example.org", "example.com", "wwwx"];
    assert_eq!(chosen(text, &names), [4, 3, 2, 3, 3, 4, 4]);
    assert_eq!(chosen(text, &["x.www.y"]), [4], "a regex is anchored where it says so");
}

#[test]
fn thousands_of_names_are_one_lookup() {
    use std::fmt::Write;
    let mut text = String::new();
    for number in 0..5000 {
        write!(text, "server {{ listen 9000; server_name s{number}.example; return {number}; }}").expect("fits");
    }
    assert_eq!(chosen(&text, &["s0.example", "s4999.example", "s5000.example"]), [0, 4999, 0]);
}

#[test]
fn what_servers_of_one_address_must_not_say() {
    for (text, expected) in [
        ("server { listen 9000; listen *:9000; return x; }", "a duplicate listen 0.0.0.0:9000"),
        (
            "server { listen 9000 backlog=5; return x; } server { listen 9000 rcvbuf=64k; server_name a; return x; }",
            "duplicate listen options for 0.0.0.0:9000",
        ),
        (
            "server { listen 9000 default_server; return x; } server { listen 9000 default_server; server_name a; return x; }",
            "a duplicate default server for 0.0.0.0:9000",
        ),
        ("server { listen 9000; server_name *; return x; }", "server name \"*\" is invalid"),
        ("server { listen 9000; server_name .; return x; }", "server name \".\" is invalid"),
        ("server { listen 9000; server_name a.*.b; return x; }", "invalid server name or wildcard \"a.*.b\""),
        ("server { listen 9000; server_name ~; return x; }", "empty regex in server name \"~\""),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn what_servers_of_one_address_are_warned_of() {
    let unnamed = "server { listen 9000; return x; } server { listen 9000; return x; }";
    assert_eq!(warnings(unnamed), ["conflicting server name \"\" on 0.0.0.0:9000, ignored"]);
    let named = "server { listen 9000; server_name a; return x; } server { listen 9000; server_name b A; return x; }";
    assert_eq!(warnings(named), ["conflicting server name \"a\" on 0.0.0.0:9000, ignored"]);
    // A name of one server alone is never looked up, so nothing conflicts.
    assert_eq!(warnings("server { listen 9000; server_name a a; return x; }"), [""; 0]);
    assert_eq!(
        warnings("server { listen 9000; server_name a/b; return x; }"),
        ["server name \"a/b\" has suspicious symbols"]
    );
}

#[test]
fn proxy_protocol_of_one_server_holds_for_all_and_contradictions_are_told() {
    let server = |name: &str, words: &str| format!("server {{ listen 9000 {words}; server_name {name}; return x; }}");
    let told = |words: [&str; 3]| {
        let text = format!("{}{}{}", server("a", words[0]), server("b", words[1]), server("c", words[2]));
        let plan = plan(&text, None, &Registry::default()).expect("a plan");
        (plan.listening[0].proxy_protocol, warnings(&text).len())
    };
    assert_eq!(told(["proxy_protocol", "proxy_protocol", "proxy_protocol"]), (true, 0));
    assert_eq!(told(["proxy_protocol", "", ""]), (true, 0));
    assert_eq!(told(["", "proxy_protocol", "proxy_protocol"]), (true, 1));
    assert_eq!(told(["proxy_protocol", "", "proxy_protocol"]), (true, 1));
    assert_eq!(told(["bind", "proxy_protocol", ""]), (true, 1));
    assert_eq!(told(["", "", ""]), (false, 0));
}

#[test]
fn options_of_any_server_hold_for_the_address() {
    let text = "server { listen 9000; return x; } server { listen 9000 backlog=77; server_name a; return x; }";
    let plan = plan(text, None, &Registry::default()).expect("a plan");
    assert_eq!(plan.listening.len(), 1);
    assert_eq!(plan.listening[0].listener.options.backlog, 77);
}

#[test]
fn hosts_are_looked_up_in_lower_case_without_port_and_final_dot() {
    let text = |name: &[u8]| host(name).map(|host| String::from_utf8_lossy(&host).into_owned());
    for (name, expected) in [
        (&b"a.b"[..], Some("a.b")),
        (b"A.b.", Some("a.b")),
        (b"a:80", Some("a")),
        (b"[::1]:80", Some("[::1]")),
        (b"", None),
        (b".", None),
        (b"a..b", None),
        (b"a/b", None),
        (b"a b", None),
        (b"a\0", None),
        (b":80", None),
    ] {
        assert_eq!(text(name).as_deref(), expected, "{}", name.escape_ascii());
    }
}
