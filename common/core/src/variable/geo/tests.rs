//! `geo` by itself: which line counts for an address, what is wrong.

use super::*;
use crate::variable::testing::read;

fn geo(block: &str) -> (Geo, Vec<String>) {
    read(&format!("geo $y {{ {block} }}"), |given| Geo::read(given, false))
}

#[track_caller]
fn assert_values(block: &str, expected: &[(&str, &str)]) {
    let (geo, problems) = geo(block);
    assert!(problems.is_empty(), "{problems:?}");
    let find = |address: &str| geo.find(address.parse().ok()).to_owned();
    let found: Vec<(&str, String)> = expected.iter().map(|(address, _)| (*address, find(address))).collect();
    let expected: Vec<(&str, String)> = expected.iter().map(|(address, value)| (*address, (*value).into())).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_smallest_network_holds() {
    assert_values(
        "default none; 10.0.0.0/8 eight; 10.1.0.0/16 sixteen; 10.1.2.3 host; 2001:db8::/32 six; 2001:db8::1 one;
         255.255.255.255 nowhere; 010.2.0.0/16 zeros;",
        &[
            ("10.9.9.9", "eight"),
            ("10.1.9.9", "sixteen"),
            ("10.1.2.3", "host"),
            ("10.2.0.1", "zeros"),
            ("11.0.0.0", "none"),
            ("2001:db8::2", "six"),
            ("2001:db8::1", "one"),
            ("2001:db9::1", "none"),
            ("::ffff:10.1.2.3", "host"),
            ("no address", "nowhere"),
        ],
    );
    assert_values("10.0.0.0/8 x;", &[("1.2.3.4", ""), ("::1", ""), ("none", "")]);
}

#[test]
fn networks_can_be_taken_out_again() {
    assert_values(
        "10.0.0.0/8 eight; 10.1.0.0/16 sixteen; delete 10.1.0.0/16; ::/0 six; delete ::/0;",
        &[("10.1.0.1", "eight"), ("::1", "")],
    );
}

#[test]
fn ranges_split_those_around_them() {
    assert_values(
        "ranges; default none; 10.0.0.0-10.3.255.255 wide; 10.0.0.5-10.0.0.5 host; 10.1.0.0-10.1.255.254 second;
         10.0.0.0-10.0.0.3 front; 10.3.255.0-10.3.255.255 back; 9.0.0.0-9.0.0.1 before;
         delete 10.2.0.0-10.2.255.255;",
        &[
            ("10.0.0.3", "front"),
            ("10.0.0.4", "wide"),
            ("10.0.0.5", "host"),
            ("10.0.0.6", "wide"),
            ("10.1.2.3", "second"),
            ("10.2.0.0", "none"),
            ("10.3.0.0", "wide"),
            ("10.3.255.9", "back"),
            ("10.4.0.0", "none"),
            ("9.0.0.1", "before"),
            ("9.0.0.2", "none"),
            ("::1", "none"),
        ],
    );
    assert_values("ranges; default none; 255.0.0.0-255.255.255.255 last;", &[("::1", "last"), ("x", "last")]);
}

#[test]
fn what_is_wrong_or_strange_is_told_in_nginx_s_words() {
    for (block, message) in [
        ("10.0.0.0/33 a;", "invalid network \"10.0.0.0/33\""),
        ("10.0.0 a;", "invalid network \"10.0.0\""),
        ("proxy 10.0.0.1;", "invalid network \"proxy\""),
        ("proxy_recursive;", "invalid number of the geo parameters"),
        ("a b c;", "invalid number of the geo parameters"),
        ("10.0.0.1/8 a;", "low address bits of 10.0.0.1/8 are meaningless"),
        ("10.0.0.0/8 a; 10.0.0.0/8 b;", "duplicate network \"10.0.0.0/8\", value: \"b\", old value: \"a\""),
        ("default a; default b;", "duplicate network \"default\", value: \"b\", old value: \"a\""),
        ("delete 10.0.0.0/8;", "no network \"10.0.0.0/8\" to delete"),
        ("10.0.0.0/8 a; ranges;", "the \"ranges\" directive must be the first directive inside \"geo\" block"),
        ("ranges; 10.0.0.1 a;", "invalid range \"10.0.0.1\""),
        ("ranges; 10.0.0.2-10.0.0.1 a;", "invalid range \"10.0.0.2-10.0.0.1\""),
        (
            "ranges; 10.0.0.1-10.0.0.9 a; 10.0.0.5-10.0.0.12 b;",
            "range \"10.0.0.5-10.0.0.12\" overlaps \"10.0.0.1-10.0.0.9\"",
        ),
        (
            "ranges; 10.0.0.1-10.0.0.2 a; 10.0.0.1-10.0.0.2 b;",
            "duplicate range \"10.0.0.1-10.0.0.2\", value: \"b\", old value: \"a\"",
        ),
        ("ranges; default a; default b;", "duplicate default geo range value: \"b\", old value: \"a\""),
        ("ranges; delete 10.0.0.1-10.0.0.2;", "no address range \"10.0.0.1-10.0.0.2\" to delete"),
    ] {
        assert_eq!(geo(block).1, [message], "{block}");
    }
}

#[test]
fn proxies_are_read_where_they_may_stand() {
    let (geo, problems) = read("geo $y { proxy 10.0.0.0/8; proxy 2001:db8::1; proxy_recursive; volatile; }", |given| {
        Geo::read(given, true)
    });
    assert!(problems.is_empty() && geo.proxies.recursive && geo.volatile, "{problems:?}");
    assert_eq!(geo.proxies.networks, ["10.0.0.0/8".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]);
}

#[test]
fn a_hundred_thousand_lines_are_read_and_found() {
    let line = |number: u32| format!("{}/24 v{};", Ipv4Addr::from_bits(number << 8), number % 250);
    let block: String = (0..100_000).map(|number| line(number * 7 % 100_000 + 65536)).collect();
    let (geo, problems) = geo(&block);
    assert!(problems.is_empty());
    for number in (0..100_000).step_by(997) {
        let address = Ipv4Addr::from_bits((number + 65536) << 8 | 77);
        assert_eq!(geo.find(Some(address.into())), format!("v{}", (number + 65536) % 250));
    }
}
