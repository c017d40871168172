//! One probe of one peer: connects, asks, and judges the answer.
//!
//! Owns its sockets for as long as it takes and keeps nothing; everything it
//! waits for has a timeout, everything it reads has a bound.

use crate::health::matching::{Match, Mismatch};
use crate::health::{Check, Kind};
use crate::log::OsError;
use crate::net::{Address, Stream};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
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
}

const CONNECTING: &str = "connecting to upstream";
const SENDING: &str = "sending request to upstream";
const READING: &str = "reading response from upstream";
const STATUS: &str = "checking status code";
const HEADER: &str = "checking header";
const BODY_DATA: &str = "checking body";
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
            Reason::Impossible => write!(f, "a Unix socket takes no datagrams while {doing}"),
        }
    }
}

/// Probes a peer once.
///
/// # Errors
/// Why it did not pass.
pub(super) async fn probe(check: &Check, peer: &Address) -> Result<(), Failure> {
    let address = match (peer, check.settings.port) {
        (Address::Ip(address), Some(port)) => Address::Ip(SocketAddr::new(address.ip(), port)),
        _ => peer.clone(),
    };
    match &check.kind {
        Kind::Tcp => tcp(check, &address).await,
        Kind::Udp => udp(check, &address).await,
        // Its future is large, and most peers are not being probed.
        Kind::Http { host } => Box::pin(http(check, &address, host)).await,
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

async fn http(check: &Check, address: &Address, host: &str) -> Result<(), Failure> {
    let stream = within(check.connect_timeout, CONNECTING, Stream::connect(address)).await?;
    let waited = timeout(check.read_timeout, ask(check, stream, host)).await;
    waited.unwrap_or(Err(Failure::new(READING, Reason::TimedOut)))
}

/// Sends the request and judges the answer, driving the connection meanwhile.
async fn ask(check: &Check, stream: Stream, host: &str) -> Result<(), Failure> {
    let sending = |error: hyper::Error| Failure::new(SENDING, error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(sending)?;
    let request = Request::get(&*check.settings.uri)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::new(SENDING, Reason::Io(io::Error::other(error))))?;
    let judged = async {
        let response = sender.send_request(request).await;
        judge(check, response.map_err(|error| Failure::new(READING, error.into()))?).await
    };
    tokio::pin!(judged, connection);
    tokio::select! {
        biased;
        verdict = &mut judged => verdict,
        // The connection ends before its answer has been looked at: what there is decides.
        _ = &mut connection => judged.await,
    }
}

async fn judge(check: &Check, response: Response<Incoming>) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let Some(matching) = &check.matching else {
        let passed = (200..400).contains(&status);
        return if passed { Ok(()) } else { Err(Failure::new(STATUS, Reason::Status(status))) };
    };
    matching.head(status, response.headers()).map_err(|mismatch| match mismatch {
        Mismatch::Status => Failure::new(STATUS, Reason::Status(status)),
        Mismatch::Header => Failure::new(HEADER, Reason::Unexpected),
        Mismatch::Body => Failure::new(BODY_DATA, Reason::Unexpected),
    })?;
    if !matching.wants_body() {
        return Ok(());
    }
    let body = read_body(response.into_body()).await.map_err(|error| Failure::new(READING, error.into()))?;
    matching.body(&body).map_err(|_| Failure::new(BODY_DATA, Reason::Unexpected))
}

/// Its first [`BODY`] bytes.
async fn read_body(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = BODY - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
        if bytes.len() >= BODY {
            break;
        }
    }
    Ok(bytes)
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
