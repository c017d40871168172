//! Variables that a configuration makes, in `stream`: one log line of each program tells the value
//! of thousands of them, and the lines must be equal.

use fairlead_harness::{Setup, TcpPeer, connect};

/// The log line that `format` gives for one session.
fn line(setup: Setup, blocks: &str, format: &str, file: &str) -> String {
    let peer = TcpPeer::echo();
    let proxy = setup.workers(1).set("peer", peer.address()).file("rules.conf", file).stream(&format!(
        "variables_hash_max_size 65536; log_format own {format}; {blocks}
         server {{ listen 127.0.0.1:{{port}}; proxy_pass {{peer}}; access_log {{dir}}/access.log own; }}"
    ));
    drop(connect(proxy.address()));
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
    assert_eq!(theirs, ours);
    ours
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn ten_thousand_clients_are_split_alike() {
    let mut random = Random(7);
    let key = |_| {
        let length = random.below(24) as usize;
        (0..length).map(|_| char::from(b'!' + random.below(90) as u8)).filter(|c| !"\"'\\$;{}".contains(*c)).collect()
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
    let mut random = Random(11);
    let mut address = move || format!("10.{}.{}.{}", random.below(4), random.below(4), random.below(8));
    let mut nets = String::from("default none; 255.255.255.255 nowhere; 2001:db8::/32 six; 2001:db8:0:1::/64 inner;\n");
    let mut bits = Random(13);
    for number in 0..300 {
        nets.push_str(&format!("{}/{} n{number};\n", address(), 8 + bits.below(25)));
        if number % 7 == 0 {
            nets.push_str(&format!("delete {}/{};\n", address(), 8 + bits.below(25)));
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
