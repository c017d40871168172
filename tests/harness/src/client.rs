//! A raw HTTP client: what is sent is exactly what the test wrote, what is read is kept as it came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::tcp_peer::{connect, connect_from, try_connect};

/// One answer, as it came.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status line and header, without the empty line.
    pub head: String,
    /// The body without its chunked framing.
    pub body: Vec<u8>,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    pub fn status_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Names and values, in order and as spelled.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        headers_of(&self.head)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn headers_of(head: &str) -> Vec<(&str, &str)> {
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name, value.trim())).collect()
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One GET on a connection of its own, which the server closes.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).request(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        Client { stream: connect(address), buffer: Vec::new() }
    }

    pub fn try_connect(address: SocketAddr) -> std::io::Result<Client> {
        Ok(Client { stream: try_connect(address)?, buffer: Vec::new() })
    }

    /// Connect from a loopback address of one's own.
    #[track_caller]
    pub fn connect_from(source: &str, address: SocketAddr) -> Client {
        Client { stream: connect_from(source, address), buffer: Vec::new() }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Send; an error is not the test's failure yet (the server may have answered and closed).
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Tell the server that nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Send a request and read its answer.
    #[track_caller]
    pub fn request(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let is_head = bytes.as_ref().starts_with(b"HEAD ");
        self.send(bytes);
        if is_head { self.response_without_body() } else { self.response() }
    }

    /// A GET that keeps the connection.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Read one answer.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Read one answer to a HEAD request.
    #[track_caller]
    pub fn response_without_body(&mut self) -> Response {
        let head = self.read_head().unwrap_or_else(|error| panic!("no answer: {error}"));
        Response { head, body: Vec::new() }
    }

    pub fn try_response(&mut self) -> Result<Response, String> {
        let head = self.read_head()?;
        let mut response = Response { head, body: Vec::new() };
        response.body = match response.status() {
            100..=199 | 204 | 304 => Vec::new(),
            _ if response.header("transfer-encoding") == Some("chunked") => self.read_chunks()?,
            _ => match response.header("content-length") {
                Some(length) => self.read_bytes(length.parse().map_err(|_| format!("bad length {length}"))?)?,
                None => self.try_rest()?,
            },
        };
        Ok(response)
    }

    /// Everything until the server closes.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        self.try_rest().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Has the server closed its side, with nothing left to read? A reset counts as closed.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        match self.try_rest() {
            Ok(rest) => assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert!(error.contains("reset"), "not closed: {error}"),
        }
    }

    /// Exactly `count` bytes that are no HTTP message (after an upgrade, say).
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.read_bytes(count).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, when not being closed is one of the results to expect.
    pub fn try_rest(&mut self) -> Result<Vec<u8>, String> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn read_head(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).take(end).collect();
                return Ok(head.iter().map(|byte| char::from(*byte)).collect());
            }
            if self.fill()? == 0 {
                return Err(format!("closed after {:?}", String::from_utf8_lossy(&self.buffer)));
            }
        }
    }

    fn read_bytes(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(format!("closed after {} of {count} bytes", self.buffer.len()));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| format!("bad chunk size {line:?}"))?;
            body.extend(self.read_bytes(size)?);
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(body);
            }
            self.read_bytes(2)?;
        }
    }

    fn read_line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.fill()? == 0 {
                return Err("closed inside a chunked body".into());
            }
        }
    }

    fn fill(&mut self) -> Result<usize, String> {
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
