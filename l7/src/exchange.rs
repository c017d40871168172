//! One request and its response: the phases in order, as plain calls.

use crate::h1::Request;
use crate::plan::{Captures, Location, Server};
use crate::variables::Variable;
use crate::worker::Worker;
use fairlead_conf::Template;
use fairlead_core::clock::Tick;
use fairlead_core::net::{Address, ProxyHeader};
use fairlead_core::upstream::Peer;
use std::rc::Rc;
use std::sync::Arc;

/// What all exchanges of one client connection share.
pub struct Connection {
    /// `$connection`, `*N` in the error log.
    pub number: u64,
    pub client: Address,
    pub local: Address,
    /// The listener's own address: what error log lines call it.
    pub proxy_header: Option<ProxyHeader>,
    pub started: Tick,
}

/// A request on its way through the phases.
pub struct Exchange {
    pub worker: Rc<Worker>,
    pub connection: Rc<Connection>,
    /// How many requests came over this connection, this one included.
    pub requests: u64,
    pub request: Request,
    pub server: Arc<Server>,
    pub location: Arc<Location>,
    /// The normalised path: `$uri`.
    pub uri: Vec<u8>,
    /// The query in `request.buffer`, without its question mark: `$args`.
    pub args: Option<crate::h1::Slice>,
    /// The request's host, lower case and without port: `$host`.
    pub host: Vec<u8>,
    /// Groups of the regexes that matched (server name, location).
    pub captures: Captures,
    pub started: Tick,
    pub status: u16,
    /// The response head as it was sent: `$sent_http_*`.
    pub sent_head: Vec<u8>,
    /// Head and body bytes sent to the client.
    pub bytes_sent: u64,
    pub body_bytes_sent: u64,
    /// Request line, head and body bytes read from the client: `$request_length`.
    pub request_length: u64,
    pub attempts: Vec<Attempt>,
    /// Host (and port when written) of the `proxy_pass` in use: `$proxy_host`.
    pub proxy_host: Vec<u8>,
    /// The last response head of a peer: `$upstream_http_*`.
    pub upstream_head: Vec<u8>,
    /// The client got all of the response.
    pub completed: bool,
}

/// One try at one peer: an element of the `$upstream_*` lists.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// `None` when no live peer was left: the group's name is printed.
    pub peer: Option<Arc<Peer>>,
    pub group: Box<str>,
    pub status: u16,
    pub started: Tick,
    /// Milliseconds from `started`; `None` until it happened.
    pub connect_time: Option<u64>,
    pub header_time: Option<u64>,
    pub response_time: Option<u64>,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Body bytes.
    pub response_length: u64,
}

impl Exchange {
    /// Appends a template's text; variables without a value are empty.
    pub fn render(&self, template: &Template<Variable>, out: &mut Vec<u8>) {
        template.render(out, |variable, out| {
            self.push_value(variable, out);
        });
    }
}
