//! The same configuration and the same bytes through Debian's nginx and through fairlead: what
//! comes back, what becomes of the connection and what the peer gets must agree, byte for byte.
//! Where it does not on purpose, `differences.rs` says so and why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]

mod access;
mod answers;
mod around;
mod differences;
mod faults;
mod files;
mod files_lists;
mod files_try;
mod filters;
mod http;
mod in_the_wild;
mod limits;
mod pair;
mod peer;
mod proxy;
mod proxy_ranges;
mod proxy_rows;
mod proxy_uris;
mod recorder;
mod refusals;
mod request_bodies;
mod request_variables;
mod rewrite;
mod smuggling;
mod stream;
mod texts;
mod transcript;
mod upstream;
mod upstream_lists;
mod userid;
mod variables;
mod wire;
