//! The machine managed from afar, by those whose keys it knows.
//!
//! TLS 1.3 with raw public keys (RFC 7250) on both sides, so there is no certificate, no name and no
//! clock to be wrong: a key is known by its [`Fingerprint`]. Inside it, one [`frame`] asks
//! ([`Request`]) and one answers ([`Answer`]). The process that listens ([`server`]) is
//! unprivileged and decides nothing: it relays to PID 1, whose [`Desk`] answers what concerns the
//! configuration and the keys. [`client`] is the other end, for `fairleadctl`.

pub mod client;
mod confirm;
mod desk;
mod enrol;
mod fingerprint;
pub mod frame;
mod key;
mod places;
mod relay;
mod request;
pub mod server;
#[cfg(test)]
mod tests;
mod timed;
mod tls;

pub use confirm::{Confirm, Trial};
pub use desk::{Desk, Machine, Now, Start};
pub use enrol::{CODE_LIFE, Code, Enrolment, Proof, Side, prove};
pub use fingerprint::{Fingerprint, NoFingerprint};
pub use key::{BadKey, Key};
pub use relay::MOST_LINE;
pub use request::{Answer, Asked, By, Request};
pub use server::{Serving, serve};
