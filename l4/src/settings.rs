//! What `stream { … }` says, level by level, before anything is resolved,
//! opened or bound: `plan` compiles it.

use crate::{health_check, listen, proxy};
use fairlead_conf::Span;
use fairlead_core::log::{AccessLogs, ErrorLogs, Formats};
use fairlead_core::resolver::ResolverSettings;
use fairlead_core::{health, upstream};
use std::time::Duration;

/// The scope of the `stream` block: the level every server inherits, and the
/// blocks found in it.
#[derive(Default)]
pub(crate) struct Stream {
    pub inherited: Server,
    pub upstreams: Vec<upstream::Settings>,
    pub matches: Vec<health::MatchSettings>,
    pub formats: Formats,
    pub servers: Vec<Server>,
}

/// The scope of a `server` block; the outermost one holds the defaults.
#[derive(Clone, Default)]
pub(crate) struct Server {
    /// The word `server`.
    pub span: Span,
    /// The block names these directives, even if what it says in them is wrong.
    pub names_listen: bool,
    pub names_pass: bool,
    pub listens: Vec<listen::Listen>,
    pub session: Session,
    pub proxy: proxy::Settings,
    pub names: ResolverSettings,
    pub error_logs: ErrorLogs,
    pub access_logs: AccessLogs,
    pub health: health_check::Settings,
}

/// Settings of the client's side of a session.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub tcp_nodelay: bool,
    pub proxy_protocol_timeout: Duration,
}
