//! The configurations, as an engineer who wants the product to be fast would write them.
//!
//! fairlead is given nginx's file, word for word, but for the line that loads Debian's stream module and for the one
//! setting `idle_upstream_connections` tells about and for sticky sessions, which Debian's nginx has not: there a hash
//! of the cookie stands for them.
//!
//! HTTP writes an access log, in blocks where the product can.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::load_http;
use crate::load_tcp::Exchange;
use crate::load_udp::Manner as Datagrams;
use crate::namespace;
use crate::proxies::Product;
use crate::scenario::{Balance, Kind, Scenario, Site};

/// Debian builds stream as a module.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// HAProxy's `roundrobin` refuses more servers than this; `static-rr` takes any number.
const MOST_FOR_ROUNDROBIN: usize = 4095;

pub fn text(product: Product, scenario: &Scenario, listen: SocketAddr, directory: &Path) -> String {
    match product {
        Product::Haproxy => haproxy(scenario, listen),
        Product::Nginx if !scenario.is_http() && Path::new(STREAM_MODULE).exists() => {
            format!("load_module {STREAM_MODULE};\n{}", nginx(product, scenario, listen, directory))
        }
        Product::Confined => format!("worker_seccomp on;\n{}", nginx(product, scenario, listen, directory)),
        Product::Nginx | Product::Fairlead => nginx(product, scenario, listen, directory),
    }
}

fn nginx(product: Product, scenario: &Scenario, listen: SocketAddr, directory: &Path) -> String {
    let pid = directory.join(format!("{}.pid", listen.port()));
    let plane = if scenario.is_http() { http(product, scenario, listen, directory) } else { stream(scenario, listen) };
    format!(
        "daemon off;\nworker_processes 1;\npid {};\nerror_log stderr crit;\n\
         events {{\n    worker_connections {};\n}}\n{plane}",
        pid.display(),
        namespace::descriptors().min(65536)
    )
}

/// What 64 KiB responses want of nginx: two thirds of the CPU its defaults take. HAProxy took more with `tune.bufsize`
/// at 72 KiB than with its own 16, so it keeps its own.
const NGINX_BUFFERS: &str = "    proxy_buffer_size 16k;\n    proxy_buffers 8 32k;\n    proxy_busy_buffers_size 64k;\n";

fn http(product: Product, scenario: &Scenario, listen: SocketAddr, directory: &Path) -> String {
    let log = directory.join(format!("{}.access", listen.port()));
    let idle = idle_upstream_connections(product, scenario);
    let buffers = if scenario.sized_buffers { NGINX_BUFFERS } else { "" };
    format!(
        "http {{\n    access_log {} combined buffer=64k flush=1s;\n    keepalive_timeout 600s;\n    keepalive_requests 1000000000;\n{buffers}\
         \x20   upstream group {{\n{}{}        keepalive {idle};\n        keepalive_timeout 600s;\n\
         \x20       keepalive_requests 1000000000;\n    }}\n\
         \x20   proxy_http_version 1.1;\n    proxy_set_header Connection \"\";\n{}\
         \x20   server {{\n        listen {listen} backlog=4096;\n{}    }}\n}}\n",
        log.display(),
        group(scenario),
        stickiness(product, scenario),
        before_the_server(product, scenario, listen),
        locations(product, scenario, directory)
    )
}

fn stickiness(product: Product, scenario: &Scenario) -> &'static str {
    match (scenario.site, product) {
        (Site::Sticky, Product::Nginx) => "        hash $cookie_to;\n",
        (Site::Sticky, _) => "        sticky cookie to path=/;\n",
        _ => "",
    }
}

fn before_the_server(product: Product, scenario: &Scenario, listen: SocketAddr) -> String {
    match scenario.site {
        Site::Sticky if product == Product::Nginx => {
            "    map $cookie_to $given {\n        \"\" \"to=$request_id; path=/\";\n    }\n".to_owned()
        }
        // What serves a host that no other server names.
        Site::Routes => {
            format!("    server {{\n        listen {listen} default_server;\n        return 404;\n    }}\n")
        }
        _ => String::new(),
    }
}

