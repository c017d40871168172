//! `split_clients`: parts of all clients. Every block here means the same to nginx.

use crate::{fairlead, problem, values};

#[test]
fn clients_are_dealt_out_by_their_hash() {
    // Computed with the published MurmurHash2: 0x9268…, 0x1357…, 0x2687…, 0x44a8….
    let keys = ["a", "abc", "abcd", "hello world"];
    let blocks = keys.iter().enumerate();
    let blocks: String =
        blocks.map(|(at, key)| format!("split_clients '{key}' $v{at} {{ 10% one; 16.5% two; * rest; }}")).collect();
    assert_eq!(values(fairlead(), &blocks, "$v0 $v1 $v2 $v3"), "rest one two rest");
}

#[test]
fn what_no_part_takes_is_empty_and_the_source_may_be_variables() {
    let blocks =
        "split_clients \"$protocol$connection\" $none { 0.01% a; } split_clients '$remote_addr' $all { 100% b; }";
    assert_eq!(values(fairlead(), blocks, "[$none][$all]"), "[][b]");
}

#[test]
fn mistakes_are_told_in_nginx_s_words() {
    for (block, words) in [
        ("split_clients a x { * b; }", "invalid variable name \"x\""),
        ("split_clients $nothing $x { * b; }", "unknown \"nothing\" variable"),
        ("split_clients a $x { 0% b; }", "invalid percent value \"0%\""),
        ("split_clients a $x { 1.234% b; }", "invalid percent value \"1.234%\""),
        ("split_clients a $x { 60% b; 50% c; }", "percent total is greater than 100%"),
        ("split_clients a $x { * b; 1% c; }", "percent total is greater than 100%"),
    ] {
        let told = problem(&format!("{block} server {{ listen 127.0.0.1:{{port}}; proxy_pass 127.0.0.1:9; }}"));
        assert!(told.contains(words), "{block}\n{told}");
    }
}
