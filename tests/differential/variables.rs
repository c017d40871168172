//! Variables that a configuration makes, in `stream`: one log line of each program tells the value
//! of thousands of them, and the lines must be equal.
use fairlead_core::dice::Dice;

use fairlead_harness::{Port, Proxy, Setup, TcpPeer, UdpClient, UdpPeer, connect, eventually};
use std::io::{Read, Write};

/// The log line that `format` gives for one session.
fn line(setup: Setup, blocks: &str, format: &str, file: &str) -> String {
    let peer = TcpPeer::echo();
    let proxy = setup.workers(1).set("peer", peer.address()).file("rules.conf", file).stream(&format!(
        "variables_hash_max_size 65536; log_format own {format}; {blocks}
         server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    drop(connect(proxy.address()));
    // So long a line may be seen half written.
    eventually("the whole line", || proxy.directory().read("access.log").ends_with('\n'));
    proxy.access_lines(1).remove(0)
}

/// Numbers variables `$v0`, `$v1`, … of what `define` says, and compares all their values.
#[track_caller]
fn compare(texts: &[String], file: &str, define: impl Fn(usize, &str) -> String) -> String {
    let blocks: String = texts.iter().enumerate().map(|(at, text)| define(at, text)).collect();
    // nginx takes no word of more than 4096 bytes, but any number of words.
    let format: Vec<String> = (0..texts.len()).map(|at| format!("'|$v{at}'")).collect();
    let theirs = line(Setup::nginx(), &blocks, &format.join(" "), file);
    let ours = line(Setup::new(env!("CARGO_BIN_EXE_fairlead")), &blocks, &format.join(" "), file);
    let pairs = texts.iter().zip(theirs.split('|').zip(ours.split('|')).skip(1));
    let wrong: Vec<_> = pairs.filter(|(_, (theirs, ours))| theirs != ours).take(20).collect();
    assert!(wrong.is_empty(), "(text, (nginx, fairlead)): {wrong:?}");
    assert!(theirs == ours, "one line is longer");
    ours
}

/// Every variable that nginx 1.22 has too and whose value a test can foretell.
const BUILT_IN: &str = "$protocol|$status|$bytes_received|$bytes_sent|$remote_addr|$server_addr|$server_port|\
    $proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port|\
    $upstream_addr|$upstream_bytes_sent|$upstream_bytes_received|$upstream_connect_time|$upstream_first_byte_time|\
    $upstream_session_time|$session_time|$time_local|$time_iso8601|$msec|$connection|$pid|$hostname|$early";

/// A log line with ports by their names, and `#` for every word in a time or a number of the process.
fn shape(line: &str, ports: &[(&str, u16)]) -> String {
    let mut fields: Vec<String> = line.split('|').map(str::to_owned).collect();
    for field in fields.iter_mut() {
        for (name, port) in ports {
            *field = field.replace(&port.to_string(), name);
        }
    }
    for field in fields.iter_mut().skip(14).take(9) {
        let mut masked = String::new();
        for part in field.chars().map(|c| if c.is_ascii_alphanumeric() { '#' } else { c }) {
            if part != '#' || !masked.ends_with('#') {
                masked.push(part);
            }
        }
        *field = masked;
    }
    fields.join("|")
}

/// The log lines of one session through a server that says `server`, with each program.
#[track_caller]
fn compare_session(server: &str, udp: bool, client: impl Fn(&Proxy)) {
    let line = |setup: Setup| {
        let (peer, udp_peer, nobody) = (TcpPeer::echo(), UdpPeer::named("a"), Port::reserve());
        let silent = Port::reserve();
        let peer_address = if udp { udp_peer.address() } else { peer.address() };
        let setup =
            setup.workers(1).set("peer", peer_address).set("nobody", nobody.address()).set("silent", silent.address());
        let proxy = setup.stream(&format!(
            "log_format own '{BUILT_IN}'; map $status$upstream_addr$upstream_session_time $early {{ volatile; default '[$status]'; }}
             upstream several {{ server {{nobody}}; server {{silent}}; server {{peer}}; }}
             upstream lost {{ server {{nobody}}; server {{silent}}; }}
             server {{ {server} access_log {{dir}}/access.log own; }}"
        ));
        client(&proxy);
        let named = [
            ("PEER", peer_address.port()),
            ("NOBODY", nobody.address().port()),
            ("SILENT", silent.address().port()),
            ("OWN", proxy.address().port()),
        ];
        shape(&proxy.access_lines(1)[0], &named)
    };
    assert_eq!(line(Setup::new(env!("CARGO_BIN_EXE_fairlead"))), line(Setup::nginx()), "left: fairlead");
}

/// Sends `bytes`, and waits for `wanted` bytes to come back or for the end.
fn exchange(proxy: &Proxy, bytes: &[u8], wanted: usize) {
    let mut stream = connect(proxy.address());
    let _ = stream.write_all(bytes);
    let mut came = vec![0; wanted];
    let _ = stream.read_exact(&mut came);
}

#[test]
fn a_session_s_own_variables_are_written_alike() {
    let listen = "listen 127.0.0.1:{port};";
    compare_session(&format!("{listen} proxy_pass {{peer}};"), false, |proxy| exchange(proxy, b"hello", 5));
    compare_session(&format!("{listen} proxy_pass several;"), false, |proxy| exchange(proxy, b"hello", 5));
    compare_session(&format!("{listen} proxy_pass lost;"), false, |proxy| exchange(proxy, b"", 1));
    compare_session("listen 127.0.0.1:{port} udp; proxy_pass {peer}; proxy_responses 1;", true, |proxy| {
        UdpClient::connect(proxy.address()).ask("hi");
    });
}

#[test]
fn what_a_proxy_header_says_is_written_alike() {
    let server = "listen 127.0.0.1:{port} proxy_protocol; proxy_pass {peer};";
    for header in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n",
        "PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\n",
        "PROXY UNKNOWN\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n",
    ] {
        compare_session(server, false, |proxy| exchange(proxy, format!("{header}hello").as_bytes(), 5));
    }
    compare_session(server, false, |proxy| exchange(proxy, b"GET / HTTP/1.1\r\n\r\n", 1));
}

#[test]
fn ten_thousand_clients_are_split_alike() {
    let mut dice = Dice::new(7);
    let key = |_| {
        let length = dice.roll(24) as usize;
        (0..length).map(|_| char::from(b'!' + dice.roll(90) as u8)).filter(|c| !"\"'\\$;{}".contains(*c)).collect()
    };
    let keys: Vec<String> = (0..10_000).map(key).collect();
    let ours = compare(&keys, "", |at, key| {
        format!("split_clients \"{key}\" $v{at} {{ 0.5% a; 10% b; 33.33% c; 25% d; 1% e; 30% f; }}\n")
    });
    for part in ["a", "b", "c", "d", "e", "f", ""] {
        assert!(ours.split('|').any(|value| value == part), "no client is in part {part:?}");
    }
}

#[test]
fn addresses_have_equal_networks() {
    let mut dice = Dice::new(11);
    let mut address = move || format!("10.{}.{}.{}", dice.roll(4), dice.roll(4), dice.roll(8));
    let mut nets = String::from("default none; 255.255.255.255 nowhere; 2001:db8::/32 six; 2001:db8:0:1::/64 inner;\n");
    let mut bits = Dice::new(13);
    for number in 0..300 {
        nets.push_str(&format!("{}/{} n{number};\n", address(), 8 + bits.roll(25)));
        if number % 7 == 0 {
            nets.push_str(&format!("delete {}/{};\n", address(), 8 + bits.roll(25)));
        }
    }
    let mut addresses: Vec<String> = (0..300).map(|_| address()).collect();
    addresses
        .extend(["2001:db8::1", "2001:db8:0:1::1", "::1", "::ffff:10.1.1.1", "x", "", "1.2.3.4"].map(String::from));
    compare(&addresses, &nets, |at, address| {
        format!("map '' $a{at} {{ default '{address}'; }} geo $a{at} $v{at} {{ include {{dir}}/rules.conf; }}\n")
    });
}

#[test]
fn addresses_have_equal_ranges() {
    let nets = "ranges; default none; 10.0.0.0-10.3.255.255 wide; 10.0.0.5-10.0.0.9 inner; 10.0.0.7-10.0.0.7 one;
        10.1.0.0-10.1.255.255 second; 10.1.255.250-10.1.255.255 back; 10.2.0.0-10.2.0.3 front; 9.0.0.0-9.0.0.1 before;
        11.0.0.0-11.0.0.9 after; 11.0.0.0-11.0.0.9 again; delete 10.3.0.0-10.3.255.255; delete 10.0.0.0-10.0.0.2;
        10.0.255.0-10.1.0.255 third; delete 9.0.0.0-9.0.0.0;";
    let mut addresses = vec!["::1".to_owned(), "x".into(), "255.255.255.255".into()];
    for (high, low) in [(0, 0), (0, 4), (0, 5), (0, 7), (0, 9), (0, 10), (1, 0), (2, 3), (2, 4), (3, 0), (1, 250)] {
        addresses.extend([0, 255].map(|middle| format!("10.{high}.{middle}.{low}")));
    }
    addresses.extend(["9.0.0.0", "9.0.0.1", "11.0.0.9", "11.0.0.10", "8.255.255.255"].map(String::from));
    // nginx refuses what overlaps in one block of addresses: both must.
    let across = format!("stream {{ geo $v {{ {nets} 10.0.0.3-10.0.0.6 across; }} }}");
    let refused =
        |setup: Setup| setup.check(&across).1.contains("\"10.0.0.3-10.0.0.6\" overlaps \"10.0.0.5-10.0.0.6\"");
    assert!(refused(Setup::nginx()) && refused(Setup::new(env!("CARGO_BIN_EXE_fairlead"))));
    compare(&addresses, nets, |at, address| {
        format!("map '' $a{at} {{ default '{address}'; }} geo $a{at} $v{at} {{ include {{dir}}/rules.conf; }}\n")
    });
}

#[test]
fn texts_have_equal_values() {
    let map = r#"hostnames; default "none of $protocol"; '' empty; alpha first; *.example.com star; *.b.example.com deeper;
        .dot.org dot; www.* tail; www.example.* longer; \default special; \~tilde tilde; exact.example.com exact;
        ~^(\d+)-(\d+)$ "$2<$1"; "~^(?<word>[a-z]{3})=(?<rest>.*)$" "$word:$rest"; ~*^CASE "any case"; ~^case never;
        ~/(x)?(y) "[$1][$2][$3]"; 10.0.0.1 address; ~^nogroup$ "no $1";"#;
    let texts = [
        "",
        "alpha",
        "ALPHA",
        "alphas",
        "a.example.com",
        "A.B.Example.Com",
        "b.example.com",
        "example.com",
        ".example.com",
        "exact.example.com",
        "dot.org",
        "a.b.dot.org",
        ".dot.org",
        "adot.org",
        "www.",
        "www",
        "www.x",
        "www.example.x",
        "www.example.com",
        "www.example.",
        "www.example",
        "default",
        "~tilde",
        "hostnames",
        "12-345",
        "abc=",
        "abc=d=e",
        "abcd=e",
        "Case 1",
        "case 2",
        "/y",
        "/xy",
        "10.0.0.1",
        "10.0.0.1.",
        ".",
        "..",
        "a..example.com",
        "nogroup",
        "x y",
    ];
    let texts = texts.map(String::from);
    let ours = compare(&texts, map, |at, text| format!("map '{text}' $v{at} {{ include {{dir}}/rules.conf; }}\n"));
    assert!(ours.contains("345<12") && ours.contains("abc:d=e") && ours.contains("none of TCP"), "{ours}");
}
