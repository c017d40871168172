//! Which clients may come in: `allow` and `deny`, and the networks whose word about a client is
//! taken (`set_real_ip_from`). One implementation for both planes.
//!
//! Lists are compiled into disjoint ranges, so that a list of thousands costs a binary search and
//! still means what it means in order: the first rule that covers an address decides.

mod acl;
mod cidr;
mod networks;
mod ranges;
#[cfg(test)]
mod tests;

pub use acl::{Acl, DIRECTIVES, Rules, Verdict};
pub use cidr::{Cidr, InvalidCidr};
pub use networks::{DIRECTIVES as REAL_IP_DIRECTIVES, Networks, Trusted};
pub use ranges::Ranges;
