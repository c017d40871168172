//! Long stretches of a response's body that go from the peer to the client through a pipe, uncopied:
//! nothing has to look at them, and the client keeps up.

use super::transfer::{Cut, FromPeer, Transfer};
use crate::client::Client;
use crate::proxy::pool::PeerConnection;
use fairlead_core::net::Passed;
use std::io;
use std::task::{Context, Poll, ready};

/// Less than this costs less to copy than to splice.
const STRETCH: u64 = 16 << 10;

/// A body from this length on is long: its head is best read alone.
const LONG: u64 = 32 << 10;

impl Transfer {
    /// Nothing looked at this body, and it was long.
    pub fn is_long(&self) -> bool {
        !self.copies && self.received >= LONG
    }

    /// How much may go on without being looked at.
    pub(super) fn stretch(&self, client: &Client) -> Option<usize> {
        if self.copies
            || client.is_muted()
            || client.is_lent()
            || client.throttle.is_some()
            || self.limit.is_some()
            || self.store.is_some()
        {
            return None;
        }
        match self.from_peer {
            FromPeer::Length(left) if left >= STRETCH => Some(usize::try_from(left).unwrap_or(usize::MAX)),
            FromPeer::UntilClose if self.received >= LONG => Some(usize::MAX),
            _ => None,
        }
    }

    /// Moves what has come of such a stretch; ready with `None` when there is none, or it has to be copied after all.
    pub(super) fn poll_uncopied(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        peer: &PeerConnection,
    ) -> Poll<Option<Result<(), Cut>>> {
        let Some(most) = self.stretch(client) else { return Poll::Ready(None) };
        let Client { stream, ticket, .. } = &*client;
        let passed = self.conduit.poll_pass(cx, (&peer.stream, stream), &ticket.scratch().pipes, most);
        if std::mem::take(&mut self.corked) && !matches!(passed, Poll::Ready(Ok(Passed::Bytes { .. }))) {
            stream.push();
        }
        match ready!(passed) {
            Ok(Passed::Bytes { read, written }) => {
                client.sent += written as u64;
                self.went(read as u64);
                Poll::Ready(Some(Ok(())))
            }
            Ok(Passed::Failed(error)) => Poll::Ready(Some(Err(Cut::PeerFailed(error)))),
            Ok(Passed::Unspliceable | Passed::Nothing) => {
                self.copies = true;
                Poll::Ready(None)
            }
            Err(_) => Poll::Ready(Some(Err(Cut::ClientGone))),
        }
    }

    /// So many bytes of the body are on their way without having been looked at.
    fn went(&mut self, count: u64) {
        self.received += count;
        self.later += count;
        if let FromPeer::Length(left) = &mut self.from_peer {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.from_peer = FromPeer::Done;
            }
        }
    }

    /// Ready when the client has taken all that is in the pipe.
    pub(super) fn poll_conduit(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<io::Result<()>> {
        while self.conduit.is_stuck() {
            let Client { stream, ticket, .. } = &*client;
            let sent = ready!(self.conduit.poll_flush(cx, stream, &ticket.scratch().pipes))?;
            client.sent += sent as u64;
        }
        Poll::Ready(Ok(()))
    }
}
