//! One request and its response: the phases in order, as plain calls.
//!
//! `run` is the order; each phase lives in its own file. Ends in exactly one
//! access log line per `access_log` in force.

mod memory;

pub(crate) use memory::Memory;

use crate::access_log;
use crate::body::{BodyReader, Taken};
use crate::client::Client;
use crate::content::{self, RealRoot, Served, Tried, error_page};
use crate::filter::{Packed, Slices, UserIds};
use crate::h1::{BadRequest, Known, Method, Request, RequestBody, Response, Slice, Version};
use crate::host;
use crate::phase::{self, Passed, Stop};
use crate::plan::{Captures, Content, Located, Location, Server, VirtualServers};
use crate::proxy::{self, BodyFraming, Bound};
use crate::reply::Reply;
use crate::respond;
use crate::rewrite;
use crate::subrequest::Behind;
use crate::uri;
use crate::variables::custom::Values;
use crate::variables::{RequestId, Variable};
use crate::worker::Worker;
use fairlead_conf::Template;
use fairlead_core::clock::Tick;
use fairlead_core::log::Level;
use fairlead_core::net::{Address, ProxyHeader, TcpInfo};
use fairlead_core::upstream::Peer;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What all exchanges of one client connection share.
pub struct Connection {
    /// `$connection`, `*N` in the error log.
    pub number: u64,
    pub client: Address,
    /// Who really connected, where `client` is whom a trusted proxy speaks for.
    pub connected: Option<Address>,
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
    /// The query in `request.buffer`, without its question mark.
    pub args: Option<Slice>,
    /// The query that rules put in its place.
    pub made_args: Option<Vec<u8>>,
    /// The request's host, lower case and without port: `$host`.
    pub host: Vec<u8>,
    /// Groups of the regex that matched last; a variable that is asked for may match one too.
    pub captures: RefCell<Captures>,
    /// What `set` and named groups gave the configuration's own variables.
    pub(crate) values: Values,
    /// What is known of its way through the phases.
    pub(crate) passed: Passed,
    /// Where a sliced response is.
    pub(crate) slices: RefCell<Option<Box<Slices>>>,
    /// `$uid_got` and `$uid_set`, once they are known.
    pub(crate) uid: UserIds,
    /// Of a subrequest: what it keeps of the request behind it.
    pub(crate) behind: Option<Behind>,
    pub started: Tick,
    pub status: u16,
    /// The response head as it was sent: `$sent_http_*`.
    pub sent_head: Vec<u8>,
    /// The trailers behind it, a line each: `$sent_trailer_*`.
    pub sent_trailers: RefCell<Vec<u8>>,
    /// Where `root` really is, once that is known.
    pub(crate) real_root: Option<RealRoot>,
    /// As it was last asked for.
    pub(crate) tcp_info: Option<TcpInfo>,
    /// Head and body bytes sent to the client.
    pub bytes_sent: u64,
    pub body_bytes_sent: u64,
    /// Request line, head and body bytes read from the client: `$request_length`.
    pub request_length: u64,
    pub attempts: Vec<Attempt>,
    /// A `proxy_pass` is in use: `$proxy_host` and `$proxy_port` are its own.
    pub(crate) proxying: bool,
    pub proxy_host: Vec<u8>,
    pub proxy_port: Vec<u8>,
    /// What the peer is asked for, and how it gets the body.
    pub(crate) peer_uri: Vec<u8>,
    pub(crate) peer_body: BodyFraming,
    /// The last response head of a peer: `$upstream_http_*`.
    pub upstream_head: Vec<u8>,
    /// What it sent behind its body: `$upstream_trailer_*`.
    pub upstream_trailers: Vec<u8>,
    /// What compression made of the body: `$gzip_ratio` and its like.
    pub packed: Option<Packed>,
    /// The client got all of the response.
    pub completed: bool,
    /// `$request_id`.
    pub id: RequestId,
    /// The request came behind another one without waiting for its answer: `$pipe`.
    pub pipelined: bool,
    /// `uri` or the query is no longer what the client asked for.
    pub(crate) moved: bool,
    /// `uri` was changed by a rule or an index file.
    pub(crate) internal: bool,
    /// A rule changed `uri` since its location was found.
    pub(crate) uri_changed: bool,
    /// `break` kept a changed `uri` in its location: no part of it is the location's prefix.
    pub(crate) whole_uri: bool,
    /// In a regex location with `alias`: `uri` is a path below it, which `try_files` found there.
    pub(crate) below_alias: bool,
    /// How often `uri` led to another search of a location.
    pub(crate) moves: u8,
    /// In an `if` of a server: its `uninitialized_variable_warn`.
    pub(crate) warns_instead: Option<bool>,
    /// The status the answer goes out with, whatever answers: that of the error it stands for.
    pub(crate) answer_status: Option<u16>,
    /// The request went to an error page, and no error leads to another one.
    pub(crate) at_error_page: bool,
    /// An error was answered after which the connection is not trusted to be in step.
    pub(crate) ends_connection: bool,
    /// Fields of a peer's answer that sent the request elsewhere: they go out with what is answered there.
    pub(crate) carried: Vec<(Box<[u8]>, Vec<u8>)>,
    /// `X-Accel-Buffering` of the peer's.
    pub(crate) buffering: Option<bool>,
    /// `$limit_rate`: what a rule or a peer said, or what is in force once a response began.
    pub(crate) limit_rate: Option<u64>,
    /// Cookies of `sticky` whose peer gave no answer: they go out with whatever the client gets.
    pub(crate) sticky_cookies: Vec<Vec<u8>>,
    /// What was taken in of the request's body, for all who ask for it.
    pub(crate) taken: Option<Rc<Taken>>,
    /// A part of it was streamed, and not kept.
    pub(crate) body_is_gone: bool,
    /// What is left of the request's body.
    pub(crate) body: BodyReader,
    /// Decoded body bytes so far.
    pub(crate) body_length: u64,
    /// Bytes of `request.buffer` that belong to this request and are used up.
    pub(crate) consumed: usize,
    /// The request as peers get it, up to where its body is streamed.
    pub(crate) to_peer: Vec<u8>,
    /// The peer's response head in parsed form, its memory reused.
    pub(crate) response: Response,
}

