//! One demo peer: says which port it serves from, over HTTP, TCP or UDP.

use crate::pidfile::reason;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    Tcp,
    Udp,
}

/// Longest line or header field that is read.
const MAX_LINE: u64 = 16 * 1024;
const MAX_FIELDS: usize = 200;
const IDLE: Duration = Duration::from_secs(600);
/// After a failed accept: there may be no descriptor left for now.
const PAUSE: Duration = Duration::from_millis(100);

impl Kind {
    /// What a peer on this port speaks.
    pub fn of(port: u16) -> Option<Kind> {
        match port {
            9101..=9109 => Some(Kind::Http),
            9111..=9119 => Some(Kind::Tcp),
            9121..=9129 => Some(Kind::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Http => "HTTP",
            Kind::Tcp => "TCP",
            Kind::Udp => "UDP",
        })
    }
}

/// Serves until the process ends.
///
/// # Errors
/// Those of `bind`, with the address, and of a UDP socket that fails.
pub fn serve(kind: Kind, port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let failed = |error: io::Error| io::Error::other(format!("bind() to 127.0.0.1:{port} failed ({})", reason(&error)));
    runtime.block_on(async {
        match kind {
            Kind::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
                answer_datagrams(&socket, port).await
            }
            Kind::Http | Kind::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
                accept(&listener, kind, port).await
            }
        }
    })
}

fn greeting(port: u16) -> String {
    format!("Served from port {port}\n")
}

async fn accept(listener: &TcpListener, kind: Kind, port: u16) -> io::Result<()> {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        tokio::spawn(async move {
            // A client that is gone is nobody's trouble.
            let _ = match kind {
                Kind::Http => answer_requests(stream, port).await,
                Kind::Tcp | Kind::Udp => echo(stream, port).await,
            };
        });
    }
}

async fn answer_datagrams(socket: &UdpSocket, port: u16) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let (_, client) = socket.recv_from(&mut buffer).await?;
        // It may have gone meanwhile, which a datagram cannot know.
        let _ = socket.send_to(greeting(port).as_bytes(), client).await;
    }
}

/// Greets, then sends every line back.
async fn echo(mut stream: TcpStream, port: u16) -> io::Result<()> {
    stream.write_all(greeting(port).as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    loop {
        let line = line(&mut stream).await?;
        if line.is_empty() {
            return Ok(());
        }
        stream.write_all(&line).await?;
    }
}

async fn answer_requests(stream: TcpStream, port: u16) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        tokio::io::copy(&mut (&mut stream).take(request.body), &mut tokio::io::sink()).await?;
        let body = greeting(port);
        let connection = if request.keeps { "keep-alive" } else { "close" };
        let length = body.len();
        let body = if request.head { "" } else { &body };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: {connection}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
        if !request.keeps {
            break;
        }
    }
    Ok(())
}

struct Request {
    head: bool,
    /// Bytes that follow the header.
    body: u64,
    keeps: bool,
}

/// `None` at the end of the connection. Bodies with a length only: the balancer before us is asked
/// for more by its own tests.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let first = line(stream).await?;
    if first.is_empty() {
        return Ok(None);
    }
    let first = String::from_utf8_lossy(&first).into_owned();
    let mut request =
        Request { head: first.starts_with("HEAD "), body: 0, keeps: first.trim_end().ends_with("HTTP/1.1") };
    for _ in 0..MAX_FIELDS {
        let field = line(stream).await?;
        let field = String::from_utf8_lossy(&field);
        let Some((name, value)) = field.split_once(':') else { return Ok(Some(request)) };
        let value = value.trim();
        if name.eq_ignore_ascii_case("connection") {
            request.keeps = value.eq_ignore_ascii_case("keep-alive") || (request.keeps && value != "close");
        } else if name.eq_ignore_ascii_case("content-length") {
            request.body = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            request.keeps = false;
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// One line with its end; empty at the end of the stream.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut limited = stream.take(MAX_LINE);
    timeout(IDLE, limited.read_until(b'\n', &mut line)).await??;
    Ok(line)
}
