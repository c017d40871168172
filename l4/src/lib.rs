//! The stream plane: TCP and UDP.
//!
//! Traffic: [`accept`] → [`session`] → PROXY header → [`target`] picks a peer →
//! [`connect`] (next peer on failure) → core's relay → one log line. Datagrams:
//! [`udp`]. Knows nothing of http.

mod accept;
mod access_log;
mod bind;
mod connect;
mod custom;
mod directives;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]
mod harness;
mod health_check;
mod limit_conn;
mod listen;
mod outcomes;
mod pass;
mod phases;
mod plan;
mod preread;
mod proxy;
mod rates;
mod realip;
mod record;
mod returns;
mod servers;
mod session;
mod session_drop;
mod settings;
mod target;
mod totals;
mod udp;
mod variables;
mod worker;

pub use accept::take_over;
pub use directives::pages;
pub use outcomes::Outcomes;
pub use plan::Plan;
pub use totals::Totals;
/// The table of UDP sessions alone, for the fuzzer that holds it to a plain list.
#[doc(hidden)]
pub use udp::flows as udp_flows;
pub use worker::{Worker, serve};
