//! The request on its way to the peer: head and buffered body first, then the
//! rest of the body as the client sends it, one buffer at a time.

use crate::body::BodyError;
use crate::client::Client;
use crate::exchange::Exchange;
use crate::h1::push_chunk_size;
use crate::proxy::pool::PeerConnection;
use std::io;
use std::task::{Context, Poll, ready};

pub(super) struct Pump<'a> {
    /// What any try begins with.
    initial: &'a [u8],
    at: usize,
    /// The present part of the streamed rest.
    part: Vec<u8>,
    part_at: usize,
    chunked: bool,
    /// Part of the body has gone to this peer and is not kept: no other peer can have it.
    pub streamed: bool,
    pub sent: u64,
}

pub(super) enum PumpError {
    Peer(io::Error),
    Client(BodyError),
}

impl<'a> Pump<'a> {
    pub fn new(initial: &'a [u8], chunked: bool) -> Pump<'a> {
        Pump { initial, at: 0, part: Vec::new(), part_at: 0, chunked, streamed: false, sent: 0 }
    }

    /// Ready when the peer has the whole request.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        peer: &mut PeerConnection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            ready!(self.poll_write(cx, peer)).map_err(PumpError::Peer)?;
            if exchange.body.is_done() {
                return Poll::Ready(Ok(()));
            }
            self.streamed = true;
            self.part.clear();
            self.part_at = 0;
            ready!(exchange.poll_body(cx, client, &mut self.part)).map_err(PumpError::Client)?;
            if self.chunked {
                frame(&mut self.part, exchange.body.is_done());
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, peer: &mut PeerConnection) -> Poll<io::Result<()>> {
        loop {
            let initial = self.initial.get(self.at..).unwrap_or_default();
            let part = self.part.get(self.part_at..).unwrap_or_default();
            let (at, rest) = match (initial, part) {
                ([], []) => return Poll::Ready(Ok(())),
                ([], part) => (&mut self.part_at, part),
                (initial, _) => (&mut self.at, initial),
            };
            let written = ready!(peer.stream.poll_write(cx, rest))?;
            *at += written;
            self.sent += written as u64;
        }
    }

    /// Once more from the start; only while nothing was streamed.
    pub fn restart(&mut self) {
        self.at = 0;
        self.sent = 0;
    }

    /// All that is ready has been written.
    pub fn is_idle(&self) -> bool {
        self.at == self.initial.len() && self.part_at == self.part.len()
    }
}

/// Puts body bytes into a chunk; `last` adds the end of the body.
pub(super) fn frame(body: &mut Vec<u8>, last: bool) {
    let bytes = std::mem::take(body);
    if !bytes.is_empty() {
        push_chunk_size(bytes.len(), body);
        body.extend_from_slice(&bytes);
        body.extend_from_slice(b"\r\n");
    }
    if last {
        body.extend_from_slice(b"0\r\n\r\n");
    }
}
