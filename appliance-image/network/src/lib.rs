//! The network of the appliance, for one thread that polls and never waits.
//!
//! ```text
//! let mut network = Network::open(Places::default(), seed)?;
//! match network.apply(&settings, tick()) {
//!     Ok(applied) => …                    // log applied.steps, applied.missing
//!     Err(problems) => …                  // the machine is as it was before
//! }
//! loop {
//!     poll(network.fds(), until network.deadline());
//!     for event in network.on_ready(tick()) { … }
//! }
//! ```
//!
//! [`Network::apply`] is all or nothing: it reads what the kernel has, makes the steps of
//! [`fairlead_appliance::plan`], and takes back what it did when one of them fails. Applying what is
//! there already does nothing. To go back to older settings, as an unconfirmed change does, apply
//! those. [`Network::on_ready`] may be called at any time and as often as one likes: it looks at what
//! has come and at what is due. [`netlink::Netlink`] is for links that are not made from settings.
//!
//! A [`Clock`] is polled in the same way, and told with [`Clock::follow`] who has the time:
//!
//! ```text
//! let mut clock = Clock::new(places.resolv_conf, seed);
//! clock.follow(&settings.ntp, &network.leases(), tick());   // again after each apply and each lease
//! for told in clock.on_ready(tick()) { … }
//! ```
//!
//! Nothing here waits, writes to disk or reads the file of settings.

pub mod dhcp;
mod machine;
mod names;
pub mod netlink;
mod network;
pub mod sntp;

pub use machine::Places;
pub use network::{Applied, Event, Network, Problem};
pub use sntp::{Clock, Told};
