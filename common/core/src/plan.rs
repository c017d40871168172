//! What a plane is given to turn its settings into a plan.

use crate::log::Registry;
use fairlead_conf::Cx;
use std::io;
use std::net::IpAddr;

/// Host names of `server` and `proxy_pass` are resolved once, when the configuration is loaded.
pub type Resolve<'a> = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + 'a;

pub struct Build<'a> {
    /// Collects diagnostics.
    pub cx: &'a Cx,
    pub resolve: &'a Resolve<'a>,
    /// Opens (or, in a worker, finds already opened) log files.
    pub logs: &'a Registry,
}
