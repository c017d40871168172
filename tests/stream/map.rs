//! `map`: a value for a text. Every block here means the same to nginx.

use crate::{fairlead, problem, values};

/// The value of each text in one map.
fn look_up(map: &str, texts: &[&str]) -> Vec<String> {
    let blocks = texts.iter().enumerate();
    let blocks: String =
        blocks.map(|(at, text)| format!("map \"{text}\" $v{at} {{ include {{dir}}/rules.conf; }}")).collect();
    let names: Vec<String> = (0..texts.len()).map(|at| format!("$v{at}")).collect();
    let line = values(fairlead().file("rules.conf", map), &blocks, &names.join("|"));
    line.split('|').map(str::to_owned).collect()
}

#[test]
fn exact_texts_count_in_any_case_before_patterns() {
    let map = "a one; B two; '' nothing; \\default special; ~^a any; default other;";
    assert_eq!(
        look_up(map, &["A", "b", "", "default", "ab", "x"]),
        ["one", "two", "nothing", "special", "any", "other"]
    );
}

#[test]
fn hostnames_take_masks() {
    let map = "hostnames; default no; *.example.com star; *.b.example.com deeper; .dot.org dot; www.example.* tail;";
    let texts = [
        "a.example.com",
        "x.b.example.com",
        "example.com",
        "DOT.org",
        "a.dot.org",
        "www.example.net",
        "a.example.com.",
    ];
    assert_eq!(look_up(map, &texts), ["star", "deeper", "no", "dot", "dot", "tail", "star"]);
}

#[test]
fn the_first_pattern_counts_and_its_groups_are_there() {
    let map = r#"~^(\d+)-(\d+)$ "$2 then $1"; "~^(?<name>[a-z]{2}):" "it is $name"; ~*^XY xy; ~^x never; default -;"#;
    assert_eq!(look_up(map, &["12-34", "ab:", "xyz", "XYZ", "-"]), ["34 then 12", "it is ab", "xy", "xy", "-"]);
}

#[test]
fn values_may_use_what_is_defined_later() {
    let blocks = "map $remote_addr $first { default \"<$second>\"; } map $protocol $second { TCP tcp; }";
    assert_eq!(values(fairlead(), blocks, "$first $second $FIRST"), "<tcp> tcp <tcp>");
}

#[test]
fn a_value_is_kept_unless_it_is_volatile() {
    // The first text is asked for at the session's start and at its end.
    let blocks = "map $upstream_addr $kept { '' early; default late; }
                  map $upstream_addr $volatile { volatile; '' early; default late; }
                  map '' $both { default \"$kept $volatile\"; }";
    let peer = fairlead_harness::TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(&format!(
        "log_format own '$both|$kept|$volatile'; {blocks}
         server {{ listen 127.0.0.1:{{port}}; set $x $both; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    drop(fairlead_harness::connect(proxy.address()));
    assert_eq!(proxy.access_lines(1), ["early early|early|late"]);
}

#[test]
fn a_map_chooses_the_peer() {
    let peer = fairlead_harness::TcpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "map $remote_addr $to { ~^127\\.(.)\\. group$1; }
         upstream group0 { server {peer}; }
         server { listen 127.0.0.1:{port}; proxy_pass $to; }",
    );
    let mut stream = fairlead_harness::connect(proxy.address());
    std::io::Write::write_all(&mut stream, b"x\n").unwrap();
    assert_eq!(fairlead_harness::read_line(&stream), "a: x");
}

#[test]
fn a_cycle_is_told_and_ends() {
    let peer = fairlead_harness::TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "log_format own '$a'; map $b $a { default x; } map $a $b { default y; }
         server { listen 127.0.0.1:{port}; proxy_pass {peer}; access_log {dir}/access.log own; }",
    );
    drop(fairlead_harness::connect(proxy.address()));
    assert_eq!(proxy.access_lines(1), ["x"]);
    proxy.wait_for_error("cycle while evaluating variable \"");
}

#[test]
fn mistakes_are_told_in_nginx_s_words() {
    for (stream, words) in [
        ("map $remote_addr x { }", "invalid variable name \"x\""),
        ("map $remote_addr $protocol { }", "the duplicate \"protocol\" variable"),
        ("map $nothing $x { }", "unknown \"nothing\" variable"),
        ("map a $x { default 1; default 2; }", "duplicate default map parameter"),
        ("map a $x { one 1; one 2; }", "conflicting parameter \"one\""),
        ("map a $x { hostnames; *.*.com 1; }", "invalid hostname or wildcard \"*.*.com\""),
        ("map a $x { one; }", "invalid number of the map parameters"),
        ("log_format own '$nothing';", "unknown \"nothing\" variable"),
        ("log_format own '$1';", "unknown \"1\" variable"),
    ] {
        let server = "server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:9; access_log {dir}/a own; }";
        let formats = if stream.contains("log_format") { "" } else { "log_format own x;" };
        let told = problem(&format!("{formats} {stream} {server}"));
        assert!(told.contains(words), "{stream}\n{told}");
    }
}

#[test]
fn a_misspelt_name_is_guessed() {
    let told = problem("map a $colour { } log_format own '$color';");
    if !fairlead().is_nginx() {
        assert!(told.contains("did you mean \"$colour\"?"), "{told}");
    }
}
