//! HTTP as a client and a peer see it: the real program, real sockets, one feature a file.
//! Most of these stories are nginx's own behaviour and pass with `FAIRLEAD_UNDER_TEST=/usr/sbin/nginx`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use fairlead_harness::Setup;

mod abuse;
mod access;
mod access_log;
mod acknowledging;
mod added_headers;
mod addition;
mod auth;
mod autoindex;
mod bodies;
mod browsers;
mod buffer_sizes;
mod buffering;
mod charset;
mod codings;
mod directio;
mod endings;
mod error_logs;
mod error_pages;
mod errors;
mod faults;
#[allow(dead_code, reason = "what nginx does is for the differential tests")]
mod faults_table;
mod file_bodies;
mod file_cache;
mod gzip;
mod headers;
mod heads;
mod hot_files;
mod internal_redirect;
mod keepalive;
mod limit_conn;
mod limit_req;
mod limits;
mod listens;
mod locations;
mod long_bodies;
mod made_answers;
mod maps;
mod mirror;
mod next_upstream;
mod peer_answers;
mod proxy_cookies;
mod proxy_pass;
mod proxy_peers;
mod proxy_ranges;
mod proxy_sockets;
mod proxy_times;
mod ranges;
mod rates;
mod realip;
mod referer;
mod request_bodies;
mod request_variables;
mod resolving;
mod returns;
mod rewrite;
mod rewrite_if;
mod rewrite_limits;
mod rewrite_set;
mod secure_link;
mod server_names;
mod slice;
mod smuggling;
mod smuggling_setup;
mod static_files;
mod sticky;
mod sticky_attributes;
mod sticky_sessions;
mod sticky_signed;
mod store;
mod sub_filter;
mod symlinks;
mod trailers;
mod try_files;
mod upstream_variables;
mod userid;
mod websocket;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}
