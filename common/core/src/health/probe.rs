//! One probe of one peer: connects, asks, and judges the answer.
//!
//! Owns its sockets for as long as it takes and keeps nothing; everything it
//! waits for has a timeout, everything it reads has a bound.

use crate::clock::{Tick, tick};
use crate::health::matching::{Match, Mismatch};
use crate::health::{Answered, Check, Judge, Kind};
use crate::log::OsError;
use crate::net::{Address, Stream};
use crate::upstream::Peer;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// As much of an HTTP body is looked at, as in nginx.
const BODY: usize = 256 * 1024;

/// As much of a TCP answer is looked at: nginx's `proxy_buffer_size`.
const ANSWER: usize = 16 * 1024;

/// How long the silence of a UDP peer has to last to be taken for health.
const SILENCE: Duration = Duration::from_secs(1);

/// What nginx sends to a UDP peer when no `match` says anything else.
const DATAGRAM: &[u8] = b"nginx health check";

const USER_AGENT: &str = concat!("fairlead/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Why a peer did not pass.
#[derive(Debug)]
pub(super) struct Failure {
    /// What was being done, in nginx's words: `connecting to upstream`.
    pub doing: &'static str,
    pub reason: Reason,
}

#[derive(Debug)]
pub(super) enum Reason {
    Io(io::Error),
    Http(hyper::Error),
    Status(u16),
    TimedOut,
    /// The answer ended, or grew too long, without what is expected.
    Unexpected,
    /// UDP does not go to a Unix socket.
    Impossible,
    /// A connection that was kept had been closed: a new one is to be made.
    Stale,
}

const CONNECTING: &str = "connecting to upstream";
const SENDING: &str = "sending request to upstream";
const READING: &str = "reading response from upstream";
const STATUS: &str = "checking status code";
const HEADER: &str = "checking header";
const BODY_DATA: &str = "checking body";
const REQUIRED: &str = "checking required variables";
const DATA: &str = "checking response data";

impl Failure {
    fn new(doing: &'static str, reason: Reason) -> Failure {
        Failure { doing, reason }
    }

    /// This machine has run out of something: that says nothing about the peer.
    pub(super) fn is_ours(&self) -> bool {
        const OURS: [i32; 6] =
            [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL, libc::EADDRINUSE];
        matches!(&self.reason, Reason::Io(error) if error.raw_os_error().is_some_and(|code| OURS.contains(&code)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = self.doing;
        match &self.reason {
            Reason::Io(error) if doing == CONNECTING => write!(f, "connect() failed {} while {doing}", OsError(error)),
            Reason::Io(error) => write!(f, "{} while {doing}", OsError(error)),
            Reason::Http(error) => write!(f, "upstream sent no valid answer ({error}) while {doing}"),
            Reason::Status(status) => write!(f, "upstream sent status {status} while {doing}"),
            Reason::TimedOut => write!(f, "upstream timed out (110: Connection timed out) while {doing}"),
            Reason::Unexpected => write!(f, "upstream sent an unexpected answer while {doing}"),
            Reason::Stale => write!(f, "the connection was closed while {doing}"),
            Reason::Impossible => write!(f, "a Unix socket takes no datagrams while {doing}"),
        }
    }
}

/// Probes a peer once.
///
/// # Errors
/// Why it did not pass.
pub(super) async fn probe(check: &Check, peer: &Arc<Peer>, line: &mut Option<Line>) -> Result<(), Failure> {
    let address = match (&peer.address, check.settings.port) {
        (Address::Ip(address), Some(port)) => Address::Ip(SocketAddr::new(address.ip(), port)),
        (address, _) => address.clone(),
    };
    match &check.kind {
        Kind::Tcp => tcp(check, &address).await,
        Kind::Udp => udp(check, &address).await,
        // Its future is large, and most peers are not being probed.
        Kind::Http { fields } => Box::pin(http(check, peer, (&address, fields), line)).await,
    }
}

/// `within` the time, or the failure of `doing` that.
async fn within<T, E>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure>
where
    Reason: From<E>,
{
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| Failure::new(doing, error.into())),
        Err(_) => Err(Failure::new(doing, Reason::TimedOut)),
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Reason {
        Reason::Io(error)
    }
}

impl From<hyper::Error> for Reason {
    fn from(error: hyper::Error) -> Reason {
        Reason::Http(error)
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        Failure::new(DATA, reason)
    }
}

async fn tcp(check: &Check, address: &Address) -> Result<(), Failure> {
    let mut stream = within(check.connect_timeout, CONNECTING, Stream::connect(address)).await?;
    let Some(matching) = &check.matching else { return Ok(()) };
    let answered = async {
        if let Some(bytes) = matching.send() {
            send(&stream, bytes).await.map_err(|error| Failure::new(SENDING, error.into()))?;
        }
        if matching.expects() { receive(&mut stream, matching).await } else { Ok(()) }
    };
    let waited = timeout(check.read_timeout, answered).await;
    waited.unwrap_or(Err(Failure::new(READING, Reason::TimedOut)))
}

async fn send(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        poll_fn(|cx| stream.poll_write_ready(cx)).await;
        match stream.try_write(bytes) {
            Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the answer is what is expected, ends, or is too long.
async fn receive(stream: &mut Stream, matching: &Match) -> Result<(), Failure> {
    let mut answer = vec![0; ANSWER];
    let mut filled = 0;
    loop {
        let room = answer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Err(Reason::Unexpected.into());
        }
        let read = poll_fn(|cx| stream.poll_read(cx, room)).await;
        match read.map_err(|error| Failure::new(READING, error.into()))? {
            0 => return Err(Reason::Unexpected.into()),
            count => filled += count,
        }
        match matching.is_answer(answer.get(..filled).unwrap_or_default()) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(_) => return Err(Reason::Unexpected.into()),
        }
    }
}

async fn udp(check: &Check, address: &Address) -> Result<(), Failure> {
    let Address::Ip(address) = address else { return Err(Failure::new(CONNECTING, Reason::Impossible)) };
    let matching = check.matching.as_deref();
    let socket = open(*address).await.map_err(|error| Failure::new(CONNECTING, error.into()))?;
    let bytes = matching.and_then(Match::send).unwrap_or(DATAGRAM);
    socket.send(bytes).await.map_err(|error| Failure::new(SENDING, error.into()))?;
    let mut answer = vec![0; ANSWER];
    let Some(matching) = matching.filter(|matching| matching.expects()) else {
        // No answer is asked for: only "destination unreachable" tells that nobody is there.
        return match timeout(check.read_timeout.min(SILENCE), socket.recv(&mut answer)).await {
            Ok(Err(error)) => Err(Failure::new(READING, error.into())),
            Ok(Ok(_)) | Err(_) => Ok(()),
        };
    };
    let length = within(check.read_timeout, READING, socket.recv(&mut answer)).await?;
    match matching.is_answer(answer.get(..length).unwrap_or_default()) {
        Ok(true) => Ok(()),
        _ => Err(Reason::Unexpected.into()),
    }
}

async fn open(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(peer).await?;
    Ok(socket)
}

/// A connection that speaks HTTP/1.1.
pub(super) struct Line {
    sender: http1::SendRequest<Empty<Bytes>>,
    connection: Pin<Box<http1::Connection<TokioIo<Stream>, Empty<Bytes>>>>,
    opened: Tick,
    reused: bool,
}

type Fields = [(Box<str>, Box<[u8]>)];

async fn http(
    check: &Check,
    peer: &Arc<Peer>,
    (address, fields): (&Address, &Fields),
    line: &mut Option<Line>,
) -> Result<(), Failure> {
    let time = check.settings.keepalive_time;
    let known = line.take().filter(|line| tick().since(line.opened) < time);
    if let Some(known) = known {
        let asked = timeout(check.read_timeout, ask(check, peer, fields, known)).await;
        match asked.unwrap_or_else(|_| (Err(Failure::new(READING, Reason::TimedOut)), None)) {
            // It was closed while nobody used it, which is no fault.
            (Err(Failure { reason: Reason::Stale, .. }), _) => {}
            (verdict, left) => {
                *line = left;
                return verdict;
            }
        }
    }
    let opened = tick();
    let stream = within(check.connect_timeout, CONNECTING, Stream::connect(address)).await?;
    let asked = async {
        match http1::handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                let new = Line { sender, connection: Box::pin(connection), opened, reused: false };
                ask(check, peer, fields, new).await
            }
            Err(error) => (Err(Failure::new(SENDING, error.into())), None),
        }
    };
    let waited = timeout(check.read_timeout, asked).await;
    let (verdict, left) = waited.unwrap_or_else(|_| (Err(Failure::new(READING, Reason::TimedOut)), None));
    *line = left;
    verdict
}

