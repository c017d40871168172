//! What `proxy_pass` makes of the client's URI in every place it may stand, with and without a URI of
//! its own, with variables, behind rules and error pages: the bytes the peer gets and the access log.

use crate::pair::{Case, Pair, case};
use crate::recorder::Answers;

/// Places, each with what is asked for there.
const PLACES: &[(&str, &str)] = &[
    ("/", "location / { proxy_pass http://{peer}; }"),
    ("/slash/", "location /slash/ { proxy_pass http://{peer}/; }"),
    ("/uri/", "location /uri/ { proxy_pass http://{peer}/x/; }"),
    ("/short/", "location /short/ { proxy_pass http://{peer}/x; }"),
    ("/bare", "location /bare { proxy_pass http://{peer}/x/; }"),
    ("/query/", "location /query/ { proxy_pass http://{peer}/x?q=1; }"),
    ("/first/", "location ^~ /first/ { proxy_pass HTTP://{peer}/y/; }"),
    ("/exact", "location = /exact { proxy_pass http://{peer}/other; }"),
    ("/regex/", "location ~ ^/regex/(.*)$ { proxy_pass http://{peer}; }"),
    ("/groups/", "location ~ ^/groups/(.*)$ { proxy_pass http://{peer}/got/$1$is_args$args; }"),
    ("/variable/", "location /variable/ { set $p {peer}; proxy_pass http://$p; }"),
    ("/variable_uri/", "location /variable_uri/ { set $p {peer}; proxy_pass http://$p/uri/; }"),
    ("/request_uri/", "location /request_uri/ { set $p {peer}; proxy_pass http://$p$request_uri; }"),
    ("/normal/", "location /normal/ { set $p {peer}; proxy_pass http://$p$uri; }"),
    ("/args/", "location /args/ { set $p {peer}; proxy_pass http://$p?x=$args; }"),
    ("/whole/", "location /whole/ { set $p http://{peer}/z; proxy_pass $p; }"),
    ("/group/", "location /group/ { set $p GROUP; proxy_pass http://$p/g; }"),
    ("/named_group/", "location /named_group/ { proxy_pass http://group/q/; }"),
    ("/break/", "location /break/ { rewrite ^/break/(.*)$ /moved/$1 break; proxy_pass http://{peer}; }"),
    ("/break_uri/", "location /break_uri/ { rewrite ^/break_uri/(.*)$ /moved/$1 break; proxy_pass http://{peer}/x/; }"),
    (
        "/break_args/",
        "location /break_args/ { rewrite ^/break_args/(.*)$ /moved/$1?z=1 break; proxy_pass http://{peer}; }",
    ),
    (
        "/break_none/",
        "location /break_none/ { rewrite ^/break_none/(.*)$ /moved/$1? break; proxy_pass http://{peer}; }",
    ),
    (
        "/break_variable/",
        "location /break_variable/ { set $p {peer}; rewrite ^/break_variable/(.*)$ /m/$1 break; proxy_pass http://$p; }",
    ),
    ("/last/", "location /last/ { rewrite ^/last/(.*)$ /uri/$1 last; return 500; }"),
    ("/last_plain/", "location /last_plain/ { rewrite ^/last_plain/(.*)$ /named_group/$1 last; return 500; }"),
    ("/if/", "location /if/ { if ($arg_b) { proxy_pass http://group; } proxy_pass http://{peer}/if2/; }"),
    ("/if_set/", "location /if_set/ { if ($arg_b) { set $x 1; } proxy_pass http://{peer}/if2/; }"),
    (
        "/if_rewrite/",
        "location /if_rewrite/ { if ($arg_b) { rewrite ^/if_rewrite/(.*)$ /in/$1 break; } proxy_pass http://{peer}/if2/; }",
    ),
    (
        "/except/",
        "location /except/ { limit_except POST { proxy_pass http://group; } proxy_pass http://{peer}/except2/; }",
    ),
    ("/except_uri/", "location /except_uri/ { limit_except POST { allow all; } proxy_pass http://{peer}/except2/; }"),
    ("/named/", "location /named/ { error_page 418 = @named; return 418; }"),
    ("/named_variable/", "location /named_variable/ { error_page 418 = @variable; return 418; }"),
    ("/named_rewrite/", "location /named_rewrite/ { error_page 418 = @rewrite; return 418; }"),
    ("/page/", "location /page/ { error_page 418 /uri/page; return 418; }"),
    ("/page_args/", "location /page_args/ { error_page 418 /last_plain/page?k=v; return 418; }"),
    (
        "/outer/",
        "location /outer/ { proxy_pass http://{peer}/n1/; location /outer/inner/ { proxy_pass http://{peer}/n2/; } location ~ /re$ { proxy_pass http://{peer}; } }",
    ),
    ("/outer/inner/", ""),
    ("/set_args/", "location /set_args/ { set $args a=b; proxy_pass http://{peer}; }"),
    ("/set_args_uri/", "location /set_args_uri/ { set $args a=b; proxy_pass http://{peer}/sa/; }"),
    ("/no_args/", "location /no_args/ { set $args \"\"; proxy_pass http://{peer}/sa/; }"),
];

