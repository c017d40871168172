//! `proxy_pass`: the request goes to a peer, the response comes back.

mod accel;
mod ahead;
mod attempt;
mod buffered;
mod cookies;
mod hold;
mod instead;
mod names;
mod pick;
mod pool;
mod pump;
mod redirect;
mod request;
mod response;
mod run;
pub(crate) mod settings;
mod spool;
mod sticky;
mod store;
mod target;
mod trailers;
mod transfer;
mod uncopied;
mod upgrade;

pub use cookies::{CookieFlags, Cookies};
pub use names::NameSet;
pub(crate) use pool::Pool;
pub(crate) use request::BodyFraming;
pub(crate) use run::{body_failed, run};
pub use sticky::{Bound, Sticky};
pub use store::StoreTo;

use crate::route::Pattern;
use crate::temp_file::TempFolder;
use crate::throttle::Bytes;
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::net::Origin;
use std::sync::Arc;
use std::time::Duration;

/// What the `proxy_*` directives of a location compile to.
pub struct Proxy {
    pub target: Target,
    /// The URI part of `proxy_pass`: replaces the location's prefix of the normalised path.
    /// `None` passes the client's request target as it was sent.
    pub uri: Option<Box<str>>,
    /// Text of `$proxy_host`: host of the URL, with the port when it is written and not 80.
    pub host: Box<str>,
    /// `$proxy_port`.
    pub port: Box<str>,
    /// `proxy_http_version 1.1` (false: 1.0).
    pub http11: bool,
    pub method: Option<Template<Variable>>,
    /// `proxy_set_body`: goes in place of the client's.
    pub body: Option<Template<Variable>>,
    /// `proxy_request_dynamic`: the head is made anew for each peer.
    pub request_dynamic: bool,
    /// `proxy_set_header`, with the defaults (`Host $proxy_host`; in 1.0 `Connection close`)
    /// put in front where they are not overridden. An empty value leaves the field out.
    pub set_headers: Vec<(Box<str>, Template<Variable>)>,
    /// Lower-case names of client fields that are not passed because `set_headers` sets them.
    pub overridden: NameSet,
    /// The request tells the peer to close (RFC 9112 section 9.6: nothing may follow on that connection).
    pub says_close: bool,
    /// Names of peer fields that clients do not see: nginx's own and those of `proxy_hide_header`,
    /// without those of `proxy_pass_header`.
    pub hidden: NameSet,
    /// `Server` and `Date` are ours to say: the peer's are hidden.
    pub own_server: bool,
    pub own_date: bool,
    pub pass_request_headers: bool,
    pub pass_trailers: bool,
    pub pass_request_body: bool,
    /// `proxy_request_buffering`: the body is taken in whole before a peer is asked.
    pub request_buffering: bool,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub(crate) bind: Option<settings::Bind>,
    /// `proxy_bind_dynamic`: the address is worked out anew for each peer.
    pub bind_dynamic: bool,
    /// What connections to peers are, `bind` aside.
    pub origin: Origin,
    /// `proxy_allow_upstream`: each must be true of a peer before it is asked.
    pub allow: Arc<Vec<Template<Variable>>>,
    pub ignore_client_abort: bool,
    /// `proxy_force_ranges`
    pub force_ranges: bool,
    /// Longest response head: `proxy_buffer_size`.
    pub buffer_size: usize,
    /// `proxy_buffering`: what a slow client does not take waits here and not at the peer.
    pub buffering: bool,
    /// Bytes of `proxy_buffers` together.
    pub buffers: usize,
    /// 0 writes no response to a file.
    pub max_temp_file_size: u64,
    pub temp_file_write_size: usize,
    pub temp_path: Arc<TempFolder>,
    pub limit_rate: Bytes,
    pub store: Option<StoreTo>,
    pub store_access: u32,
    pub intercept_errors: bool,
    pub ignored: Ignored,
    pub next: NextUpstream,
    /// `proxy_redirect` rules, in order; empty is `off`.
    pub redirects: Vec<Redirect>,
    pub cookies: Cookies,
}

pub enum Target {
    /// Index into [`crate::plan::Plan::groups`].
    Group(usize),
    /// Variables in `proxy_pass`: rendered for each request to `http://host[:port][uri]`; a host
    /// that names a group uses it, others are looked up through `resolver`.
    Variables(Template<Variable>),
}

/// One `proxy_redirect FROM TO`, or the like of `proxy_cookie_domain` and `proxy_cookie_path`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// What the value begins with.
    pub from: Template<Variable>,
    /// `~ regex` in place of `from`: the whole value becomes `to`, with the regex's groups in it.
    pub(crate) pattern: Option<Pattern>,
    pub to: Template<Variable>,
}

/// `proxy_ignore_headers`, as far as a field has an effect at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignored {
    /// `X-Accel-Redirect`
    pub redirect: bool,
    /// `X-Accel-Charset`
    pub charset: bool,
    /// `X-Accel-Limit-Rate`
    pub limit_rate: bool,
    /// `X-Accel-Buffering`
    pub buffering: bool,
}

/// `proxy_next_upstream*`.
#[derive(Clone, Copy, Debug)]
pub struct NextUpstream {
    pub error: bool,
    pub timeout: bool,
    pub denied: bool,
    pub invalid_header: bool,
    pub non_idempotent: bool,
    /// Bit per status: 500, 502, 503, 504, 403, 404, 429 in this order.
    pub statuses: u8,
    /// 0 is no limit.
    pub tries: u32,
    /// Zero is no limit.
    pub time: Duration,
}

impl NextUpstream {
    pub const STATUSES: [u16; 7] = [500, 502, 503, 504, 403, 404, 429];

    pub fn status(&self, status: u16) -> bool {
        Self::STATUSES.iter().position(|&known| known == status).is_some_and(|bit| self.statuses & (1 << bit) != 0)
    }
}
