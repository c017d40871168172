//! As much of WebSocket (RFC 6455) as a test of a proxy needs: the opening, and short text messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::Client;

/// The sample key of RFC 6455, section 1.3, and the answer that belongs to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const TEXT: u8 = 0x81;
const MASK: [u8; 4] = [7, 11, 13, 17];

/// The client's side of one connection.
pub struct WebSocket(Client);

impl WebSocket {
    #[track_caller]
    pub fn connect(address: SocketAddr, path: &str) -> WebSocket {
        let mut client = Client::connect(address);
        let answer = client.request(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ));
        assert_eq!(answer.status(), 101, "{}", answer.head);
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT), "{}", answer.head);
        WebSocket(client)
    }

    /// Send a message of at most 125 bytes and wait for the one that comes back.
    #[track_caller]
    pub fn ask(&mut self, message: &str) -> String {
        let masked = message.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut frame = vec![TEXT, 0x80 | message.len() as u8];
        frame.extend(MASK);
        frame.extend(masked);
        self.0.send(frame);
        let header = self.0.bytes(2);
        assert_eq!(header[0], TEXT, "a whole text message");
        String::from_utf8_lossy(&self.0.bytes(header[1].into())).into_owned()
    }
}

/// The server's side: agree, then send every message back.
pub(crate) fn accept_and_echo(stream: &mut TcpStream) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).is_ok() {
        while echo_one(stream).is_ok() {}
    }
}

fn echo_one(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let mut message = vec![0; usize::from(header[1] & 0x7f)];
    stream.read_exact(&mut message)?;
    let mut frame = vec![TEXT, message.len() as u8];
    frame.extend(message.iter().zip(header[2..].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    stream.write_all(&frame)
}