/// Sends the request and judges the answer, driving the connection meanwhile. Gives the connection
/// back when another request may follow.
async fn ask(check: &Check, peer: &Arc<Peer>, fields: &Fields, line: Line) -> (Result<(), Failure>, Option<Line>) {
    let Line { mut sender, mut connection, opened, reused } = line;
    let keeps = !check.settings.keepalive_time.is_zero();
    let request = match request(check, fields, keeps) {
        Ok(request) => request,
        Err(failure) => return (Err(failure), None),
    };
    let began = if reused { tick() } else { opened };
    let connect_time = tick().since(began);
    let failed = |error: hyper::Error| match reused
        && (error.is_canceled() || error.is_closed() || error.is_incomplete_message())
    {
        true => Failure::new(SENDING, Reason::Stale),
        false => Failure::new(READING, error.into()),
    };
    let judged = async {
        sender.ready().await.map_err(failed)?;
        let response = sender.send_request(request).await.map_err(failed)?;
        judge(check, response, (peer, began, connect_time), keeps).await
    };
    let verdict = {
        tokio::pin!(judged);
        let first = tokio::select! {
            biased;
            verdict = &mut judged => Some(verdict),
            _ = &mut connection => None,
        };
        match first {
            Some(verdict) => verdict,
            // The connection has ended before its answer was looked at: what there is decides. Those who
            // wait for the connection learn it when it is gone.
            None => {
                drop(connection);
                return (judged.await.map(|_| ()), None);
            }
        }
    };
    match verdict {
        Ok(true) if keeps => (Ok(()), Some(Line { sender, connection, opened, reused: true })),
        verdict => (verdict.map(|_| ()), None),
    }
}