fn locations(product: Product, scenario: &Scenario, directory: &Path) -> String {
    const PASS: &str = "proxy_pass http://group;";
    let mut text = String::new();
    match scenario.site {
        Site::Files => {
            line(&mut text, format_args!("        location / {{ root {}; }}", directory.join("files").display()));
        }
        Site::Sticky if product == Product::Nginx => {
            line(&mut text, format_args!("        location / {{ {PASS} add_header Set-Cookie $given; }}"));
        }
        Site::Pass | Site::Sticky => line(&mut text, format_args!("        location / {{ {PASS} }}")),
        Site::Routes => routes(&mut text, PASS),
    }
    text
}

/// Every request finds its location among a thousand, and then no pattern that fits.
fn routes(text: &mut String, pass: &str) {
    for number in 0..1000 {
        line(text, format_args!("        server_name {};", load_http::host(number)));
        line(text, format_args!("        location /item/{number:04} {{ {pass} }}"));
    }
    for number in 0..50 {
        line(text, format_args!("        location ~ \\.old{number:02}$ {{ return 410; }}"));
        line(text, format_args!("        location ~* ^/(user|team){number:02}/([0-9]+)/ {{ return 410; }}"));
    }
}

fn stream(scenario: &Scenario, listen: SocketAddr) -> String {
    let listen = match scenario.kind {
        Kind::Udp(_) => format!("{listen} udp"),
        _ => format!("{listen} backlog=4096"),
    };
    let more = match scenario.kind {
        Kind::Udp(Datagrams::Once) => "        proxy_responses 1;\n",
        Kind::Tcp(_) if scenario.sized_buffers => "        proxy_buffer_size 64k;\n",
        _ => "",
    };
    format!(
        "stream {{\n    upstream group {{\n{}    }}\n    server {{\n        listen {listen};\n\
         \x20       proxy_pass group;\n{more}    }}\n}}\n",
        group(scenario)
    )
}

fn group(scenario: &Scenario) -> String {
    let mut text = String::from(match scenario.balance {
        Balance::RoundRobin => "",
        Balance::LeastConn => "        least_conn;\n",
        Balance::HashUri => "        hash $request_uri consistent;\n",
    });
    scenario.peers().for_each(|peer| line(&mut text, format_args!("        server {peer};")));
    text
}

/// Enough that each server keeps its connection, as the tuning guides say; else every request to a large group would be
/// a connect. nginx alone is given fewer for its very large ones: it looks through the idle connections one by one, and
/// at 10,000 servers was measured at 410 us a request with all of them and at 240 us with 128.
fn idle_upstream_connections(product: Product, scenario: &Scenario) -> usize {
    match product {
        Product::Nginx if scenario.servers > 4000 => 128,
        _ => scenario.servers.max(64) * 2,
    }
}

fn haproxy(scenario: &Scenario, listen: SocketAddr) -> String {
    let mode = if scenario.is_http() { "http" } else { "tcp" };
    let balance = match scenario.balance {
        Balance::RoundRobin if scenario.servers > MOST_FOR_ROUNDROBIN => "static-rr",
        Balance::RoundRobin => "roundrobin",
        Balance::LeastConn => "leastconn",
        Balance::HashUri => "uri\n    hash-type consistent",
    };
    let http = match scenario.site {
        _ if !scenario.is_http() => "",
        Site::Sticky => "    http-reuse always\n    cookie to insert\n",
        _ => "    http-reuse always\n",
    };
    // It writes each line by itself: it has no file that it could write in blocks.
    let log = if scenario.is_http() { "    log stdout format raw daemon\n    option httplog\n" } else { "" };
    // Bulk is measured against its defaults too, which copy.
    let copies = matches!(scenario.kind, Kind::Tcp(Exchange::Stream)) && !scenario.sized_buffers;
    let splice = if copies { "" } else { "    option splice-auto\n" };
    let buffers = if scenario.sized_buffers && !scenario.is_http() { "    tune.bufsize 65536\n" } else { "" };
    let mut text = format!(
        "global\n    nbthread 1\n    maxconn 50000\n    no strict-limits\n{buffers}\ndefaults\n    mode {mode}\n    maxconn 50000\n\
         \x20   option dontlognull\n{log}{splice}    timeout connect 5s\n    timeout client 600s\n\
         \x20   timeout server 600s\n\nfrontend front\n    bind {listen} backlog 4096\n    default_backend group\n\n\
         backend group\n    balance {balance}\n{http}    default-server pool-purge-delay 600s\n"
    );
    for (number, peer) in scenario.peers().enumerate() {
        let cookie = if scenario.site == Site::Sticky { format!(" cookie s{number}") } else { String::new() };
        line(&mut text, format_args!("    server s{number} {peer}{cookie}"));
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