const NAMED: &str = "location @named { proxy_pass http://{peer}; }
    location @variable { set $p {peer}; proxy_pass http://$p/named$uri; }
    location @rewrite { rewrite ^/named_rewrite/(.*) /rr/$1 break; proxy_pass http://{peer}; }";

const TAILS: &[&str] = &[
    "",
    "a",
    "a?x=1",
    "a?b=1&m=b",
    "a%2Fb",
    "a%20b",
    "a%3Fb?c=%20d",
    "a//b",
    "a/../b/./c",
    "a%2e%2e/b",
    "a%25b+c;d=e",
    "%C3%A9\u{e9}",
    "a??",
    "a?x#f",
    "%3a%40%26%23%7e%5b",
    "a\"<b>\\",
    "re",
];

fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    for (place, _) in PLACES {
        for tail in TAILS {
            let line = format!("GET {place}{tail} HTTP/1.1");
            cases.push(case(line.clone().leak(), format!("{line}\r\nHost: a.test\r\n\r\n")));
        }
        let line = format!("POST {place}a%20b?b=1 HTTP/1.1");
        cases.push(case(line.clone().leak(), format!("{line}\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")));
        let line = format!("GET http://b.test{place}a%2fb?y HTTP/1.1");
        cases.push(case(line.clone().leak(), format!("{line}\r\nHost: a.test\r\n\r\n")));
    }
    for path in ["/slash", "/uri?x=1", "/first", "/outer", "/outer/inner", "/regex", "/variable", "/except", "/u%72i"] {
        let line = format!("GET {path} HTTP/1.1");
        cases.push(case(line.clone().leak(), format!("{line}\r\nHost: a.test\r\n\r\n")));
    }
    cases
}

fn configuration(more: &str) -> String {
    let places: String = PLACES.iter().map(|(_, block)| format!("{block}\n")).collect();
    format!(
        "log_format uris '$request_method $uri $status $proxy_host $proxy_port $upstream_addr $upstream_bytes_sent';
        access_log {{dir}}/uris.log uris;
        upstream group {{ server {{peer}}; }}
        proxy_http_version 1.1; proxy_set_header Host $proxy_host; proxy_set_header Connection close;
        proxy_set_header X-Seen \"$proxy_host $proxy_port $request_uri $uri\";
        server {{ listen 127.0.0.1:{{port}}; server_name main.test; {more} {places} {NAMED} }}"
    )
}

#[test]
fn uris_to_the_peer() {
    let pair = Pair::start("uris to the peer", &configuration(""), Answers::new());
    let requests = requests();
    pair.compare(&requests);
    pair.compare_lines("uris.log", requests.len() * 2, |line| Some(line.to_owned()));
}

#[test]
fn uris_whose_slashes_stay() {
    let pair = Pair::start("uris whose slashes stay", &configuration("merge_slashes off;"), Answers::new());
    let paths = ["//a//b", "/uri//a", "//uri/a", "/regex//a//", "/variable_uri//a", "/normal//a/..//b", "/named//a"];
    let asked = |path: &&'static str| case(path, format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    pair.compare(&paths.iter().map(asked).collect::<Vec<_>>());
}
