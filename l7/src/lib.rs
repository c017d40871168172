//! The http plane.

mod accept;
mod access_log;
mod body;
mod browser;
mod client;
mod connection;
mod content;
mod directives;
mod disk;
mod exchange;
mod filter;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)] // for the fuzzers
pub mod h1;
mod host;
mod keepalive;
mod listen;
mod phase;
mod plan;
mod proxy;
mod reply;
mod respond;
mod rewrite;
mod route;
mod send_file;
mod settings;
mod stats;
mod subrequest;
mod temp_file;
mod throttle;
mod totals;
#[doc(hidden)] // for the fuzzers
pub mod uri;
mod variables;
mod worker;

pub use accept::{serve, take_over};
pub use directives::pages;
pub use plan::Plan;
pub use stats::Stats;
pub use temp_file::TempFolder;
pub use totals::Totals;
pub use variables::documentation as variables;
pub use worker::Worker;
