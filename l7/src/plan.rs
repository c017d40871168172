//! `http { … }` compiled: what requests are matched against and served by.

use crate::h1::Limits;
use crate::proxy::{Proxy, StickyCookie};
use crate::variables::Variable;
use fairlead_conf::{Block, Template};
use fairlead_core::health::Check;
use fairlead_core::log::{AccessLog, ErrorLog, ErrorLogs, Escape};
use fairlead_core::net::{Listener, ListenerKey};
use fairlead_core::plan::Build;
use fairlead_core::resolver;
use fairlead_core::upstream::Group;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One generation's http plane, shared by all workers.
pub struct Plan {
    /// Every group that a location may pass to, named or implicit; [`crate::proxy::Target::Group`] indexes it.
    pub groups: Vec<Arc<Group>>,
    /// Key of `hash`, compiled; one entry per group.
    pub keys: Vec<Option<Template<Variable>>>,
    /// `sticky cookie`, compiled; one entry per group.
    pub sticky: Vec<Option<StickyCookie>>,
}

impl Plan {
    /// Reads an `http` block. Problems go to `build.cx`; a plan comes back only without errors.
    /// `error_logs` is what main says; `previous` gives its peers' states.
    pub fn build(
        _block: &Block,
        _error_logs: &ErrorLogs,
        _previous: Option<&Plan>,
        _build: &Build<'_>,
    ) -> Option<Arc<Plan>> {
        None
    }

    /// What to bind.
    pub fn listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    /// The active health checks it asks for.
    pub fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    /// The servers behind a listener.
    pub fn listener(&self, _key: &ListenerKey) -> Option<&Arc<VirtualServers>> {
        None
    }
}

/// The servers of one address and port.
pub struct VirtualServers {
    pub default: Arc<Server>,
    /// `listen … proxy_protocol`.
    pub proxy_protocol: bool,
}

impl VirtualServers {
    /// The server for a host name (lower case, no port, no final dot), with the groups of a
    /// regex name written to `captures`.
    pub fn find(&self, _host: &[u8], _captures: &mut Captures) -> &Arc<Server> {
        &self.default
    }
}

/// Groups of the regex that matched last, and named groups of all that matched.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// `$0`, `$1`, …; `None` is a group that took no part.
    pub numbered: Vec<Option<Vec<u8>>>,
    pub named: Vec<(Box<str>, Vec<u8>)>,
}

/// One `server` block.
pub struct Server {
    /// First name: `$server_name`.
    pub name: Box<str>,
    pub limits: Limits,
    pub client_header_timeout: Duration,
    pub merge_slashes: bool,
    /// What answers errors before a location is known.
    pub root: Arc<Location>,
}

/// Where a path leads.
pub enum Located {
    Location(Arc<Location>),
    /// The path with a slash added: 301, as nginx answers `/app` for `location /app/ { proxy_pass … }`.
    AddSlash,
}

impl Server {
    /// The location of a normalised path.
    pub fn locate(&self, _uri: &[u8], _captures: &mut Captures) -> Located {
        Located::Location(self.root.clone())
    }
}

/// One `location` block, or a server's own level.
pub struct Location {
    /// The prefix as written, without modifier.
    pub name: Box<str>,
    pub content: Content,
    /// `return` of the server or location: answered before any content.
    pub answer: Option<Return>,
    pub root: Root,
    pub index: Vec<Template<Variable>>,
    pub types: Arc<Types>,
    pub keepalive_timeout: Duration,
    /// Value of a `Keep-Alive: timeout=` field.
    pub keepalive_header: Option<u64>,
    pub keepalive_requests: u64,
    pub keepalive_time: Duration,
    /// 0 is no limit.
    pub client_max_body_size: u64,
    pub client_body_buffer_size: usize,
    pub client_body_timeout: Duration,
    pub send_timeout: Duration,
    pub lingering: Lingering,
    pub lingering_time: Duration,
    pub lingering_timeout: Duration,
    pub server_tokens: bool,
    pub tcp_nodelay: bool,
    pub chunked_transfer_encoding: bool,
    pub reset_timedout_connection: bool,
    pub etag: bool,
    pub log_not_found: bool,
    pub absolute_redirect: bool,
    pub port_in_redirect: bool,
    pub server_name_in_redirect: bool,
    pub access_logs: Vec<Access>,
    pub error_log: ErrorLog,
    pub resolver: Option<resolver::Settings>,
}

pub enum Content {
    /// `root`/`alias` with `index`.
    Static,
    Proxy(Box<Proxy>),
}

/// `return CODE [text]`, `return CODE URL`, `return URL`.
pub struct Return {
    pub status: u16,
    /// Body, or the URL of a redirect.
    pub text: Option<Template<Variable>>,
}

/// `root` or `alias`.
pub struct Root {
    pub path: Template<Variable>,
    /// `alias`: replaces the location's prefix.
    pub alias: bool,
    /// What relative paths start from.
    pub prefix: PathBuf,
}

/// `types` and `default_type`.
pub struct Types {
    pub by_extension: ahash::AHashMap<Box<str>, Box<str>>,
    pub default: Box<str>,
}

/// `lingering_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lingering {
    Off,
    On,
    Always,
}

/// One `access_log` in force.
pub struct Access {
    pub log: AccessLog,
    pub escape: Escape,
    pub format: Template<Variable>,
    pub condition: Option<Template<Variable>>,
}
