//! What bounds clients: `limit_conn`. One implementation for both planes; keys are the planes'
//! templates.

mod conn;
mod settings;
#[cfg(test)]
mod tests;

pub use conn::{Held, Refusal, Zone};
pub use settings::{CONN_DIRECTIVES, Conn, Limit, ZONE_DIRECTIVES, ZoneSettings, Zones};