fn request(check: &Check, fields: &Fields, keeps: bool) -> Result<Request<Empty<Bytes>>, Failure> {
    let mut request = Request::get(&*check.settings.uri);
    let named = |name: &str| fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    for (name, value) in fields {
        request = request.header(&**name, &**value);
    }
    if !keeps {
        request = request.header(header::CONNECTION, "close");
    }
    if !named("user-agent") {
        request = request.header(header::USER_AGENT, USER_AGENT);
    }
    let made = request.body(Empty::<Bytes>::new());
    made.map_err(|error| Failure::new(SENDING, Reason::Io(io::Error::other(error))))
}

/// Whether all of the answer was read, if it is a good one.
async fn judge(
    check: &Check,
    response: Response<Incoming>,
    (peer, began, connect_time): (&Arc<Peer>, Tick, Duration),
    keeps: bool,
) -> Result<bool, Failure> {
    let status = response.status().as_u16();
    let header_time = tick().since(began);
    let matching = check.matching.as_deref();
    match matching {
        None if (200..400).contains(&status) => {}
        None => return Err(Failure::new(STATUS, Reason::Status(status))),
        Some(matching) => matching.head(status, response.headers()).map_err(|mismatch| match mismatch {
            Mismatch::Status => Failure::new(STATUS, Reason::Status(status)),
            Mismatch::Header => Failure::new(HEADER, Reason::Unexpected),
            Mismatch::Body => Failure::new(BODY_DATA, Reason::Unexpected),
        })?,
    }
    let wants_body = matching.is_some_and(Match::wants_body);
    if !wants_body && !keeps && check.judge.is_none() {
        return Ok(false);
    }
    let head = if check.judge.is_some() { head_text(&response) } else { Vec::new() };
    let (body, whole) = read_body(response.into_body()).await.map_err(|error| Failure::new(READING, error.into()))?;
    if let Some(matching) = matching.filter(|_| wants_body) {
        matching.body(&body).map_err(|_| Failure::new(BODY_DATA, Reason::Unexpected))?;
    }
    let (response_time, length) = (tick().since(began), body.len() as u64);
    let answered =
        Answered { peer: peer.clone(), status, head, began, connect_time, header_time, response_time, length };
    match &check.judge {
        Some(Judge(judge)) if !judge(&answered) => Err(Failure::new(REQUIRED, Reason::Unexpected)),
        _ => Ok(whole),
    }
}

fn head_text(response: &Response<Incoming>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Its first [`BODY`] bytes, and whether there are no more.
async fn read_body(mut body: Incoming) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = BODY - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
        if bytes.len() >= BODY {
            return Ok((bytes, false));
        }
    }
    Ok((bytes, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_not_the_peer_s_fault() {
        let failure = |code| Failure::new(CONNECTING, Reason::Io(io::Error::from_raw_os_error(code)));
        assert!(failure(libc::EMFILE).is_ours());
        assert!(!failure(libc::ECONNREFUSED).is_ours());
        assert!(!Failure::new(READING, Reason::TimedOut).is_ours());
    }
}
