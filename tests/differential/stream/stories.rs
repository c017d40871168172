//! The stories themselves, a test for each part of the plane.

use super::{Act, Story, compare};

fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().to_vec())
}

fn tcp(name: &'static str, server: &'static str, acts: impl IntoIterator<Item = Act>) -> Story {
    story(name, "", server, acts)
}

fn udp(name: &'static str, server: &'static str, acts: impl IntoIterator<Item = Act>) -> Story {
    story(name, "udp", server, acts)
}

/// A story of one client.
fn story(name: &'static str, listen: &'static str, server: &'static str, acts: impl IntoIterator<Item = Act>) -> Story {
    let acts = acts.into_iter().map(|act| (0, act)).collect();
    Story { name, server, listen, acts, sessions: 1, differs: None, but: Vec::new() }
}

fn exchange() -> [Act; 4] {
    [send("hello"), Act::Read(5), Act::Finish, Act::End]
}

#[test]
fn sessions_pass_and_end_as_in_nginx() {
    let stories = vec![
        tcp("echo", "proxy_pass {echo};", exchange()),
        tcp("echo_large", "proxy_pass {echo};", [send("0123456789".repeat(4000)), Act::Read(40_000), Act::Close]),
        tcp("client_closes", "proxy_pass {silent};", [send("x"), Act::Silence, Act::Close]),
        tcp("client_resets", "proxy_pass {silent};", [send("x"), Act::Silence, Act::Reset]),
        tcp("peer_first", "proxy_pass {greet};", [Act::Read(11), Act::Finish, Act::End]),
        tcp("peer_closes", "proxy_pass {close};", [Act::End]),
        tcp("peer_resets_in_mid", "proxy_pass {reset_mid};", [send("question"), Act::End]),
        tcp("client_finishes", "proxy_pass {linger};", [send("question"), Act::Silence, Act::Finish, Act::End]),
        tcp(
            "client_finishes_half",
            "proxy_pass {linger}; proxy_half_close on;",
            [send("question"), Act::Silence, Act::Finish, Act::End],
        ),
        tcp("peer_finishes", "proxy_pass {half};", [Act::Read(10), Act::End]),
        tcp(
            "peer_finishes_half",
            "proxy_pass {half}; proxy_half_close on;",
            [Act::Read(10), Act::Silence, send("more"), Act::Finish, Act::End],
        ),
        tcp("silent_both", "proxy_pass {silent}; proxy_timeout 300ms;", [Act::End]),
        tcp("silent_after_bytes", "proxy_pass {echo}; proxy_timeout 300ms;", [send("x"), Act::Read(1), Act::End]),
        tcp("unix_peer_missing", "proxy_pass unix:/nonexistent/socket;", [Act::End]),
    ];
    compare("", stories);
}

#[test]
fn peers_are_tried_as_in_nginx() {
    // Only the first of these holds a grudge, so that no story finds what another left.
    let groups = "upstream dead_first { server {dead}; server {echo}; }
                  upstream dead_for_datagrams { server {dead} max_fails=0; server {udp_echo} max_fails=0; }
                  upstream all_dead { server {dead} max_fails=0; server {dead2} max_fails=0; }
                  upstream one_down { server {dead} down; server {echo}; }
                  upstream all_down { server {dead} down; }
                  upstream with_backup { server {dead} max_fails=0; server {echo} backup; }
                  upstream resets { server {reset_mid}; server {echo}; }";
    let stories = vec![
        tcp("dead", "proxy_pass {dead};", [Act::End]),
        tcp("dead_first", "proxy_pass dead_first;", exchange()),
        tcp("all_dead", "proxy_pass all_dead;", [Act::End]),
        tcp("one_down", "proxy_pass one_down;", exchange()),
        tcp("all_down", "proxy_pass all_down;", [Act::End]),
        tcp("with_backup", "proxy_pass with_backup;", exchange()),
        tcp("no_next", "proxy_next_upstream off; proxy_pass all_dead;", [Act::End]),
        tcp("one_try", "proxy_next_upstream_tries 1; proxy_pass with_backup;", [Act::End]),
        tcp("connected_is_final", "proxy_pass resets;", [send("question"), Act::End]),
        tcp("variable_group", "set $to one_down; proxy_pass $to;", exchange()),
        tcp("variable_nothing", "set $to ''; proxy_pass $to;", [Act::End]),
        tcp("variable_no_port", "set $to 127.0.0.1; proxy_pass $to;", [Act::End]),
        tcp("variable_no_resolver", "set $to name.test:80; proxy_pass $to;", [Act::End]),
        udp(
            "udp_dead_first",
            "proxy_pass dead_for_datagrams; proxy_responses 1;",
            [send("x"), Act::Silence, send("y"), Act::Silence],
        )
        .sessions(2)
        .differs("a closed port is a failure of the peer here, and the session ends with 502"),
    ];
    compare(groups, stories);
}

