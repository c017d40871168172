//! The `appliance {}` block: what makes a machine of our own out of a configuration file.
//!
//! Its rows, what they mean ([`Settings`]), and what the kernel must be told for them to be true
//! ([`plan`]). Nothing of these touches the system: `fairlead -t` only checks the block, and the
//! appliance's first process applies it.
//!
//! Beside it, what such a machine keeps ([`store`]) and how it is told so from afar ([`management`]).

mod directives;
mod link;
pub mod management;
pub mod plan;
mod read;
mod settings;
pub mod store;
mod together;
mod words;

#[cfg(test)]
mod tests;

pub use directives::{DIRECTIVES, pages};
pub use link::{Bond, BondMode, Gateway, HashPolicy, Interface, LacpRate, Link, LinkName, Route, Vlan};
pub use read::{Reading, of, read};
pub use settings::{AuthorizedKey, DEFAULT_MANAGEMENT_PORT, Management, Ntp, Settings, Sysctl, Watchdog};
pub use words::{Mac, Written};
