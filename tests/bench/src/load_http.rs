//! The HTTP clients: each sends a request, reads the response, and goes on as its manner says.
//!
//! A client that gets `Connection: close`, or an end of connection after a response, reconnects without complaint as
//! browsers do; one that loses its connection with a request in flight counts an error.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use memchr::memmem;
use mio::event::Event;

use crate::connection::Connection;
use crate::engine::{Loop, Tally};

#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    /// The next request follows on the same connection.
    Keepalive,
    /// A connection to each request.
    Close,
    /// One request, then the connection stays open and idle.
    Idle,
    /// As `Keepalive`, with a body of [`POSTED`] bytes.
    Post,
    /// As `Keepalive`; each client brings back the cookie it was given.
    Cookie,
    /// As `Keepalive`, to one of many hosts.
    Hosts,
}

/// Bytes of the body of a `Post`.
pub const POSTED: usize = 16 * 1024;

pub struct HttpLoad {
    target: SocketAddr,
    manner: Manner,
    requests: Vec<Vec<u8>>,
    next_request: usize,
    clients: Vec<Client>,
    /// Clients without a connection; tried on the next tick, so that a proxy that refuses is not hammered.
    waiting: Vec<usize>,
    pub tally: Tally,
}

struct Client {
    connection: Option<Connection>,
    state: State,
    partial_head: Vec<u8>,
    /// Which of the requests is on its way.
    request: usize,
    /// The field that brings back what the last `Set-Cookie` gave.
    cookie: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Head,
    Body {
        left: usize,
        close: bool,
    },
    /// The response is whole; the proxy has yet to close.
    End,
    Idle,
}

/// How many idle connections are opened per tick.
const STEP: usize = 64;

impl HttpLoad {
    pub fn new(target: SocketAddr, clients: usize, manner: Manner) -> HttpLoad {
        HttpLoad {
            target,
            manner,
            requests: (0..512).map(|number| request(number, manner)).collect(),
            next_request: 0,
            clients: (0..clients).map(|_| Client::new()).collect(),
            waiting: (0..clients).rev().collect(),
            tally: Tally::default(),
        }
    }

    pub fn tick(&mut self, turn: &mut Loop) {
        let rest = self.waiting.len().saturating_sub(STEP);
        for slot in self.waiting.split_off(rest) {
            self.connect(slot, turn);
        }
    }

    pub fn ready(&mut self, slot: usize, event: &Event, turn: &mut Loop) {
        let Some(connection) = self.clients.get(slot).and_then(|it| it.connection.as_ref()) else { return };
        if connection.is_sending() && event.is_writable() {
            self.go_on(slot);
        }
        if event.is_readable() || event.is_read_closed() {
            self.receive(slot, event.is_read_closed(), turn);
        }
    }

    fn connect(&mut self, slot: usize, turn: &mut Loop) {
        match Connection::open(self.target, slot, turn) {
            Ok(connection) => {
                self.clients[slot].connection = Some(connection);
                self.clients[slot].partial_head.clear();
                self.send(slot);
            }
            Err(error) => self.lose(slot, error),
        }
    }

    fn send(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        client.state = State::Head;
        client.request = self.next_request;
        self.next_request = (self.next_request + 1) % self.requests.len();
        self.go_on(slot);
    }

    fn go_on(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(connection) = &mut client.connection else { return };
        let request = &self.requests[client.request];
        let sent = if client.cookie.is_empty() {
            connection.send(request)
        } else {
            connection.send(&with_field(request, &client.cookie))
        };
        if let Err(error) = sent {
            self.lose(slot, error);
        }
    }

    fn lose(&mut self, slot: usize, why: impl ToString) {
        self.tally.fail(why);
        self.clients[slot].connection = None;
        self.waiting.push(slot);
    }

    fn receive(&mut self, slot: usize, closed: bool, turn: &mut Loop) {
        loop {
            let client = &mut self.clients[slot];
            let Some(connection) = &mut client.connection else { return };
            let result = match client.state {
                State::Body { .. } => connection.discard(turn.scratch),
                State::Head | State::End | State::Idle => connection.receive(turn.scratch),
            };
            let length = match result {
                Ok(None) => return,
                Ok(Some(0)) => return self.ended(slot, turn),
                Ok(Some(length)) => length,
                Err(error) => return self.lose(slot, error),
            };
            match self.take(slot, length, turn) {
                Ok(true) => return self.complete(slot, closed, turn),
                // A read that did not fill the buffer has drained the socket; the next bytes are a new event.
                Ok(false) if length < turn.scratch.len() && !closed => return,
                Ok(false) => {}
                Err(error) => return self.lose(slot, error),
            }
        }
    }

    /// Whether the response is whole.
    fn take(&mut self, slot: usize, length: usize, turn: &Loop) -> io::Result<bool> {
        let client = &mut self.clients[slot];
        let (left, close) = match client.state {
            State::Body { left, close } => (left.checked_sub(length), close),
            State::Head => match client.head(&turn.scratch[..length])? {
                None => return Ok(false),
                Some(head) => (head.length.checked_sub(head.of_body), head.close),
            },
            State::End | State::Idle => (None, false),
        };
        let left = left.ok_or_else(|| io::Error::other("more was sent than was asked for"))?;
        client.state = State::Body { left, close };
        Ok(left == 0)
    }

