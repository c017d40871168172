//! `map`, `geo` and `split_clients` in `http`: values for each request, worked out when they are
//! asked for. Every block here means the same to nginx.

use fairlead_harness::{Client, HttpPeer, Proxy, get};

use crate::fairlead;

/// A server that answers with `text`, behind these blocks.
fn start(blocks: &str, text: &str) -> Proxy {
    fairlead()
        .http(&format!("{blocks} server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 \"{text}\"; }} }}"))
}

fn ask(proxy: &Proxy, path: &str) -> String {
    get(proxy.address(), path).text()
}

/// The answer to a client at `source` whose request has these fields.
fn ask_from(proxy: &Proxy, source: &str, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    Client::connect_from(source, proxy.address()).request(request).text()
}

fn problem(blocks: &str) -> String {
    let (accepted, printed) = fairlead().check(&format!("http {{ {blocks} }}"));
    assert!(!accepted, "{blocks} was taken");
    printed
}

#[test]
fn exact_texts_count_in_any_case_before_patterns() {
    let map = "map $arg_a $b { a one; B two; '' nothing; \\default special; ~^a any; ~*^X-(?<rest>.+)$ <$rest>; }";
    let proxy = start(map, "[$b|$rest]");
    let found: Vec<String> =
        ["A", "b", "", "default", "ab", "x-y", "z"].map(|text| ask(&proxy, &format!("/?a={text}"))).into();
    assert_eq!(found, ["[one|]", "[two|]", "[nothing|]", "[special|]", "[any|]", "[<y>|y]", "[|]"]);
}

#[test]
fn hostnames_take_masks_and_values_take_variables() {
    let proxy = start(
        "map $host $site { hostnames; default \"none of $second\"; *.example.com star; *.b.example.com deeper;
             .dot.org dot; www.example.* tail; }
         map $arg_x $second { default two; ~^(.)(.)$ $2$1; }",
        "$site $1",
    );
    let ask = |host: &str| {
        let request = format!("GET /?x=ab HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Client::connect(proxy.address()).request(request).text()
    };
    assert_eq!(
        ["a.example.com", "x.b.example.com", "DOT.org", "a.dot.org", "www.example.net", "example.com"].map(ask),
        ["star ", "deeper ", "dot ", "dot ", "tail ", "none of ba a"]
    );
}

