//! The http plane.

mod accept;
mod access_log;
mod body;
mod client;
mod connection;
mod content;
mod error;
mod exchange;
mod h1;
mod host;
mod plan;
mod proxy;
mod reply;
mod respond;
mod uri;
mod variables;
mod worker;

pub use accept::serve;
pub use plan::Plan;
pub use worker::Worker;