    fn complete(&mut self, slot: usize, closed: bool, turn: &mut Loop) {
        let close = closed || matches!(self.clients[slot].state, State::Body { close: true, .. });
        match self.manner {
            Manner::Close => {
                self.clients[slot].state = State::End;
                if closed {
                    self.receive(slot, closed, turn);
                }
            }
            Manner::Keepalive | Manner::Post | Manner::Cookie | Manner::Hosts => {
                self.count(slot);
                if close { self.reconnect(slot, turn) } else { self.send(slot) }
            }
            Manner::Idle => {
                self.count(slot);
                self.clients[slot].state = State::Idle;
            }
        }
    }

    fn count(&mut self, slot: usize) {
        let Some(connection) = &mut self.clients[slot].connection else { return };
        let now = Instant::now();
        self.tally.latency.record(now - connection.since);
        self.tally.done += 1;
        connection.since = now;
    }

    fn ended(&mut self, slot: usize, turn: &mut Loop) {
        match self.clients[slot].state {
            State::End => {
                self.count(slot);
                self.reconnect(slot, turn);
            }
            State::Idle => self.lose(slot, "an idle connection was closed"),
            State::Head => self.lose(slot, "closed before the response"),
            State::Body { .. } => self.lose(slot, "closed within the response"),
        }
    }

    fn reconnect(&mut self, slot: usize, turn: &mut Loop) {
        self.clients[slot].connection = None;
        self.connect(slot, turn);
    }
}

/// What a response's head says, and how much of its body came along.
struct Head {
    length: usize,
    close: bool,
    of_body: usize,
}

impl Client {
    fn new() -> Client {
        Client { connection: None, state: State::Head, partial_head: Vec::new(), request: 0, cookie: Vec::new() }
    }

    fn head(&mut self, bytes: &[u8]) -> io::Result<Option<Head>> {
        if self.partial_head.is_empty() {
            let head = parse(bytes, &mut self.cookie)?;
            if head.is_none() {
                self.partial_head.extend_from_slice(bytes);
            }
            return Ok(head);
        }
        self.partial_head.extend_from_slice(bytes);
        let head = parse(&self.partial_head, &mut self.cookie)?;
        if head.is_some() {
            self.partial_head.clear();
        }
        Ok(head)
    }
}

/// A head, when it is whole; the cookie it gives goes into `cookie` as the field that brings it back.
fn parse(bytes: &[u8], cookie: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    if !head.starts_with(b"HTTP/1.1 200") {
        let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
        return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
    }
    let (mut length, mut close) = (None, false);
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        if let Some(value) = field(line, b"content-length:") {
            length = value.parse().ok();
        } else if let Some(value) = field(line, b"connection:") {
            close = value == "close";
        } else if let Some(value) = field(line, b"set-cookie:") {
            let pair = value.split(';').next().unwrap_or(value);
            *cookie = format!("Cookie: {pair}\r\n").into_bytes();
        }
    }
    let length = length.ok_or_else(|| io::Error::other("a response without Content-Length"))?;
    Ok(Some(Head { length, close, of_body: bytes.len() - end - 4 }))
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let (start, value) = line.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    std::str::from_utf8(value).ok().map(str::trim)
}

/// What the hosts of `Manner::Hosts` are called.
pub fn host(number: usize) -> String {
    format!("site{number:04}.example.com")
}

fn request(number: usize, manner: Manner) -> Vec<u8> {
    let (method, more) = match manner {
        Manner::Close => ("GET", "Connection: close\r\n".to_owned()),
        Manner::Post => ("POST", format!("Content-Length: {POSTED}\r\n")),
        _ => ("GET", String::new()),
    };
    let host = if manner == Manner::Hosts { host(number) } else { "www.example.com".to_owned() };
    let mut request = format!(
        "{method} /item/{number:04} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fairlead-bench\r\nAccept: */*\r\n\
         {more}\r\n"
    )
    .into_bytes();
    if manner == Manner::Post {
        request.resize(request.len() + POSTED, b'p');
    }
    request
}

/// A request without a body, and one field more.
fn with_field(request: &[u8], field: &[u8]) -> Vec<u8> {
    let head = request.strip_suffix(b"\r\n").unwrap_or(request);
    [head, field, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whole_or_not_at_all() {
        let text = b"HTTP/1.1 200 OK\r\nCONTENT-length: 5\r\nConnection: close\r\n\r\nhel";
        let mut client = Client::new();
        for cut in 1..text.len() - 4 {
            assert!(client.head(&text[..cut]).is_ok_and(|head| head.is_none()), "cut at {cut}");
            let head = client.head(&text[cut..]).ok().flatten();
            assert!(head.is_some_and(|head| head.length == 5 && head.of_body == 3 && head.close), "cut at {cut}");
        }
    }

    #[test]
    fn a_cookie_comes_back_as_a_field_of_the_next_request() {
        let mut client = Client::new();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: to=s1; path=/\r\n\r\n";
        assert!(client.head(answer).is_ok_and(|head| head.is_some()));
        let request = with_field(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &client.cookie);
        assert_eq!(request, b"GET / HTTP/1.1\r\nHost: a\r\nCookie: to=s1\r\n\r\n");
    }

    #[test]
    fn what_is_not_a_200_with_a_length_is_an_error() {
        for text in ["HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(parse(text.as_bytes(), &mut Vec::new()).is_err(), "{text}");
        }
    }
}
