//! What tunes nginx's own tables is taken, checked, and changes nothing.

use crate::fairlead;

const SIZES: &[&str] = &[
    "map_hash_bucket_size",
    "map_hash_max_size",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
];

#[test]
fn sizes_of_nginx_s_tables_are_taken_and_checked() {
    let server = "server { listen 127.0.0.1:{port}; return x; }";
    let all: String = SIZES.iter().map(|name| format!("{name} 2048; ")).collect();
    let (sound, said) = fairlead().check(&format!("stream {{ {all} {server} }}"));
    assert!(sound, "{said}");
    for name in SIZES {
        let (sound, said) = fairlead().check(&format!("stream {{ {name} much; {server} }}"));
        assert!(!sound && said.contains("[emerg]"), "{name}: {said}");
    }
}

#[test]
fn what_is_for_a_later_time_is_refused_by_name() {
    for line in ["ssl_certificate x;", "proxy_ssl on;", "zone_sync;", "keyval $remote_addr $x zone=one;"] {
        let blocks = format!("stream {{ server {{ listen 127.0.0.1:{{port}}; proxy_pass 127.0.0.1:1; {line} }} }}");
        let (sound, said) = fairlead().check(&blocks);
        assert!(!sound && said.contains(line.split([' ', ';']).next().unwrap()), "{line}: {said}");
    }
}
