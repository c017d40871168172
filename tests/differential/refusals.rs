//! Configurations that are wrong in one place: what nginx refuses we refuse in its words, and what it
//! takes we take.

use crate::pair::both;
use fairlead_harness::Setup;

/// The inside of a `server` with its `listen`, of `http`, or the whole.
#[derive(Clone, Copy, Debug)]
enum Where {
    Listen,
    Server,
    Http,
    Main,
}

use Where::{Http, Listen, Main, Server};

const ROWS: &[(Where, &str)] = &[
    (Listen, "127.0.0.1:{port}"),
    (Listen, "{port}"),
    (Listen, "*:{port}"),
    (Listen, "[::1]:{port}"),
    (Listen, "localhost:{port}"),
    (Listen, "unix:{dir}/x.sock"),
    (Listen, "unix:"),
    (Listen, "[::1"),
    (Listen, "[::z]:80"),
    (Listen, "127.0.0.1:0"),
    (Listen, "127.0.0.1:65536"),
    (Listen, "127.0.0.1:x"),
    (Listen, ":80"),
    (Listen, "nowhere.invalid:80"),
    (Listen, "127.0.0.1:{port} default_server"),
    (Listen, "127.0.0.1:{port} default"),
    (Listen, "127.0.0.1:{port} bind"),
    (Listen, "127.0.0.1:{port} backlog=10"),
    (Listen, "127.0.0.1:{port} backlog=0"),
    (Listen, "127.0.0.1:{port} backlog=-1"),
    (Listen, "127.0.0.1:{port} backlog=x"),
    (Listen, "127.0.0.1:{port} rcvbuf=8k"),
    (Listen, "127.0.0.1:{port} rcvbuf=x"),
    (Listen, "127.0.0.1:{port} sndbuf=8k"),
    (Listen, "127.0.0.1:{port} sndbuf="),
    (Listen, "127.0.0.1:{port} fastopen=10"),
    (Listen, "127.0.0.1:{port} fastopen=x"),
    (Listen, "127.0.0.1:{port} deferred"),
    (Listen, "127.0.0.1:{port} reuseport"),
    (Listen, "127.0.0.1:{port} setfib=1"),
    (Listen, "127.0.0.1:{port} accept_filter=httpready"),
    (Listen, "127.0.0.1:{port} ipv6only=on"),
    (Listen, "[::1]:{port} ipv6only=on"),
    (Listen, "[::1]:{port} ipv6only=off"),
    (Listen, "[::1]:{port} ipv6only=odd"),
    (Listen, "[::1]:{port} ipv6only=yes"),
    (Listen, "127.0.0.1:{port} so_keepalive=on"),
    (Listen, "127.0.0.1:{port} so_keepalive=off"),
    (Listen, "127.0.0.1:{port} so_keepalive=30m::10"),
    (Listen, "127.0.0.1:{port} so_keepalive=:5s:"),
    (Listen, "127.0.0.1:{port} so_keepalive=::"),
    (Listen, "127.0.0.1:{port} so_keepalive=x"),
    (Listen, "127.0.0.1:{port} so_keepalive=1:2"),
    (Listen, "127.0.0.1:{port} proxy_protocol"),
    (Listen, "127.0.0.1:{port} nonsense"),
    (Listen, "127.0.0.1:{port} nonsense=1"),
    (Listen, "127.0.0.1:{port} default_server default_server"),
    (Server, "listen 127.0.0.1:{port}; listen 127.0.0.1:{port};"),
    (Server, "listen;"),
    (Server, "server_name;"),
    (Server, "server_name a..b;"),
    (Server, "server_name a.*.b;"),
    (Server, "server_name *;"),
    (Server, "server_name www*;"),
    (Server, "server_name ~;"),
    (Server, "server_name *.a b.* .c ~^d$ '' _ $hostname;"),
    (Server, "location { }"),
    (Server, "location / { } location / { }"),
    (Server, "location = / { } location = / { }"),
    (Server, "location / { } location ^~ / { }"),
    (Server, "location / { } location = / { }"),
    (Server, "location ~ x { } location ~ x { }"),
    (Server, "location @a { } location @a { }"),
    (Server, "location !~ x { }"),
    (Server, "location /a { location /b { } }"),
    (Server, "location /a { location /ab { } }"),
    (Server, "location /a { location = /a { } }"),
    (Server, "location = /a { location /a/b { } }"),
    (Server, "location @a { location /b { } }"),
    (Server, "location /a { location @b { } }"),
    (Server, "location ~ /a { location /b { } }"),
    (Server, "location ~ /a { location ~ /b { } }"),
    (Server, "location /a b { }"),
    (Server, "location / { server_name x; }"),
    (Server, "location / { listen 80; }"),
    (Server, "location / { root /a; root /b; }"),
    (Server, "root /a; root /b;"),
    (Server, "location / { root /a; alias /b; }"),
    (Server, "location / { alias /b; root /a; }"),
    (Server, "alias /a;"),
    (Server, "root $document_root;"),
    (Server, "root $realpath_root;"),
    (Server, "location / { alias $document_root; }"),
    (Server, "internal;"),
    (Server, "keepalive_timeout 5;"),
    (Server, "keepalive_timeout 5 6;"),
    (Server, "keepalive_timeout x;"),
    (Server, "keepalive_timeout 5 x;"),
    (Server, "keepalive_timeout 5; keepalive_timeout 6;"),
    (Server, "keepalive_requests x;"),
    (Server, "keepalive_requests -1;"),
    (Server, "keepalive_time x;"),
    (Server, "client_header_timeout x;"),
    (Server, "client_header_buffer_size x;"),
    (Server, "client_header_buffer_size 2k;"),
    (Server, "large_client_header_buffers 4;"),
    (Server, "large_client_header_buffers x 8k;"),
    (Server, "large_client_header_buffers 0 8k;"),
    (Server, "large_client_header_buffers 4 8k;"),
    (Server, "merge_slashes maybe;"),
    (Server, "ignore_invalid_headers 1;"),
    (Server, "underscores_in_headers yes;"),
    (Server, "connection_pool_size 512;"),
    (Server, "connection_pool_size x;"),
    (Server, "request_pool_size 8k;"),
    (Server, "absolute_redirect x;"),
    (Server, "port_in_redirect off; server_name_in_redirect on; absolute_redirect on;"),
    (Server, "server_tokens build;"),
    (Server, "default_type;"),
    (Server, "default_type a b;"),
    (Server, "types { text/x x; } types { text/y y; }"),
    (Server, "types { text/x; }"),
    (Server, "types { text/x x x; }"),
    (Server, "types_hash_max_size x;"),
    (Server, "types_hash_max_size 2048; types_hash_bucket_size 128;"),
    (Server, "variables_hash_max_size 2048;"),
    (Server, "resolver;"),
    (Server, "resolver 127.0.0.1 valid=x;"),
    (Server, "resolver 127.0.0.1 ipv6=off valid=1s;"),
    (Server, "resolver 127.0.0.1 ipv6=off ipv4=off;"),
    (Server, "resolver 127.0.0.1 what=off;"),
    (Server, "resolver_timeout x;"),
    (Server, "error_log /tmp/x loud;"),
    (Server, "error_log;"),
    (Server, "error_log {dir}/x.log warn; error_log {dir}/y.log;"),
    (Server, "if_modified_since never;"),
    (Server, "satisfy some;"),
    (Server, "chunked_transfer_encoding;"),
    (Server, "lingering_close maybe;"),
    (Server, "send_timeout x;"),
    (Server, "tcp_nodelay x;"),
    (Server, "server { }"),
    (Server, "http { }"),
    (Server, "events { }"),
    (Server, "worker_processes 1;"),
    (Server, "upstream x { }"),
    (Server, "log_format x y;"),
    (Server, "proxy_busy_buffers_size x;"),
    (Server, "proxy_busy_buffers_size 8k;"),
    (Server, "proxy_busy_buffers_size 2k;"),
    (Server, "proxy_busy_buffers_size 40k;"),
    (Server, "proxy_buffers 1 4k;"),
    (Server, "proxy_buffers 2 4k;"),
    (Server, "proxy_buffer_size 32k;"),
    (Server, "proxy_temp_file_write_size 2k;"),
    (Server, "proxy_max_temp_file_size 2k;"),
    (Server, "proxy_max_temp_file_size 0;"),
    (Server, "max_ranges x;"),
    (Server, "etag x;"),
    (Server, "return;"),
    (Server, "error_page 404;"),
    (Server, "nonsense 1;"),
    (Server, "root /a"),
    (Server, "root \"/a;"),
    (Server, "}"),
    (Http, "server { location / { } } server x { }"),
    (Http, "server;"),
    (Http, "location / { }"),
    (Http, "listen 80;"),
    (Http, "server_name x;"),
    (Http, "upstream;"),
    (Http, "upstream x { }"),
    (Http, "upstream x { server 127.0.0.1; } upstream x { server 127.0.0.1; }"),
    (Http, "server { listen 127.0.0.1:{port} default_server; } server { listen 127.0.0.1:{port} default_server; }"),
    (Http, "server { listen 127.0.0.1:{port} backlog=5; } server { listen 127.0.0.1:{port} backlog=6; }"),
    (Http, "server { listen 127.0.0.1:{port} backlog=5; } server { listen 127.0.0.1:{port}; }"),
    (Http, "server { listen 127.0.0.1:{port}; server_name x; } server { listen 127.0.0.1:{port}; server_name x; }"),
    (Http, "variables_hash_max_size 2048; variables_hash_bucket_size 128; server_names_hash_max_size 512;"),
    (Http, "server_names_hash_bucket_size x;"),
    (Http, "max_headers_x 1;"),
    (Main, "http { } http { }"),
    (Main, "http;"),
    (Main, "http x { }"),
    (Main, "server { }"),
    (Main, "location / { }"),
    (Main, "http { "),
];

