//! The request on its way to the peer: head and what was taken in of the body first, then the
//! rest of it as the client sends it, one buffer at a time.

use crate::body::{BodyError, Taken};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::h1::push_chunk_size;
use crate::proxy::pool::PeerConnection;
use crate::proxy::request::BodyFraming;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

pub(super) struct Pump<'a> {
    /// What any try begins with.
    initial: &'a [u8],
    at: usize,
    /// What follows: from memory or from a file.
    body: &'a Taken,
    body_at: u64,
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
    /// Of a body in chunks, `initial` has the size line of the chunk that was taken in.
    pub fn new(initial: &'a [u8], body: &'a Taken) -> Pump<'a> {
        let chunked = body.framing == BodyFraming::Chunked;
        let part = if chunked && !body.memory.is_empty() { b"\r\n".to_vec() } else { Vec::new() };
        Pump { initial, at: 0, body, body_at: 0, part, part_at: 0, chunked, streamed: false, sent: 0 }
    }

    /// The request is a HEAD.
    pub fn is_head(&self) -> bool {
        self.initial.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HEAD "))
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
            ready!(self.poll_write(cx, peer, exchange)).map_err(PumpError::Peer)?;
            if exchange.body.is_done() {
                return Poll::Ready(Ok(()));
            }
            let mut part = std::mem::take(&mut self.part);
            part.clear();
            let read = exchange.poll_body(cx, client, &mut part);
            self.streamed |= read.is_ready();
            if read.is_ready() && self.chunked {
                frame(&mut part, exchange.body.is_done());
            }
            (self.part, self.part_at) = (part, 0);
            ready!(read).map_err(PumpError::Client)?;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        peer: &mut PeerConnection,
        exchange: &Exchange,
    ) -> Poll<io::Result<()>> {
        loop {
            let initial = self.initial.get(self.at..).unwrap_or_default();
            let memory =
                self.body.memory.get(usize::try_from(self.body_at).unwrap_or(usize::MAX)..).unwrap_or_default();
            let part = self.part.get(self.part_at..).unwrap_or_default();
            let left = self.body.file_length().saturating_sub(self.body_at);
            let written = match (initial, memory, part) {
                ([], [], []) if left == 0 => return Poll::Ready(Ok(())),
                ([], [], part) if left == 0 => {
                    let written = ready!(peer.stream.poll_write(cx, part))?;
                    self.part_at += written;
                    written
                }
                ([], [], _) => {
                    let written = ready!(self.poll_send_file(cx, peer, left))?;
                    self.body_at += written as u64;
                    written
                }
                (initial, memory, _) => {
                    let written = ready!(poll_write_both(cx, peer, exchange, [initial, memory]))?;
                    let of_initial = written.min(initial.len());
                    self.at += of_initial;
                    self.body_at += (written - of_initial) as u64;
                    written
                }
            };
            self.sent += written as u64;
        }
    }

    fn poll_send_file(&self, cx: &mut Context<'_>, peer: &mut PeerConnection, left: u64) -> Poll<io::Result<usize>> {
        let file = self.body.file.as_ref().and_then(|(made, _)| made.file());
        let file = file.ok_or(io::ErrorKind::UnexpectedEof)?;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(FILE_STEP);
        match ready!(peer.stream.poll_send_file(cx, file, (self.body_at, count)))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            sent => Poll::Ready(Ok(sent)),
        }
    }

    /// Once more from the start; only while nothing was streamed.
    pub fn restart(&mut self) {
        (self.at, self.body_at, self.part_at) = (0, 0, 0);
        self.sent = 0;
    }

    /// All that is ready has been written.
    pub fn is_idle(&self) -> bool {
        self.at == self.initial.len()
            && self.part_at == self.part.len()
            && self.body_at == self.body.memory.len() as u64 + self.body.file_length()
    }
}

/// Of a file at once, before others get their turn.
const FILE_STEP: usize = 512 << 10;

/// Up to this many bytes a copy and one plain send cost less than a vectored send.
const FLAT: usize = 16 << 10;

fn poll_write_both(
    cx: &mut Context<'_>,
    peer: &mut PeerConnection,
    exchange: &Exchange,
    parts: [&[u8]; 2],
) -> Poll<io::Result<usize>> {
    match parts {
        [only, []] | [[], only] => peer.stream.poll_write(cx, only),
        [initial, memory] if initial.len() + memory.len() <= FLAT => {
            exchange.worker.context.scratch.with_flat(|flat| {
                flat.extend_from_slice(initial);
                flat.extend_from_slice(memory);
                peer.stream.poll_write(cx, flat)
            })
        }
        [initial, memory] => peer.stream.poll_write_vectored(cx, &[IoSlice::new(initial), IoSlice::new(memory)]),
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
