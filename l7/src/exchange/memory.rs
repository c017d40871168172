//! The memory of exchanges: made for the first request of a client that is busy, used again in place
//! for those that follow at once, and recycled by the worker.

use super::{Attempt, Connection, Exchange};
use crate::body::BodyReader;
use crate::filter::UserIds;
use crate::h1::{Request, Response};
use crate::phase::Passed;
use crate::plan::{Location, Server, VirtualServers};
use crate::proxy::BodyFraming;
use crate::variables::RequestId;
use crate::variables::custom::Values;
use crate::worker::Worker;
use fairlead_core::clock::tick;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The buffers of an exchange, recycled by the worker.
#[derive(Default)]
pub(crate) struct Memory {
    pub request: Request,
    response: Response,
    uri: Vec<u8>,
    host: Vec<u8>,
    sent_head: Vec<u8>,
    upstream_head: Vec<u8>,
    to_peer: Vec<u8>,
    proxy_host: Vec<u8>,
    proxy_port: Vec<u8>,
    peer_uri: Vec<u8>,
    attempts: Vec<Attempt>,
    values: Values,
    /// Where the last request went: most go where the one before went, and counting references
    /// that all threads share is not free.
    place: Option<(Arc<Server>, Arc<Location>)>,
}

impl Memory {
    /// For a request that was not read from a client.
    pub fn with(request: Request, uri: Vec<u8>, host: Vec<u8>) -> Memory {
        Memory { request, uri, host, ..Memory::default() }
    }

    /// Not worth keeping when one request made it grow.
    pub fn is_small(&self) -> bool {
        self.request.buffer.capacity()
            + self.sent_head.capacity()
            + self.upstream_head.capacity()
            + self.to_peer.capacity()
            + self.values.held()
            < MOST_KEPT
    }
}

impl Exchange {
    /// An exchange whose request head has been read, or could not be.
    pub(crate) fn new(
        worker: Rc<Worker>,
        connection: Rc<Connection>,
        servers: &VirtualServers,
        requests: u64,
        memory: Memory,
    ) -> Exchange {
        let mut memory = memory;
        let place = memory.place.take();
        let place = place.unwrap_or_else(|| (servers.default.clone(), servers.default.root.clone()));
        Exchange::at(worker, connection, (requests, place), memory)
    }

    pub(crate) fn at(
        worker: Rc<Worker>,
        connection: Rc<Connection>,
        (requests, (server, location)): (u64, (Arc<Server>, Arc<Location>)),
        memory: Memory,
    ) -> Exchange {
        let Memory {
            request,
            response,
            uri,
            host,
            sent_head,
            upstream_head,
            to_peer,
            proxy_host,
            proxy_port,
            peer_uri,
            attempts,
            values,
            place: _,
        } = memory;
        Exchange {
            started: tick(),
            worker,
            connection,
            requests,
            server,
            location,
            uri,
            args: None,
            made_args: None,
            host,
            captures: RefCell::default(),
            values,
            passed: Passed::default(),
            slices: RefCell::default(),
            uid: UserIds::default(),
            behind: None,
            status: 0,
            sent_head,
            sent_trailers: RefCell::default(),
            real_root: None,
            tcp_info: None,
            bytes_sent: 0,
            body_bytes_sent: 0,
            request_length: 0,
            attempts,
            proxying: false,
            peer_body: BodyFraming::None,
            proxy_host,
            proxy_port,
            peer_uri,
            upstream_head,
            upstream_trailers: Vec::new(),
            to_peer,
            packed: None,
            completed: false,
            id: RequestId::default(),
            pipelined: requests > 1 && !request.buffer.is_empty(),
            moved: false,
            internal: false,
            uri_changed: false,
            whole_uri: false,
            below_alias: false,
            moves: 0,
            warns_instead: None,
            answer_status: None,
            at_error_page: false,
            ends_connection: false,
            carried: Vec::new(),
            buffering: None,
            limit_rate: None,
            sticky_cookies: Vec::new(),
            taken: None,
            body_is_gone: false,
            body: BodyReader::Done,
            body_length: 0,
            consumed: 0,
            response,
            request,
        }
    }