/// Where we say something else, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("127.0.0.1:{port} ipv6only=on", "what has no effect is told"),
    ("server_name a..b;", "a name that no host can have; nginx says so only where two servers share an address"),
    ("server_name a.*.b;", "the same"),
    ("server_name www*;", "the same"),
    ("location @a { } location @a { }", "the second one is lost, which is told"),
    ("resolver 127.0.0.1 ipv6=off ipv4=off;", "1.22 has no ipv4= yet"),
    ("resolver 127.0.0.1 what=off;", "a parameter is no host name"),
    ("root \"/a;", "a brace would not end a text in quotes"),
];

/// What either says: whether it takes the configuration, and its complaint without the place.
fn judged(setup: Setup, (at, text): (Where, &str)) -> (bool, String) {
    let blocks = match at {
        Listen => format!("http {{ server {{ listen {text}; }} }}"),
        Server => format!("http {{ server {{ listen 127.0.0.1:{{port}}; {text} }} }}"),
        Http => format!("http {{ {text} }}"),
        Main => text.to_owned(),
    };
    let (accepted, said) = setup.check(&blocks);
    let complaint = said.lines().find_map(|line| {
        let (_, rest) = line.split_once("[emerg] ").or_else(|| line.split_once("[warn] "))?;
        // nginx puts the number of its process there.
        let rest = rest.split_once(": ").filter(|(before, _)| before.contains('#')).map_or(rest, |(_, rest)| rest);
        let rest = rest.split(" in /").next().unwrap_or(rest);
        // Each of them has a port of its own.
        let ports = rest.split(' ').map(|word| if word.starts_with("127.0.0.1:") { "ADDRESS" } else { word });
        Some(ports.collect::<Vec<_>>().join(" "))
    });
    (accepted, complaint.unwrap_or_default())
}

#[test]
fn what_is_wrong_is_refused_in_the_same_words() {
    let mut wrong = Vec::new();
    for row in ROWS {
        let [theirs, ours] = both(&[true, false], |nginx| {
            let setup = if *nginx { Setup::nginx() } else { Setup::new(env!("CARGO_BIN_EXE_fairlead")) };
            judged(setup, *row)
        });
        let listed = OTHERWISE.iter().any(|(text, _)| *text == row.1);
        if (theirs != ours) != listed {
            wrong.push(format!("{row:?}\n   nginx {theirs:?}\n   ours  {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