/// nginx writes the client's bytes into its log as they came, line ends and all, and resets the connection.
const ONE_LINE: &str = "a broken header is one line of the log, escaped";

#[test]
fn the_proxy_protocol_passes_as_in_nginx() {
    const V1: &str = "PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n";
    let v2: Vec<u8> =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 7, 192, 0, 2, 8, 0x12, 0x67, 0x01, 0xbb]].concat();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let v6 = "PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n";
    let server = "proxy_pass {echo};";
    let taken = |name, bytes: &[u8], rest: &str| {
        let acts = [send([bytes, rest.as_bytes()].concat()), Act::Read(rest.len()), Act::Finish, Act::End];
        story(name, "proxy_protocol", server, acts)
    };
    let broken = |name, bytes: &[u8]| story(name, "proxy_protocol", server, [send(bytes), Act::Finish, Act::End]);
    let stories = vec![
        tcp("sends_v1", "proxy_pass {silent}; proxy_protocol on;", [Act::Silence, Act::Finish, Act::End]),
        tcp(
            "sends_v1_then_bytes",
            "proxy_pass {silent}; proxy_protocol on;",
            [send("x"), Act::Silence, Act::Finish, Act::End],
        ),
        taken("takes_v1", V1.as_bytes(), "hello"),
        taken("takes_v1_ipv6", v6.as_bytes(), "hello"),
        taken("takes_v1_unknown", b"PROXY UNKNOWN\r\n", "hello"),
        taken("takes_v1_unknown_with_more", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "hello"),
        taken("takes_v2", &v2, "hello"),
        taken("takes_v2_local", local, "hello"),
        story(
            "takes_and_sends",
            "proxy_protocol",
            "proxy_pass {silent}; proxy_protocol on;",
            [send(V1), send("x"), Act::Silence, Act::Close],
        ),
        broken("nonsense", b"GET / HTTP/1.0\r\n\r\n").differs(ONE_LINE),
        broken("bad_address", b"PROXY TCP4 192.0.2.777 192.0.2.8 4711 443\r\n")
            .differs("what is no address is no client: nginx takes it for one, and logs it"),
        broken("bad_port", b"PROXY TCP4 192.0.2.7 192.0.2.8 99999 443\r\n").differs(ONE_LINE),
        broken("v2_bad_version", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............").differs(ONE_LINE),
        broken("nothing", b""),
        story("header_times_out", "proxy_protocol", "proxy_protocol_timeout 300ms; proxy_pass {echo};", [Act::End]),
        story(
            "realip",
            "proxy_protocol",
            "set_real_ip_from 127.0.0.1; proxy_pass {silent}; proxy_protocol on;",
            [send(V1), send("x"), Act::Silence, Act::Close],
        ),
        story(
            "realip_elsewhere",
            "proxy_protocol",
            "set_real_ip_from 192.0.2.0/24; proxy_pass {echo};",
            [send(V1), send("x"), Act::Read(1), Act::Finish, Act::End],
        ),
    ];
    compare("", stories);
}

#[test]
fn clients_are_let_in_as_in_nginx() {
    let zones = "limit_conn_zone $remote_addr zone=one:1m; limit_conn_zone $server_port zone=two:1m;";
    let two = |name, server, second: [Act; 2]| Story {
        acts: vec![(0, send("a")), (0, Act::Read(1)), (1, second[0].clone()), (1, second[1].clone()), (0, Act::Close)],
        ..tcp(name, server, [])
    };
    let refused = || [send("b"), Act::End];
    let stories = vec![
        tcp("allowed", "allow 127.0.0.0/8; deny all; proxy_pass {echo};", exchange()),
        tcp("denied", "deny 127.0.0.1; allow all; proxy_pass {echo};", [Act::End]),
        tcp("denied_by_all", "allow 192.0.2.0/24; deny all; proxy_pass {echo};", [Act::End]),
        tcp("unix_only", "allow unix:; deny all; proxy_pass {echo};", [Act::End]),
        two("limited", "limit_conn two 1; proxy_pass {echo};", refused()).sessions(2),
        two("limited_by_address", "limit_conn one 1; proxy_pass {echo};", [send("b"), Act::Read(1)]).sessions(2),
        two("limit_dry_run", "limit_conn two 1; limit_conn_dry_run on; proxy_pass {echo};", [send("b"), Act::Read(1)])
            .sessions(2),
        two("limit_log_level", "limit_conn two 1; limit_conn_log_level info; proxy_pass {echo};", refused())
            .sessions(2),
        udp("udp_denied", "deny all; proxy_pass {udp_echo};", [send("x"), Act::Silence]),
    ];
    compare(zones, stories);
}

