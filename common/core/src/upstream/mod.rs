//! Upstream groups: one implementation for stream and http.
//!
//! A [`Group`] and its [`Peer`]s are shared by all workers (atomics only); a
//! [`Balancer`] is one worker's own view that picks. Every pick is a [`Lease`].

mod address;
mod balancer;
mod bindings;
mod group;
mod lease;
mod peer;
mod retire;
mod server;
mod settings;
mod sticky;
#[cfg(test)]
mod tests;
mod times;
mod tried;

pub use balancer::{Balancer, Choice, NoPeer};
pub use bindings::Bindings;
pub use group::Group;
pub use lease::Lease;
pub use peer::{Availability, Peer, State};
pub use retire::retire;
pub use settings::{DIRECTIVES, Hashing, Keepalive, Measure, Method, Metric, Server, Settings, Sticky, StickySource};
pub use times::Times;
pub use tried::Tried;
