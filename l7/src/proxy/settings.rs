//! The rows of `proxy_*` and what they say, before `compile` makes a [`crate::proxy::Proxy`] of it.

mod answers;
mod buffers;
mod compile;
mod connect;
mod cookies;
mod pass;
mod redirect;
mod rows;
mod sizes;
mod store;

pub(crate) use answers::DIRECTIVES as ANSWERS;
pub(crate) use buffers::DIRECTIVES as BUFFERS;
pub(crate) use compile::compile;
pub(crate) use connect::{Bind, DIRECTIVES as CONNECT, Local};
pub(crate) use cookies::DIRECTIVES as COOKIES;
pub(crate) use pass::{HealthCheck, PASS, PassTo, Url};
pub(crate) use redirect::Rule;
pub(crate) use rows::DIRECTIVES;
pub(crate) use store::DIRECTIVES as STORE;

use sizes::Sizes;

use crate::proxy::{CookieFlags, Ignored, Redirect, StoreTo};
use crate::temp_file::TempFolder;
use crate::throttle::Bytes;
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::net::Origin;
use std::sync::Arc;
use std::time::Duration;

/// What a location inherits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub http11: bool,
    pub method: Option<Template<Variable>>,
    pub body: Option<Template<Variable>>,
    pub request_dynamic: bool,
    /// Name as written and value, in file order.
    pub set_headers: Arc<Vec<SetHeader>>,
    pub hide_headers: Vec<Box<str>>,
    pub pass_headers: Vec<Box<str>>,
    pub pass_request_headers: bool,
    pub pass_trailers: bool,
    pub pass_request_body: bool,
    pub request_buffering: bool,
    pub bind: Option<Bind>,
    pub bind_dynamic: bool,
    /// What connections to peers are, `bind` aside.
    pub origin: Origin,
    /// `proxy_allow_upstream`.
    pub allow: Arc<Vec<Template<Variable>>>,
    pub ignore_client_abort: bool,
    pub force_ranges: bool,
    pub buffer_size: usize,
    pub buffering: bool,
    pub buffers: usize,
    pub max_temp_file_size: u64,
    pub temp_file_write_size: usize,
    /// As written, for what they must be to each other.
    pub sizes: Sizes,
    pub temp_path: Arc<TempFolder>,
    pub limit_rate: Bytes,
    pub store: Option<StoreTo>,
    pub store_access: u32,
    pub intercept_errors: bool,
    pub ignored: Ignored,
    pub next: Next,
    pub tries: u32,
    pub tries_time: Duration,
    pub redirects: Vec<Rule>,
    pub cookie_domains: Vec<Redirect>,
    pub cookie_paths: Vec<Redirect>,
    pub cookie_flags: Vec<CookieFlags>,
}

/// Name and value of a `proxy_set_header`.
pub(crate) type SetHeader = (Box<str>, Template<Variable>);

/// `proxy_next_upstream`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Next {
    pub off: bool,
    pub error: bool,
    pub timeout: bool,
    pub denied: bool,
    pub invalid_header: bool,
    pub non_idempotent: bool,
    pub statuses: u8,
}
