//! The machine managed from afar, by those whose keys it knows.

mod fingerprint;

pub use fingerprint::{Fingerprint, NoFingerprint};
