//! `http { … }` compiled: what requests are matched against and served by.

pub(crate) mod build;
mod checks;
mod groups;
mod locations;
mod servers;

use crate::body::InFile;
use crate::content::{Made, Tries};
use crate::filter;
use crate::h1::Limits;
use crate::phase::{self, Gates};
use crate::proxy::{Proxy, Sticky};
use crate::rewrite::Step;
use crate::route::{Found, Level, Name, Names};
use crate::settings::files;
use crate::temp_file::TempFolder;
use crate::throttle::Bytes;
use crate::totals::Totals;
use crate::variables::custom::Customs;
use crate::variables::referer::Referers;
use crate::variables::secure_link;
use crate::variables::{Variable, Wanted};
use ahash::AHashMap;
use fairlead_conf::{Block, Template};
use fairlead_core::health::Check;
use fairlead_core::log::{AccessLog, ErrorLog, ErrorLogs, Escape};
use fairlead_core::net::{Address, Listener, ListenerKey};
use fairlead_core::plan::Build;
use fairlead_core::resolver;
use fairlead_core::upstream::Group;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use fairlead_core::names::Captures;

/// One generation's http plane, shared by all workers.
pub struct Plan {
    /// Every group that a location may pass to, named or implicit; [`crate::proxy::Target::Group`] indexes it.
    pub groups: Vec<Arc<Group>>,
    /// Key of `hash`, compiled; one entry per group.
    pub keys: Vec<Option<Template<Variable>>>,
    /// `sticky`, compiled; one entry per group.
    pub sticky: Vec<Option<Sticky>>,
    /// What `proxy_pass` calls each group, in lower case.
    group_names: AHashMap<Box<str>, usize>,
    listeners: Vec<Listener>,
    virtual_servers: AHashMap<ListenerKey, Arc<VirtualServers>>,
    checks: Vec<checks::Wanted>,
    /// The variables that the configuration makes.
    pub(crate) customs: Customs,
    /// What has to be made ready for its variables.
    pub(crate) wanted: Wanted,
    pub(crate) conn_zones: Vec<phase::ConnZone>,
    pub(crate) req_zones: Vec<phase::ReqZone>,
    /// Some `proxy_bind` is `transparent`: its addresses need not be ours.
    pub transparent: bool,
    temp_folders: Vec<Arc<TempFolder>>,
    pub(crate) charsets: filter::Charsets,
}

impl Plan {
    /// The plane's counters now.
    pub fn totals(&self) -> Totals {
        Totals::of(self)
    }

    /// Reads an `http` block. Problems go to `build.cx`; a plan comes back only without errors.
    /// `error_logs` is what main says; `previous` gives its peers' states.
    pub fn build(
        block: &Block,
        error_logs: &ErrorLogs,
        previous: Option<&Plan>,
        build: &Build<'_>,
    ) -> Option<Arc<Plan>> {
        build::build(block, error_logs, previous, build)
    }

    /// What to bind.
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.clone()
    }

    /// The active health checks it asks for.
    pub fn checks(self: &Arc<Self>) -> Vec<Check> {
        self.checks.iter().map(|wanted| wanted.of(self)).collect()
    }

    /// Where temporary files are made, each folder once.
    pub fn temp_folders(&self) -> &[Arc<TempFolder>] {
        &self.temp_folders
    }

    /// The servers behind a listener.
    pub fn listener(&self, key: &ListenerKey) -> Option<&Arc<VirtualServers>> {
        self.virtual_servers.get(key)
    }

    /// The servers behind a listener for clients that used the address `local`: a wildcard
    /// listener also takes the connections of addresses of its port that have servers of their own.
    pub fn servers(&self, key: &ListenerKey, local: &Address) -> Option<&Arc<VirtualServers>> {
        let servers = self.listener(key)?;
        if servers.by_local.is_empty() {
            return Some(servers);
        }
        Some(local.ip().and_then(|ip| servers.by_local.get(&ip.to_canonical())).unwrap_or(servers))
    }

    /// The `upstream` of this name, in any case, or the group made for a `host:port`.
    pub fn group_named(&self, name: &str) -> Option<usize> {
        match self.group_names.get(name) {
            Some(&index) => Some(index),
            None => self.group_names.get(name.to_ascii_lowercase().as_str()).copied(),
        }
    }
}

/// The servers of one address and port.
pub struct VirtualServers {
    pub default: Arc<Server>,
    /// `listen … proxy_protocol`.
    pub proxy_protocol: bool,
    names: Names<Arc<Server>>,
    /// Behind a wildcard: addresses of the same port with servers of their own.
    by_local: AHashMap<IpAddr, Arc<VirtualServers>>,
}

impl VirtualServers {
    /// The server for a host name (lower case, no port, no final dot), with the groups of a
    /// regex name written to `captures`.
    pub fn find(&self, host: &[u8], captures: &mut Captures) -> &Arc<Server> {
        self.names.find(host, captures).unwrap_or(&self.default)
    }
}

/// One `server` block.
pub struct Server {
    /// First name: `$server_name`.
    pub name: Box<str>,
    pub(crate) names: Box<[Name]>,
    pub limits: Limits,
    pub client_header_timeout: Duration,
    pub merge_slashes: bool,
    /// What answers errors before a location is known.
    pub root: Arc<Location>,
    pub(crate) locations: Level,
    /// `location @name`, by name with its sign.
    pub(crate) named: AHashMap<Box<str>, Arc<Location>>,
}