/// A ClientHello of TLS 1.2 and 1.3 for `www.example.test`, with `h2` and `http/1.1`.
fn hello() -> Vec<u8> {
    let extension =
        |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat();
    let name = b"www.example.test";
    let names = [&[0, 0, name.len() as u8 + 3, 0, 0, name.len() as u8][1..], name].concat();
    let extensions =
        [extension(0, &names), extension(16, b"\0\x0c\x02h2\x08http/1.1"), extension(43, b"\x04\x03\x04\x03\x03")]
            .concat();
    let body =
        [&b"\x03\x03"[..], &[7; 32], b"\0\0\x02\x13\x01\x01\0", &(extensions.len() as u16).to_be_bytes(), &extensions]
            .concat();
    let handshake = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&b"\x16\x03\x01"[..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

#[test]
fn hellos_are_read_as_in_nginx() {
    let hello = hello();
    let size = hello.len();
    let pass = "ssl_preread on; proxy_pass {echo};";
    let parts =
        |at: usize| [send(&hello[..at]), Act::Silence, send(&hello[at..]), Act::Read(size), Act::Finish, Act::End];
    let stories = vec![
        tcp("hello", pass, [send(&hello), Act::Read(size), Act::Finish, Act::End]).counts_early_bytes(size),
        tcp("hello_in_two", pass, parts(3)).counts_early_bytes(size),
        tcp("hello_in_two_later", pass, parts(60)).counts_early_bytes(size),
        tcp("not_tls", pass, [send("SSH-2.0-OpenSSH_9.2\r\n"), Act::Read(21), Act::Finish, Act::End])
            .counts_early_bytes(21),
        tcp("other_record", pass, [send(b"\x17\x03\x03\0\x05hello"), Act::Read(10), Act::Finish, Act::End])
            .counts_early_bytes(10),
        tcp("other_handshake", pass, [send(b"\x16\x03\x03\0\x04\x02\0\0\0"), Act::Read(9), Act::Finish, Act::End])
            .counts_early_bytes(9),
        tcp("half_a_hello", pass, [send(&hello[..40]), Act::Silence, Act::Finish, Act::End]),
        tcp("no_hello", pass, [Act::Finish, Act::End]),
        tcp("no_hello_reset", pass, [Act::Silence, Act::Reset]),
        tcp("silent", "preread_timeout 300ms; ssl_preread on; proxy_pass {echo};", [Act::End]),
        tcp("slow", "preread_timeout 300ms; ssl_preread on; proxy_pass {echo};", [send(&hello[..40]), Act::End]),
        tcp("too_long", "preread_buffer_size 64; ssl_preread on; proxy_pass {echo};", [send(&hello), Act::End]),
        tcp("by_name", "ssl_preread on; proxy_pass $by_name;", [send(&hello), Act::Read(size), Act::Finish, Act::End])
            .counts_early_bytes(size),
        tcp("by_alpn", "ssl_preread on; proxy_pass $by_alpn;", [send(&hello), Act::Read(size), Act::Finish, Act::End])
            .counts_early_bytes(size),
        story(
            "behind_a_proxy",
            "proxy_protocol",
            pass,
            [
                send("PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"),
                Act::Silence,
                send(&hello),
                Act::Read(size),
                Act::Finish,
                Act::End,
            ],
        )
        .counts_early_bytes(size),
        udp(
            "udp",
            "ssl_preread on; proxy_pass {udp_echo}; proxy_responses 1; proxy_requests 1;",
            [send("x"), Act::Read(1)],
        ),
    ];
    let maps = "map $ssl_preread_server_name $by_name { www.example.test {echo}; default {close}; }
                map $ssl_preread_alpn_protocols $by_alpn { ~\\bh2\\b {echo}; default {close}; }";
    compare(maps, stories);
}

#[test]
fn variables_come_out_as_in_nginx() {
    let common = "map $remote_addr $mapped { 127.0.0.1 one; ~^127\\.0\\.(?<third>\\d+) re-$third; default none; }
         map $mapped $volatile_mapped { volatile; one 1; default 0; }
         geo $where { default far; 127.0.0.0/8 near; 127.0.0.1 here; }
         geo $remote_addr $ranged { ranges; default out; 127.0.0.0-127.0.0.255 in; }
         split_clients $remote_addr $bucket { 30% a; 30% b; * c; }
         map $server_port $empty { default ''; }";
    let say = "return '$mapped $volatile_mapped $where $ranged $bucket [$empty] $protocol $remote_addr $status';";
    let from_two = Story { acts: vec![(1, Act::End)], ..tcp("second", say, []) };
    let stories = vec![
        tcp("returned", say, [Act::End]),
        from_two,
        tcp("returned_after_set", "set $own \"<$where>\"; set $own \"$own!\"; return $own;", [Act::End]),
        tcp("returned_nothing", "return '';", [Act::End]),
        udp("returned_udp", "return 'bye';", [send("x"), Act::Read(3)]),
    ];
    compare(common, stories);
}

#[test]
fn datagrams_pass_as_in_nginx() {
    let stories = vec![
        udp("one", "proxy_pass {udp_echo}; proxy_responses 1; proxy_requests 1;", [send("x"), Act::Read(1)]),
        udp("empty", "proxy_pass {udp_echo}; proxy_responses 1; proxy_requests 1;", [send(""), Act::Read(0)]),
        udp(
            "two_replies",
            "proxy_pass {udp_twice}; proxy_responses 2; proxy_requests 1;",
            [send("x"), Act::Read(1), Act::Read(5)],
        ),
        udp("no_reply_wanted", "proxy_pass {udp_silent}; proxy_responses 0;", [send("x")]),
        udp("large", "proxy_pass {udp_echo}; proxy_responses 1; proxy_requests 1;", [send([7; 60_000]), Act::Read(1)])
            .differs("nginx cuts replies to proxy_buffer_size; a datagram passes whole or not at all"),
        udp(
            "three_of_one_session",
            "proxy_pass {udp_echo}; proxy_requests 3; proxy_responses 1; proxy_timeout 5s;",
            [send("a"), send("b"), send("c"), Act::Read(1), Act::Read(1), Act::Read(1)],
        ),
        udp("times_out", "proxy_pass {udp_silent}; proxy_timeout 300ms;", [send("x"), Act::Silence]),
        udp("times_out_unanswered", "proxy_pass {udp_silent}; proxy_timeout 300ms; proxy_responses 1;", [send("x")]),
    ];
    compare("", stories);
}

#[test]
fn rates_are_kept_as_in_nginx() {
    let stories = vec![
        tcp(
            "download",
            "proxy_download_rate 40k; proxy_pass {echo};",
            [send("0123456789".repeat(5000)), Act::Read(50_000), Act::Close],
        ),
        tcp(
            "upload",
            "proxy_upload_rate 40k; proxy_pass {echo};",
            [send("0123456789".repeat(5000)), Act::Read(50_000), Act::Close],
        ),
        tcp(
            "small_buffer",
            "proxy_buffer_size 100; proxy_pass {echo};",
            [send("0123456789".repeat(100)), Act::Read(1000), Act::Close],
        ),
        udp(
            "too_many_datagrams",
            "proxy_upload_rate 100; proxy_pass {udp_silent}; proxy_timeout 300ms;",
            [send([b'a'; 99]), send([b'b'; 99]), send([b'c'; 99])],
        ),
        udp(
            "a_long_first_datagram",
            "proxy_upload_rate 100; proxy_pass {udp_silent}; proxy_timeout 300ms;",
            [send([b'a'; 250]), send("b")],
        ),
        udp(
            "a_reply_that_waits",
            "proxy_download_rate 100; proxy_pass {udp_twice}; proxy_responses 2; proxy_requests 1; proxy_timeout 300ms;",
            [send([b'a'; 90]), Act::Read(1), Act::Silence, Act::Read(1)],
        ),
    ];
    compare("", stories);
}
