//! The response's body on its way through: decoded from the peer's framing,
//! put into the client's, never kept.

use crate::client::Client;
use crate::exchange::Exchange;
use crate::h1::{Chunked, Event, Framing, push_chunk_size};
use crate::proxy::attempt::Attempt;
use crate::proxy::pool::PeerConnection;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// So much of a body that nobody hears is read to keep the peer's connection.
const MOST_UNHEARD: u64 = 64 << 10;

/// How the body goes to the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToClient {
    pub chunked: bool,
    /// Keep the client's connection afterwards.
    pub keep: bool,
}

/// A body in transit.
pub(super) struct Transfer {
    from_peer: FromPeer,
    pub to_client: ToClient,
    /// Body bytes from the peer so far.
    pub received: u64,
}

enum FromPeer {
    Done,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Why a body ended before its end.
#[derive(Debug)]
pub(super) enum Cut {
    PeerClosed,
    PeerFailed(io::Error),
    PeerTimedOut,
    PeerBroken,
    ClientGone,
    ClientTimedOut,
}

impl Transfer {
    pub fn new(framing: Framing, to_client: ToClient) -> Transfer {
        let from_peer = match framing {
            Framing::None | Framing::Length(0) => FromPeer::Done,
            Framing::Length(length) => FromPeer::Length(length),
            Framing::Chunked => FromPeer::Chunked(Chunked::default()),
            Framing::UntilClose => FromPeer::UntilClose,
        };
        Transfer { from_peer, to_client, received: 0 }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.from_peer, FromPeer::Done)
    }

    /// Takes what the peer sent, which is at the front of `bytes`, and sends it on behind `head`.
    /// What follows the end of the body is nobody's: the peer's connection is then not reused.
    pub fn pass(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        head: &[u8],
        bytes: &mut [u8],
    ) -> Result<bool, Cut> {
        let (len, extra) = self.take(bytes)?;
        let body = bytes.get(..len).unwrap_or_default();
        self.received += len as u64;
        self.send(cx, client, head, body).map_err(|_| Cut::ClientGone)?;
        Ok(extra)
    }

    fn send(&self, cx: &mut Context<'_>, client: &mut Client, head: &[u8], body: &[u8]) -> io::Result<()> {
        if !self.to_client.chunked {
            return client.send(cx, [head, body, b"", b""]);
        }
        let mut size = Vec::with_capacity(20);
        let tail: &[u8] = match (body.is_empty(), self.is_done()) {
            (true, true) => b"0\r\n\r\n",
            (true, false) => b"",
            (false, true) => b"\r\n0\r\n\r\n",
            (false, false) => b"\r\n",
        };
        if !body.is_empty() {
            push_chunk_size(body.len(), &mut size);
        }
        client.send(cx, [head, &size, body, tail])
    }

    /// Moves the body bytes in `bytes` to its front; gives their number and whether more followed.
    fn take(&mut self, bytes: &mut [u8]) -> Result<(usize, bool), Cut> {
        match &mut self.from_peer {
            FromPeer::Done => Ok((0, !bytes.is_empty())),
            FromPeer::UntilClose => Ok((bytes.len(), false)),
            FromPeer::Length(left) => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= len as u64;
                if *left == 0 {
                    self.from_peer = FromPeer::Done;
                }
                Ok((len, len < bytes.len()))
            }
            FromPeer::Chunked(decoder) => {
                let (mut len, mut used) = (0, 0);
                loop {
                    let rest = bytes.get(used..).unwrap_or_default();
                    let (step, event) = decoder.next(rest).map_err(|_| Cut::PeerBroken)?;
                    used += step;
                    match event {
                        Event::Data(data) => {
                            bytes.copy_within(used - data..used, len);
                            len += data;
                        }
                        Event::NeedMore => return Ok((len, false)),
                        Event::End => {
                            self.from_peer = FromPeer::Done;
                            return Ok((len, used < bytes.len()));
                        }
                    }
                }
            }
        }
    }

    /// Passes on the rest of the body, and what is left of the request's; true when the peer's
    /// connection can be used again.
    pub async fn run(
        &mut self,
        client: &mut Client,
        peer: &mut PeerConnection,
        exchange: &mut Exchange,
        attempt: &mut Attempt<'_>,
    ) -> Result<bool, Cut> {
        if self.is_done() && client.is_flushed() {
            return Ok(true);
        }
        let mut extra = false;
        let mut waits = Waits::Nothing;
        poll_fn(|cx| {
            if !exchange.body.is_done() || !attempt.pump.is_idle() {
                // A peer that has answered may stop reading: its answer still goes through.
                let _ = attempt.pump.poll(cx, client, peer, exchange);
            }
            loop {
                match client.poll_flush(cx) {
                    Poll::Ready(flushed) => flushed.map_err(|_| Cut::ClientGone)?,
                    Poll::Pending => {
                        waits.begin(Waits::Client(client.sent), client, exchange.location.send_timeout);
                        return client.deadline.poll(cx).map(|_| Err(Cut::ClientTimedOut));
                    }
                }
                if self.is_done() {
                    return Poll::Ready(Ok(!extra));
                }
                if client.is_muted() && self.received > MOST_UNHEARD {
                    return Poll::Ready(Ok(false));
                }
                match self.poll_step(cx, client, peer, exchange) {
                    Poll::Ready(step) => extra |= step?,
                    Poll::Pending => {
                        waits.begin(Waits::Peer(self.received), client, attempt.proxy.read_timeout);
                        return client.deadline.poll(cx).map(|_| Err(Cut::PeerTimedOut));
                    }
                }
            }
        })
        .await
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        peer: &mut PeerConnection,
        exchange: &Exchange,
    ) -> Poll<Result<bool, Cut>> {
        exchange.worker.context.scratch.with_read(|buffer| {
            let read = match ready!(peer.stream.poll_read(cx, buffer)) {
                Ok(read) => read,
                Err(error) => return Poll::Ready(Err(Cut::PeerFailed(error))),
            };
            if read == 0 {
                return Poll::Ready(self.end(cx, client).map(|()| true));
            }
            Poll::Ready(self.pass(cx, client, b"", buffer.get_mut(..read).unwrap_or_default()))
        })
    }

    /// The peer closed: the end of a body without length, the cut of any other.
    pub fn end(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Result<(), Cut> {
        if !matches!(self.from_peer, FromPeer::UntilClose) {
            return Err(Cut::PeerClosed);
        }
        self.from_peer = FromPeer::Done;
        self.send(cx, client, b"", b"").map_err(|_| Cut::ClientGone)
    }
}

/// Which side the present deadline is for, with its byte count when the wait began: progress
/// starts the wait anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nothing,
    Peer(u64),
    Client(u64),
}

impl Waits {
    fn begin(&mut self, wait: Waits, client: &mut Client, timeout: Duration) {
        if *self != wait {
            *self = wait;
            client.deadline.set(timeout);
        }
    }
}
