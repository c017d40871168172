//! The rows of `proxy_*` and what they say, before `compile` makes a [`crate::proxy::Proxy`] of it.

mod compile;
mod pass;
mod redirect;
mod rows;

pub(crate) use compile::compile;
pub(crate) use pass::{HealthCheck, PASS, PassTo, Url};
pub(crate) use redirect::{From, Rule};
pub(crate) use rows::DIRECTIVES;

use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::net::Address;
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
    /// Name as written and value, in file order.
    pub set_headers: Arc<Vec<SetHeader>>,
    pub hide_headers: Vec<Box<str>>,
    pub pass_headers: Vec<Box<str>>,
    pub pass_request_headers: bool,
    pub pass_request_body: bool,
    pub bind: Option<Address>,
    pub socket_keepalive: bool,
    pub ignore_client_abort: bool,
    pub buffer_size: usize,
    pub next: Next,
    pub tries: u32,
    pub tries_time: Duration,
    pub redirects: Vec<Rule>,
}

/// Name and value of a `proxy_set_header`.
pub(crate) type SetHeader = (Box<str>, Template<Variable>);

/// `proxy_next_upstream`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Next {
    pub error: bool,
    pub timeout: bool,
    pub invalid_header: bool,
    pub non_idempotent: bool,
    pub statuses: u8,
}