    /// The next request of the connection begins.
    pub(crate) fn begin(&mut self, requests: u64, connection: &Rc<Connection>) {
        // A trusted proxy may have spoken for somebody else.
        if !Rc::ptr_eq(&self.connection, connection) {
            self.connection = connection.clone();
        }
        self.requests = requests;
        self.started = tick();
        self.pipelined = requests > 1 && !self.request.buffer.is_empty();
    }

    /// Forgets the request and what came of it; keeps the memory, where the last request went, and
    /// the bytes of the next one if the client pipelined it.
    pub(crate) fn renew(&mut self) {
        // Whole, so that no field can be forgotten here.
        let Exchange {
            worker: _,
            connection: _,
            requests: _,
            request,
            server: _,
            location: _,
            uri,
            args,
            made_args,
            host,
            captures,
            values,
            passed,
            slices,
            uid,
            behind,
            started: _,
            status,
            sent_head,
            sent_trailers,
            real_root,
            tcp_info,
            bytes_sent,
            body_bytes_sent,
            request_length,
            attempts,
            proxying,
            proxy_host,
            proxy_port,
            peer_uri,
            peer_body,
            upstream_head,
            upstream_trailers,
            packed,
            completed,
            id,
            pipelined: _,
            moved,
            internal,
            uri_changed,
            whole_uri,
            below_alias,
            moves,
            warns_instead,
            answer_status,
            at_error_page,
            ends_connection,
            carried,
            buffering,
            limit_rate,
            sticky_cookies,
            taken,
            body_is_gone,
            body,
            body_length,
            consumed,
            to_peer: _,
            response: _,
        } = self;
        request.recycle(*consumed);
        uri.clear();
        *args = None;
        *made_args = None;
        host.clear();
        *captures = RefCell::default();
        values.clear();
        *passed = Passed::default();
        *slices = RefCell::default();
        *uid = UserIds::default();
        *behind = None;
        *status = 0;
        sent_head.clear();
        *sent_trailers = RefCell::default();
        *real_root = None;
        *tcp_info = None;
        *bytes_sent = 0;
        *body_bytes_sent = 0;
        *request_length = 0;
        attempts.clear();
        *proxying = false;
        proxy_host.clear();
        proxy_port.clear();
        peer_uri.clear();
        *peer_body = BodyFraming::None;
        upstream_head.clear();
        *upstream_trailers = Vec::new();
        *packed = None;
        *completed = false;
        *id = RequestId::default();
        *moved = false;
        *internal = false;
        *uri_changed = false;
        *whole_uri = false;
        *below_alias = false;
        *moves = 0;
        *warns_instead = None;
        *answer_status = None;
        *at_error_page = false;
        *ends_connection = false;
        *carried = Vec::new();
        *buffering = None;
        *limit_rate = None;
        *sticky_cookies = Vec::new();
        *taken = None;
        *body_is_gone = false;
        *body = BodyReader::Done;
        *body_length = 0;
        *consumed = 0;
    }

    /// Gives the buffers back, once the exchange is renewed.
    pub(crate) fn into_memory(self) -> Memory {
        let Exchange {
            request,
            response,
            uri,
            host,
            sent_head,
            upstream_head,
            to_peer,
            proxy_host,
            proxy_port,
            peer_uri,
            attempts,
            values,
            server,
            location,
            ..
        } = self;
        let place = Some((server, location));
        Memory {
            request,
            response,
            uri,
            host,
            sent_head,
            upstream_head,
            to_peer,
            proxy_host,
            proxy_port,
            peer_uri,
            attempts,
            values,
            place,
        }
    }

    /// Not worth keeping when one request made it grow.
    pub(crate) fn is_small(&self) -> bool {
        self.request.buffer.capacity()
            + self.sent_head.capacity()
            + self.upstream_head.capacity()
            + self.to_peer.capacity()
            + self.values.held()
            < MOST_KEPT
    }
}

/// Bytes of an exchange that are kept for the next one.
const MOST_KEPT: usize = 64 << 10;
