//! Upstream groups: one implementation for stream and http.
//!
//! A [`Group`] and its [`Peer`]s are shared by all workers (atomics only); a
//! [`Balancer`] is one worker's own view that picks. Every pick is a [`Lease`].
//!
//! A group never changes. Where the members of an `upstream` may (`resolve`), a
//! roster makes the group's next edition when they do, and each worker's
//! [`Slot`] finds out with one load and takes a new balancer; leases of the old
//! one go on.

mod address;
mod balancer;
mod bindings;
mod group;
mod keeper;
mod lease;
mod members;
mod peer;
mod queue;
mod retire;
mod roster;
mod server;
mod settings;
mod slot;
mod sticky;
#[cfg(test)]
mod tests;
mod times;
mod tried;

pub use balancer::{Balancer, Choice, NoPeer};
pub use bindings::Bindings;
pub use group::{Group, Kept};
pub(crate) use keeper::Keeper;
pub use lease::Lease;
pub use peer::{Availability, Peer, State};
pub use queue::{Place, Queue};
pub use retire::retire;
pub use settings::{DIRECTIVES, Hashing, Keepalive, Measure, Method, Metric, Queueing, Server, Settings};
pub use slot::Slot;
pub use sticky::{Signer, Sticky, StickyCookie, StickyLearn, StickySource};
pub use times::Times;
pub use tried::Tried;
