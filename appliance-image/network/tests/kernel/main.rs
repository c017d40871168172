//! The network against the kernel itself, each test in namespaces of its own: links, addresses and
//! routes, DHCP with the servers that others wrote. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]

mod apply;
mod beyond;
mod dhcp;
mod space;
mod time;