#[test]
fn a_value_is_kept_for_the_request_unless_it_is_volatile() {
    let peer = HttpPeer::named("a");
    let proxy = fairlead().set("peer", peer.address()).http(
        "map $upstream_addr $kept { '' early; default late; }
         map $upstream_addr $fresh { volatile; '' early; default late; }
         log_format own '$kept $fresh';
         server { listen 127.0.0.1:{port}; access_log {dir}/access.log own;
           location / { proxy_pass http://{peer}; proxy_set_header X-Kept $kept; proxy_set_header X-Fresh $fresh; } }",
    );
    let mut client = Client::connect(proxy.address());
    client.get("/");
    client.get("/");
    assert_eq!((peer.last().header("x-kept"), peer.last().header("x-fresh")), (Some("early"), Some("early")));
    assert_eq!(proxy.access_lines(2), ["early late", "early late"], "each request begins anew");
}

#[test]
fn they_choose_peers_locations_and_log_lines() {
    let (one, two) = (HttpPeer::named("one"), HttpPeer::named("two"));
    let proxy = fairlead().set("one", one.address()).set("two", two.address()).http(
        "map $cookie_v $to { new two; default one; } map $status $loud { ~^[23] 0; default 1; }
         upstream one { server {one}; } upstream two { server {two}; } log_format own '$status $to';
         server { listen 127.0.0.1:{port}; access_log {dir}/access.log own if=$loud;
           location / { proxy_pass http://$to; } location /no { return 403; } }",
    );
    assert_eq!(ask_from(&proxy, "127.0.0.1", ""), "one");
    assert_eq!(ask_from(&proxy, "127.0.0.1", "Cookie: v=new\r\n"), "two");
    ask(&proxy, "/no");
    assert_eq!(proxy.access_lines(1), ["403 one"]);
}

#[test]
fn the_smallest_network_holds_and_ranges_split() {
    let proxy = start(
        "geo $where { default out; 127.0.0.2 two; 127.0.0.0/24 near; 127.0.9.0/24 gone; delete 127.0.9.0/24; }
         geo $range { ranges; default none; 127.0.0.0-127.0.1.255 wide; 127.0.0.5-127.0.0.9 inner; }
         geo $arg_ip $asked { default unknown; 2001:db8::/32 six; 10.0.0.0/8 ten; 255.255.255.255 nowhere; }",
        "$where $range $asked",
    );
    let ask = |address| ask_from(&proxy, address, "");
    assert_eq!(
        ["127.0.0.2", "127.0.0.6", "127.0.1.3", "127.0.9.9"].map(ask),
        ["two wide nowhere", "near inner nowhere", "out wide nowhere", "out none nowhere"]
    );
    assert!(self::ask(&proxy, "/?ip=10.1.1.1").ends_with("ten"));
    assert!(self::ask(&proxy, "/?ip=2001:db8::7").ends_with("six"));
}

#[test]
fn proxies_say_who_the_client_is() {
    let proxy = start(
        "geo $near { default far; proxy 127.0.0.2; proxy 10.0.0.0/8; 192.0.2.0/24 doc; 10.0.0.0/8 ten; }
         geo $deep { default far; proxy 127.0.0.2; proxy 10.0.0.0/8; proxy_recursive; 192.0.2.0/24 doc; 10.0.0.0/8 ten; }",
        "$near $deep",
    );
    let forwarded = "X-Forwarded-For: 192.0.2.1, 10.0.0.7\r\n";
    assert_eq!(ask_from(&proxy, "127.0.0.2", forwarded), "ten doc");
    assert_eq!(ask_from(&proxy, "127.0.0.3", forwarded), "far far", "who is no proxy says nothing");
    assert_eq!(ask_from(&proxy, "127.0.0.2", ""), "far far");
    assert_eq!(ask_from(&proxy, "127.0.0.2", "X-Forwarded-For: 192.0.2.1, junk\r\n"), "far far");
    assert_eq!(ask_from(&proxy, "127.0.0.2", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.7\r\n"), "ten doc");
}

#[test]
fn clients_are_dealt_out_by_their_hash() {
    let proxy = start("split_clients $arg_id $part { 20% first; 30.5% second; * rest; }", "$part");
    let found: Vec<String> = (0..200).map(|id| ask(&proxy, &format!("/?id={id}"))).collect();
    let count = |part: &str| found.iter().filter(|found| *found == part).count();
    assert!((25..=60).contains(&count("first")) && (40..=85).contains(&count("second")), "{found:?}");
    assert_eq!(count("first") + count("second") + count("rest"), 200);
    assert_eq!(ask(&proxy, "/?id=7"), found[7], "the same each time");
}

#[test]
fn cycles_end_and_are_told() {
    let proxy = start("map $b $a { default \"x$b\"; } map $a $b { default \"y$a\"; }", "[$a]");
    assert_eq!(get(proxy.address(), "/").status(), 200);
    proxy.wait_for_error("cycle while evaluating variable \"");
}

#[test]
fn what_is_wrong_is_told_in_nginxs_words() {
    for (blocks, message) in [
        ("map $arg_a $uri { a b; }", "the duplicate \"uri\" variable"),
        ("map $arg_a b { a b; }", "invalid variable name \"b\""),
        ("map $nothing $b { a b; }", "unknown \"nothing\" variable"),
        ("map $arg_a $b { a b c; }", "invalid number of the map parameters"),
        ("map $arg_a $b { a b; a c; }", "conflicting parameter \"a\""),
        ("map $arg_a $b { default a; default b; }", "duplicate default map parameter"),
        ("geo $b { 10.0.0.0/33 a; }", "invalid network \"10.0.0.0/33\""),
        ("geo $b { proxy nonsense; }", "invalid network \"nonsense\""),
        ("split_clients $arg_a $b { 60% a; 50% b; }", "percent total is greater than 100%"),
    ] {
        let printed = problem(blocks);
        assert!(printed.contains(message), "{blocks}: {printed}");
    }
}
