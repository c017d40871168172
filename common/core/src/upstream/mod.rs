//! Upstream groups: one implementation for stream and http.
//!
//! A [`Group`] and its [`Peer`]s are shared by all workers (atomics only); a
//! [`Balancer`] is one worker's own view that picks. Every pick is a [`Lease`].

mod address;
mod balancer;
mod group;
mod lease;
mod peer;
mod retire;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tried;

pub use balancer::{Balancer, Choice, NoPeer};
pub use group::Group;
pub use lease::Lease;
pub use peer::{Availability, Peer, State};
pub use retire::retire;
pub use settings::{DIRECTIVES, Keepalive, Method, Server, Settings, Sticky};
pub use tried::Tried;
