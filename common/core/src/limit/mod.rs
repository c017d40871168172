//! What bounds clients: `limit_conn` and `limit_req`. One implementation for both planes; keys are
//! the planes' templates.

mod conn;
mod key;
mod keyed;
mod req;
mod settings;
mod shards;
#[cfg(test)]
mod tests;

pub use conn::{Held, Refusal, Zone};
pub use keyed::{Entered, Gate, KeyedZone, LimitStatus, Limits};
pub use req::{Buckets, TooMuch};
pub use settings::{CONN_DIRECTIVES, Conn, Limit, ZONE_DIRECTIVES, ZoneSettings, Zones};
