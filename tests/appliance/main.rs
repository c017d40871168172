//! An appliance managed from a laptop: the real `fairleadctl`, over TLS on loopback, against the real
//! server, store and updates. Only the first process is a stand-in, and runs no more than what these
//! tests ask for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod appliance;
mod configuration;
mod hostile;
mod keys;
mod laptop;
mod restore;
mod update;

use appliance::Appliance;
use laptop::{Laptop, Said};

const FAIRLEAD: &str = env!("CARGO_BIN_EXE_fairlead");

/// A configuration that says `text`, and is good.
fn page(text: &str) -> String {
    format!(
        "events {{}}\nhttp {{\n    server {{\n        listen 127.0.0.1:18999;\n        location / {{ return 200 \"{text}\"; }}\n    }}\n}}\n"
    )
}