/// Where a path leads.
pub enum Located<'a> {
    Location(&'a Arc<Location>),
    /// The path with a slash added: 301, as nginx answers `/app` for `location /app/ { proxy_pass … }`.
    AddSlash,
    /// A regex of a location takes too long to tell: 500, as in nginx.
    TooComplex,
}

impl Server {
    /// The location of a normalised path.
    pub fn locate(&self, uri: &[u8], captures: &mut Captures) -> Located<'_> {
        match self.locations.find(uri, captures) {
            Some(Found::Location(location)) => Located::Location(location),
            Some(Found::AddSlash(_)) => Located::AddSlash,
            Some(Found::TooComplex) => Located::TooComplex,
            None => Located::Location(&self.root),
        }
    }
}

/// One `location` block, or a server's own level.
pub struct Location {
    /// The prefix as written, without modifier.
    pub name: Box<str>,
    pub(crate) content: Content,
    /// What runs before content is asked for.
    pub(crate) rules: Box<[Step]>,
    pub rewrite_log: bool,
    pub warn_uninitialized: bool,
    pub root: Root,
    pub(crate) files: Arc<files::Settings>,
    /// `try_files`
    pub(crate) tries: Option<Tries>,
    pub types: Arc<Types>,
    pub keepalive_timeout: Duration,
    /// Value of a `Keep-Alive: timeout=` field.
    pub keepalive_header: Option<u64>,
    pub keepalive_requests: u64,
    pub keepalive_time: Duration,
    /// An idle connection is not closed before, even when the worker ends.
    pub keepalive_min_timeout: Duration,
    /// Old Internet Explorers after a POST, and Safari.
    pub keepalive_disable: (bool, bool),
    pub msie_padding: bool,
    pub msie_refresh: bool,
    pub early_hints: Arc<[Template<Variable>]>,
    pub internal_redirect: Option<Template<Variable>>,
    /// 0 is no limit.
    pub client_max_body_size: u64,
    pub client_body_buffer_size: usize,
    pub client_body_timeout: Duration,
    pub client_body_temp_path: Arc<TempFolder>,
    pub client_body_in_file: InFile,
    pub send_timeout: Duration,
    pub limit_rate: Bytes,
    pub limit_rate_after: Bytes,
    pub lingering: Lingering,
    pub lingering_time: Duration,
    pub lingering_timeout: Duration,
    pub server_tokens: bool,
    /// Subrequests have lines in the access log.
    pub log_subrequest: bool,
    /// What stands in place of our name.
    pub(crate) server_text: Option<Arc<Template<Variable>>>,
    pub tcp_nodelay: bool,
    pub chunked_transfer_encoding: bool,
    pub reset_timedout_connection: bool,
    pub absolute_redirect: bool,
    pub port_in_redirect: bool,
    pub server_name_in_redirect: bool,
    pub access_logs: Vec<Access>,
    pub error_log: ErrorLog,
    pub resolver: Option<resolver::Settings>,
    /// What changes responses on their way; `None` changes nothing.
    pub(crate) filters: Option<Arc<filter::Settings>>,
    /// What those who want its content have to pass.
    pub(crate) gates: Option<Arc<Gates>>,
    /// Who gets a copy of its requests.
    pub(crate) mirror: Option<Arc<phase::Mirror>>,
    pub(crate) referers: Option<Referers>,
    pub(crate) secure_link: secure_link::Settings,
    pub error_pages: Arc<Vec<ErrorPage>>,
    pub recursive_error_pages: bool,
    /// Clients may not ask for it.
    pub internal: bool,
    /// `limit_except`.
    pub(crate) except: Option<Except>,
}

/// What takes a location's place for all methods but these.
pub(crate) struct Except {
    pub allowed: Vec<Box<str>>,
    pub location: Arc<Location>,
}

impl Location {
    /// The location whose settings hold for a method.
    pub(crate) fn of<'a>(self: &'a Arc<Location>, method: &[u8]) -> &'a Arc<Location> {
        match &self.except {
            Some(except) if !except.allowed.iter().any(|allowed| allowed.as_bytes() == method) => &except.location,
            _ => self,
        }
    }
}

pub(crate) enum Content {
    /// `root`/`alias` with `index`.
    Static,
    /// `empty_gif`, `stub_status`.
    Made(Made),
    Proxy(Box<Proxy>),
}

/// One status of an `error_page`.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    pub status: u16,
    pub answer: ErrorAnswer,
    /// A path, a named location or a URL.
    pub to: Template<Variable>,
}

/// The status an error page goes out with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAnswer {
    /// That of the error.
    Kept,
    /// `=`: that of what serves the page.
    Theirs,
    /// `=200`
    Other(u16),
}

/// `return CODE [text]`, `return CODE URL`, `return URL`.
#[derive(Clone, Debug)]
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
    /// How many bytes of the path `alias` replaces: all of it in a regex location.
    pub replaced: usize,
    /// What relative paths start from.
    pub prefix: PathBuf,
}

/// `types` and `default_type`.
pub struct Types {
    pub by_extension: ahash::AHashMap<Box<str>, Box<str>>,
    pub default: Box<str>,
}

/// `if_modified_since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Modified {
    Off,
    #[default]
    Exact,
    Before,
}

/// `lingering_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lingering {
    Off,
    #[default]
    On,
    Always,
}

/// One `access_log` in force.
pub struct Access {
    pub log: AccessLog,
    /// The name of the file, where it has variables.
    pub path: Option<Arc<Template<Variable>>>,
    pub escape: Escape,
    /// Shared by all logs of the format.
    pub format: Arc<Template<Variable>>,
    pub condition: Option<Arc<Template<Variable>>>,
}

#[cfg(test)]
pub(crate) mod tests;
