//! `geo`: a value for an address. Every block here means the same to nginx.

use fairlead_harness::{TcpPeer, UdpClient, UdpPeer, connect_from};

use crate::{fairlead, problem, values};

/// The value of each address in one block.
fn look_up(geo: &str, addresses: &[&str]) -> Vec<String> {
    let blocks = addresses.iter().enumerate().map(|(at, address)| {
        format!("map '' $a{at} {{ default \"{address}\"; }} geo $a{at} $v{at} {{ include {{dir}}/nets.conf; }}")
    });
    let names: Vec<String> = (0..addresses.len()).map(|at| format!("$v{at}")).collect();
    let line = values(fairlead().file("nets.conf", geo), &blocks.collect::<String>(), &names.join("|"));
    line.split('|').map(str::to_owned).collect()
}

#[test]
fn the_smallest_network_holds() {
    let nets = "default none; 10.0.0.0/8 eight; 10.1.0.0/16 sixteen; 10.1.2.3 host; 2001:db8::/32 six;
                255.255.255.255 nowhere; 10.2.0.0/16 gone; delete 10.2.0.0/16;";
    let addresses = ["10.9.9.9", "10.1.9.9", "10.1.2.3", "11.0.0.1", "2001:db8::5", "::1", "no address", "10.2.0.1"];
    assert_eq!(look_up(nets, &addresses), ["eight", "sixteen", "host", "none", "six", "none", "nowhere", "eight"]);
}

#[test]
fn ranges_split_those_around_them() {
    let nets = "ranges; default none; 10.0.0.0-10.1.255.255 wide; 10.0.0.5-10.0.0.9 inner; 10.1.0.0-10.1.0.3 front;
                delete 10.0.0.0-10.0.0.4;";
    let addresses = ["10.0.0.1", "10.0.0.5", "10.0.0.10", "10.1.0.3", "10.1.0.4", "10.2.0.0", "::1"];
    assert_eq!(look_up(nets, &addresses), ["none", "inner", "wide", "front", "wide", "none", "none"]);
}

#[test]
fn a_binary_base_beside_the_text_changes_nothing() {
    let peer = TcpPeer::echo();
    let proxy = fairlead()
        .file("nets.conf", "127.0.0.0-127.0.0.255 near;")
        .file("nets.conf.bin", "GEORNG and no more")
        .set("peer", peer.address())
        .stream(
            "geo $where { ranges; default out; include {dir}/nets.conf; } log_format own '$where';
             server { listen 127.0.0.1:{port}; proxy_pass {peer}; access_log {dir}/access.log own; }",
        );
    drop(connect_from("127.0.0.3", proxy.address()));
    assert_eq!(proxy.access_lines(1), ["near"]);
    assert_eq!(proxy.directory().read("nets.conf.bin"), "GEORNG and no more");
}

#[test]
fn the_client_s_own_address_is_asked_about() {
    let peer = TcpPeer::echo();
    let proxy = fairlead().set("peer", peer.address()).stream(
        "geo $where { default out; 127.0.0.2 two; 127.0.0.0/24 near; } log_format own '$where';
         server { listen 127.0.0.1:{port}; proxy_pass {peer}; access_log {dir}/access.log own; }",
    );
    for (number, address) in ["127.0.0.2", "127.0.0.3", "127.0.1.3"].into_iter().enumerate() {
        drop(connect_from(address, proxy.address()));
        proxy.access_lines(number + 1);
    }
    assert_eq!(proxy.access_lines(3), ["two", "near", "out"]);
}

#[test]
fn datagrams_have_addresses_too() {
    let peer = UdpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).stream(
        "geo $where { 127.0.0.0/8 near; } log_format own '$where $protocol';
         server { listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_responses 1; access_log {dir}/access.log own; }",
    );
    UdpClient::connect(proxy.address()).ask("hi");
    assert_eq!(proxy.access_lines(1), ["near UDP"]);
}

#[test]
fn a_base_of_a_hundred_thousand_networks_starts_at_once() {
    let line =
        |number: u32| format!("{}.{}.{}.0/24 v{};\n", 11 + number / 65536, number / 256 % 256, number % 256, number);
    let base: String = (0..100_000).map(line).collect();
    let began = std::time::Instant::now();
    let blocks = "map '' $a { default 12.10.11.12; } geo $a $v { include {dir}/base.conf; }";
    assert_eq!(values(fairlead().file("base.conf", base), blocks, "$v"), format!("v{}", 65536 + 10 * 256 + 11));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn mistakes_are_told_in_nginx_s_words() {
    for (stream, words) in [
        ("geo x { }", "invalid variable name \"x\""),
        ("geo $remote_addr { }", "the duplicate \"remote_addr\" variable"),
        ("geo $nothing $x { }", "unknown \"nothing\" variable"),
        ("geo $x { 10.0.0.0/33 a; }", "invalid network \"10.0.0.0/33\""),
        ("geo $x { 10.0.0.1 a; ranges; }", "the \"ranges\" directive must be the first directive inside \"geo\" block"),
        ("geo $x { ranges; 10.0.0.9-10.0.0.1 a; }", "invalid range \"10.0.0.9-10.0.0.1\""),
        (
            "geo $x { ranges; 10.0.0.1-10.0.0.9 a; 10.0.0.5-10.0.0.12 b; }",
            "range \"10.0.0.5-10.0.0.12\" overlaps \"10.0.0.1-10.0.0.9\"",
        ),
        ("geo $x { a b c; }", "invalid number of the geo parameters"),
        ("geo $x { proxy 10.0.0.1; }", "invalid network \"proxy\""),
    ] {
        let told = problem(&format!("{stream} server {{ listen 127.0.0.1:{{port}}; proxy_pass 127.0.0.1:9; }}"));
        assert!(told.contains(words), "{stream}\n{told}");
    }
}

#[test]
fn what_is_only_strange_is_a_warning() {
    let stream = "geo $x { 10.0.0.1/8 a; 10.0.0.0/8 b; delete 11.0.0.0/8; }
                  server { listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:9; }";
    let (valid, told) = fairlead().check(&format!("stream {{ {stream} }}"));
    assert!(valid, "{told}");
    for words in [
        "low address bits of 10.0.0.1/8 are meaningless",
        "duplicate network \"10.0.0.0/8\", value: \"b\", old value: \"a\"",
        "no network \"11.0.0.0/8\" to delete",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
}
