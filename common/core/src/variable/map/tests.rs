//! `map` by itself: what a key means, which key counts, what is wrong.

use super::*;
use crate::variable::testing::{compile, read};

/// The map of a block, and what it reported.
fn map(block: &str) -> (Map<String>, Vec<String>) {
    let (map, problems) = read(&format!("map $x $y {{ {block} }}"), |given| Map::read(given, &compile));
    (map.unwrap(), problems)
}

/// The value of `text`, groups as `$N` and variables as their names.
fn look_up(map: &Map<String>, text: &str) -> String {
    let found = map.find(text.as_bytes());
    let groups = found.captures.unwrap_or_default().numbered;
    let Some(value) = found.value else { return String::new() };
    let mut out = Vec::new();
    value.render(&mut out, |name, out| {
        let group = name.parse().ok().and_then(|number: usize| groups.get(number)?.as_deref());
        out.extend_from_slice(group.unwrap_or(name.as_bytes()));
    });
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn assert_values(block: &str, expected: &[(&str, &str)]) {
    let (map, problems) = map(block);
    assert!(problems.is_empty(), "{problems:?}");
    let found: Vec<(&str, String)> = expected.iter().map(|(text, _)| (*text, look_up(&map, text))).collect();
    let expected: Vec<(&str, String)> = expected.iter().map(|(text, value)| (*text, (*value).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn texts_match_in_any_case_and_whole() {
    assert_values(
        "Alpha one; '' empty; b two; default other;",
        &[("alpha", "one"), ("ALPHA", "one"), ("", "empty"), ("B", "two"), ("alph", "other"), ("alphas", "other")],
    );
    let long = "x".repeat(300);
    assert_values(&format!("{long} long;"), &[(&long.to_uppercase(), "long"), ("x", "")]);
}

#[test]
fn special_words_are_texts_behind_a_backslash() {
    assert_values(
        r"\default one; \hostnames two; \~x three; \\y four; default five;",
        &[("default", "one"), ("hostnames", "two"), ("~x", "three"), ("y", "four"), (r"\y", "five"), ("~", "five")],
    );
}

#[test]
fn masks_need_hostnames_and_the_longest_counts() {
    assert_values("*.example.com one;", &[("a.example.com", ""), ("*.example.com", "one")]);
    assert_values(
        "hostnames; default no; *.example.com star; *.b.example.com deeper; .dot.org dot; www.* tail;
         www.example.* longer; exact.example.com exact;",
        &[
            ("a.example.com", "star"),
            ("A.Example.Com.", "star"),
            ("a.b.example.com", "deeper"),
            ("b.example.com", "star"),
            ("x.y.b.example.com", "deeper"),
            ("example.com", "no"),
            ("exact.example.com", "exact"),
            ("dot.org", "dot"),
            ("a.dot.org", "dot"),
            ("adot.org", "no"),
            ("www.example.org", "longer"),
            ("www.example.co.uk", "longer"),
            ("www.other.org", "tail"),
            // The head of a name counts before its tail.
            ("www.example.com", "star"),
            ("www", "no"),
            ("www.", "no"),
        ],
    );
}

#[test]
fn patterns_come_after_texts_in_the_order_of_the_file() {
    assert_values(
        r#"~^(\w+)\.(?<zone>\w+)$ "$1 of $2, $host"; ~*^ABC any; ~^abc never; abc text; ~^x$ x; ~^$ never; default $d;"#,
        &[
            ("one.two", "one of two, host"),
            ("abc", "text"),
            ("aBcd", "any"),
            ("x", "x"),
            ("X", "d"),
            ("", "d"),
            ("-", "d"),
        ],
    );
}

#[test]
fn a_pattern_that_runs_away_gives_the_default() {
    let (map, problems) = map(r"~^(?:(a+)+)\1$ never; ~a later; default safe;");
    assert!(problems.is_empty(), "{problems:?}");
    let text = format!("{}!", "a".repeat(64));
    let found = map.find(text.as_bytes());
    assert!(found.too_complex == Some(r"^(?:(a+)+)\1$") && found.captures.is_none());
    assert_eq!(look_up(&map, &text), "safe");
}

#[test]
fn equal_values_are_kept_once() {
    let block: String = (0..1000).map(|number| format!("key{number} value{};", number % 3)).collect();
    let (map, problems) = map(&block);
    assert!(problems.is_empty());
    assert_eq!((look_up(&map, "key997").as_str(), map.values.len()), ("value1", 3));
}

#[test]
fn what_is_wrong_is_told_in_nginx_s_words() {
    for (block, message) in [
        ("a;", "invalid number of the map parameters"),
        ("a b c;", "invalid number of the map parameters"),
        ("default a; default b;", "duplicate default map parameter"),
        ("a b; A c;", "conflicting parameter \"A\""),
        ("hostnames; *.a.com 1; .a.com 2;", "conflicting parameter \".a.com\""),
        ("hostnames; .a.com 1; a.com 2;", "conflicting parameter \"a.com\""),
        ("hostnames; a.com 1; .a.com 2;", "conflicting parameter \".a.com\""),
        ("hostnames; a.* 1; A.* 2;", "conflicting parameter \"A.*\""),
        ("hostnames; *.a.* 1;", "invalid hostname or wildcard \"*.a.*\""),
        ("hostnames; a*b 1;", "invalid hostname or wildcard \"a*b\""),
        ("hostnames; a..b 1;", "invalid hostname or wildcard \"a..b\""),
        ("a $unknown;", "unknown \"unknown\" variable"),
        ("a { b c; }", "unexpected \"{\""),
    ] {
        assert_eq!(map(block).1, [message], "{block}");
    }
    let (_, problems) = map("~( x;");
    assert!(problems[0].starts_with("regular expression \"(\" failed: "), "{problems:?}");
}

#[test]
fn special_words_set_what_they_say() {
    let (map, problems) = map("volatile; hostnames; volatile yes;");
    assert!(problems.is_empty() && map.volatile && map.hostnames);
    assert_eq!(look_up(&map, "volatile"), "yes");
}
