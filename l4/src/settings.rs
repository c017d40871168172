//! What `stream { … }` says, level by level, before anything is resolved,
//! opened or bound: `plan` compiles it.

use crate::{custom, health_check, listen, phases, preread, proxy, rates, servers, udp};
use fairlead_conf::{Span, Word};
use fairlead_core::log::{AccessLogs, ErrorLogs, FileCaching, Formats};
use fairlead_core::resolver::ResolverSettings;
use fairlead_core::{health, limit, upstream};
use std::time::Duration;

/// The scope of the `stream` block: the level every server inherits, and the
/// blocks found in it.
#[derive(Default)]
pub(crate) struct Stream {
    pub inherited: Server,
    pub upstreams: Vec<upstream::Settings>,
    pub matches: Vec<health::MatchSettings>,
    pub formats: Formats,
    pub limit_zones: limit::Zones,
    pub variables: custom::Blocks,
    pub servers: Vec<Server>,
}

/// The scope of a `server` block; the outermost one holds the defaults.
#[derive(Clone, Default)]
pub(crate) struct Server {
    /// The word `server`.
    pub span: Span,
    /// The block names these directives, even if what it says in them is wrong.
    pub names_listen: bool,
    /// Which directive says what its sessions come to: the last one of `proxy_pass`, `pass`, `return`.
    pub content: Option<Content>,
    pub listens: Vec<listen::Listen>,
    pub server_names: Vec<servers::ServerName>,
    pub pass: Option<Word>,
    pub returns: Option<Word>,
    pub preread: preread::Settings,
    pub sets: custom::Sets,
    pub session: Session,
    pub proxy: proxy::Settings,
    pub rates: rates::Settings,
    pub udp: udp::Settings,
    pub names: ResolverSettings,
    pub error_logs: ErrorLogs,
    pub access_logs: AccessLogs,
    pub log_files: FileCaching,
    pub health: health_check::Settings,
    pub phases: phases::Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Proxy,
    Pass,
    Return,
}

/// Settings of the client's side of a session.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub tcp_nodelay: bool,
    pub proxy_protocol_timeout: Duration,
}