/// How often rules and index files may lead to another location, as in nginx.
const MOST_MOVES: u8 = 10;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    Close,
    /// Close, but read what the client still sends for a while, so that it sees our answer.
    Linger,
}

/// How the content phase ended.
pub(crate) enum Ended {
    /// Answer with this.
    Reply(Box<Reply>),
    /// The response is sent.
    Sent(After),
    /// The client is gone, or a response could not be finished: there is nothing to send.
    Broken,
    /// An index file takes the request over: `uri` is new.
    Moved,
    /// The answer is to be had at this path or in this named location.
    Elsewhere(Vec<u8>),
    /// The same for the method it came with.
    Inside(Vec<u8>),
}

/// One try at one peer: an element of the `$upstream_*` lists.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// `None` when no live peer was left: the group's name is printed.
    pub peer: Option<Arc<Peer>>,
    pub group: Box<str>,
    /// Position of its group in the plan.
    pub from: Option<usize>,
    /// What came of `sticky`, where the group has it.
    pub bound: Option<Bound>,
    pub status: u16,
    /// The first try of another location than that of the tries before.
    pub anew: bool,
    pub started: Tick,
    /// Milliseconds in the group's `queue` before `started`; `None` when it did not wait there.
    pub queue_time: Option<u64>,
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
    /// Runs the request whose head is in `request`; sends its response.
    pub(crate) async fn run(&mut self, client: &mut Client, servers: &VirtualServers) -> After {
        self.ask_tcp_info(client);
        self.body = BodyReader::new(self.request.framing);
        self.consumed = self.request.head_len;
        self.request_length = self.request.sound_len();
        if self.request.awaits_body() {
            client.stream.acknowledge();
        }
        let ended = match self.find(servers) {
            Ok(()) => self.serve(client).await,
            Err(status) => {
                let reply = self.refuse(status);
                self.serve_from(client, Err(reply.into())).await
            }
        };
        self.finish(client, ended).await
    }

    pub(crate) fn is_subrequest(&self) -> bool {
        self.behind.is_some()
    }

    /// Answers a request whose head nginx would refuse with `status`.
    pub(crate) async fn run_refused(
        &mut self,
        client: &mut Client,
        servers: &VirtualServers,
        bad: BadRequest,
    ) -> After {
        let BadRequest { status, reason } = bad;
        self.find_refused(servers);
        self.log(Level::Info, format_args!("{reason}"));
        self.request_length = self.request.sound_len();
        self.consumed = self.request.buffer.len();
        let mut reply = self.refuse(status);
        reply.close = true;
        let ended = self.serve_from(client, Err(reply.into())).await;
        self.finish(client, ended).await
    }

    /// As nginx: what was understood before a line was refused says whose the refusal is.
    fn find_refused(&mut self, servers: &VirtualServers) {
        self.fall_back(servers);
        if !self.request.has_target() {
            return;
        }
        let named = self.request.authority.is_some() || self.request.known(Known::Host).is_some();
        if named && self.find_server(servers) {
            self.location = self.server.root.clone();
        } else if !named && self.request.head_len > 0 {
            self.server = servers.find(b"", self.captures.get_mut()).clone();
            self.location = self.server.root.clone();
        }
        // What is wrong with its path does not matter any more.
        let _ = self.find_path();
    }

    /// Nothing is known of where the request wants to go: the default server answers for it.
    pub(crate) fn fall_back(&mut self, servers: &VirtualServers) {
        self.server = servers.default.clone();
        self.location = self.server.root.clone();
    }

    async fn finish(&mut self, client: &mut Client, ended: Ended) -> After {
        content::find_real_root(self).await;
        let after = match ended {
            Ended::Reply(reply) => respond::send(client, self, reply).await,
            Ended::Sent(after) => after,
            Ended::Broken | Ended::Moved | Ended::Elsewhere(_) | Ended::Inside(_) => After::Close,
        };
        self.ask_tcp_info(client);
        if matches!(self.status, 408 | 444) || client.timed_out {
            self.reset_when_closed(client);
        }
        // Before the log line, as nginx.
        self.passed.leave();
        self.bytes_sent = client.sent;
        client.sent = 0;
        client.throttle = None;
        access_log::write(self);
        after
    }

    /// Of a connection that timed out, or that `return 444` closes.
    pub(crate) fn reset_when_closed(&self, client: &Client) {
        if self.location.reset_timedout_connection {
            client.stream.reset_on_close();
        }
    }

    /// For the variables of it; whoever has none of them pays nothing.
    fn ask_tcp_info(&mut self, client: &Client) {
        if self.worker.plan.wanted.tcp_info {
            self.tcp_info = TcpInfo::of(&client.stream);
        }
    }

    /// Server and path; a status when there is no way to go on.
    fn find(&mut self, servers: &VirtualServers) -> Result<(), u16> {
        if !self.find_server(servers) {
            self.fall_back(servers);
            self.log(Level::Info, format_args!("client sent invalid host header"));
            let _ = self.find_path();
            return Err(400);
        }
        phase::post_read(self);
        self.find_path().inspect_err(|_| self.location = self.server.root.clone())
    }

    fn find_path(&mut self) -> Result<(), u16> {
        self.uri.clear();
        let target = self.request.target;
        let text = target.of(&self.request.buffer);
        // An absolute URI may have no path.
        let path = if text.first() == Some(&b'/') { text } else { b"/" };
        let query = uri::normalize(path, self.server.merge_slashes, &mut self.uri).map_err(|_| 400u16)?;
        let query = if text.first() == Some(&b'?') { Some(1) } else { query };
        // As nginx: a question mark at the end begins no query.
        self.args = query.filter(|&at| at < text.len()).map(|at| {
            let at = at as u32;
            let end = uri::query_end(text, at as usize) as u32;
            Slice { start: target.start + at, len: end.saturating_sub(at) }
        });
        if matches!(self.request.method, Method::Trace | Method::Connect) {
            return Err(405);
        }
        Ok(())
    }

    /// False when the client's host is no host.
    fn find_server(&mut self, servers: &VirtualServers) -> bool {
        let request = &self.request;
        let named = request.authority.map(|authority| authority.of(&request.buffer));
        self.host.clear();
        match named.or_else(|| request.known(Known::Host)) {
            Some(text) if !host::push_valid(text, &mut self.host) => return false,
            Some(_) => {}
            None if request.version >= Version::Http11 => return false,
            None => {}
        }
        let server = servers.find(&self.host, self.captures.get_mut());
        if !Arc::ptr_eq(server, &self.server) {
            self.server = server.clone();
        }
        self.keep_groups();
        true
    }

    /// The location of `uri`; a redirect that adds a slash is left in `location` as a 301.
    pub(crate) fn locate(&mut self) -> Result<(), u16> {
        self.below_alias = false;
        match self.server.locate(&self.uri, self.captures.get_mut()) {
            Located::Location(location) => {
                let location = location.of(self.request.method_bytes());
                if !Arc::ptr_eq(location, &self.location) {
                    self.location = location.clone();
                }
            }
            Located::AddSlash => {
                self.location = self.server.root.clone();
                return Err(301);
            }
            Located::TooComplex => {
                let subject = self.uri.escape_ascii();
                self.log(Level::Alert, format_args!("regex match failed: too complex on \"{subject}\" in a location"));
                return Err(500);
            }
        }
        self.keep_groups();
        // As nginx: it holds wherever the request goes from here.
        self.ends_connection |= self.location.keepalive_timeout.is_zero();
        if self.location.internal && !self.internal {
            return Err(404);
        }
        let limit = self.location.client_max_body_size;
        if let RequestBody::Length(length) = self.request.framing
            && limit != 0
            && length > limit
        {
            self.log(Level::Error, format_args!("client intended to send too large body: {length} bytes"));
            return Err(413);
        }
        Ok(())
    }

    /// Rules and location, then content; over again when the answer is to be had elsewhere.
    pub(crate) async fn serve(&mut self, client: &mut Client) -> Ended {
        let routed = rewrite::route(self).await;
        self.serve_from(client, routed).await
    }

    async fn serve_from(&mut self, client: &mut Client, mut routed: Result<(), Box<Reply>>) -> Ended {
        loop {
            let ended = match routed {
                Ok(()) => self.content(client).await,
                Err(reply) => Ended::Reply(reply),
            };
            let to = match ended {
                Ended::Moved => {
                    self.proxying = false;
                    routed = rewrite::route(self).await;
                    continue;
                }
                Ended::Inside(to) => {
                    routed = Box::pin(content::go_inside(self, &to)).await;
                    continue;
                }
                Ended::Elsewhere(to) => to,
                Ended::Reply(reply) => match content::page_for(self, reply) {
                    Ok(to) => to,
                    Err(reply) => return Ended::Reply(reply),
                },
                sent => return sent,
            };
            self.proxying = false;
            routed = Box::pin(content::go_to(self, &to)).await;
        }
    }

    async fn content(&mut self, client: &mut Client) -> Ended {
        content::find_real_root(self).await;
        let location = self.location.clone();
        if let Some(gates) = &location.gates
            && let Err(stop) = Box::pin(phase::enter(client, self, gates)).await
        {
            return self.stop(&stop);
        }
        if let Some(to) = &location.internal_redirect {
            let mut path = Vec::new();
            self.render(to, &mut path);
            if !path.is_empty() {
                return Ended::Inside(path);
            }
        }
        if let Some(tries) = &location.tries {
            match content::try_files(self, tries) {
                Tried::Found => {}
                Tried::Status(status) => return Ended::Reply(self.refuse(status).into()),
                Tried::Elsewhere(to) => return Ended::Inside(to),
            }
        }
        if let Some(mirror) = location.mirror.as_ref().filter(|_| !self.is_subrequest())
            && let Err(ended) = Box::pin(mirror.send(client, self)).await
        {
            return ended;
        }
        match &location.content {
            Content::Static => match content::serve(self).await {
                Served::Reply(reply) => Ended::Reply(reply.into()),
                Served::Moved => Ended::Moved,
            },
            Content::Made(what) => Ended::Reply(content::made(self, *what).into()),
            Content::Proxy(settings) => proxy::run(client, self, settings).await,
        }
    }

    fn stop(&mut self, stop: &Stop) -> Ended {
        match stop {
            Stop::Refused(status) => Ended::Reply(self.refuse(*status).into()),
            Stop::Gone => {
                self.status = 499;
                Ended::Broken
            }
        }
    }

    /// Counts one more search of a location; false when it is one too many.
    pub(crate) fn may_move(&mut self) -> bool {
        self.moves = self.moves.saturating_add(1);
        self.moves <= MOST_MOVES
    }

    pub(crate) fn may_still_move(&self) -> bool {
        self.moves <= MOST_MOVES
    }

    /// `$args`: what follows the question mark, if there is one.
    pub fn query(&self) -> Option<&[u8]> {
        let sent = || self.args.map(|args| args.of(&self.request.buffer));
        self.made_args.as_deref().or_else(sent)
    }

    /// Whether one of these bytes is in the path as the client sent it.
    pub(crate) fn path_has(&self, bytes: &[u8]) -> bool {
        let path = self.request.target_bytes().iter().take_while(|byte| !matches!(byte, b'?' | b'#'));
        path.into_iter().any(|byte| bytes.contains(byte))
    }

    /// The page for a status of our own.
    pub(crate) fn refuse(&mut self, status: u16) -> Reply {
        if status == 301 {
            return content::add_slash(self);
        }
        let mut reply = error_page(status, self.location.server_tokens);
        // As nginx: after these the connection is not trusted to be in step.
        reply.close |= matches!(status, 400 | 413 | 414 | 494 | 500 | 501);
        reply
    }

    /// Appends a template's text; variables without a value are empty.
    pub fn render(&self, template: &Template<Variable>, out: &mut Vec<u8>) {
        template.render(out, |variable, out| {
            self.push_value(variable, out);
        });
    }
}
