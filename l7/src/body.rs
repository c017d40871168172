//! The request's body: taken off the client's bytes, decoded, counted. `taken` reads all of it before
//! anybody has it.

mod taken;

pub(crate) use taken::{InFile, Taken};

use crate::client::Client;
use crate::exchange::Exchange;
use crate::h1::{Chunked, Event, RequestBody};
use std::task::{Context, Poll, ready};

/// How much of the body is still to be read.
#[derive(Debug, Default)]
pub(crate) enum BodyReader {
    #[default]
    Done,
    Length(u64),
    Chunked(Chunked),
}

/// Why a body cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client closed or broke the connection.
    Gone,
    /// Not a chunked body.
    Broken,
    /// Longer than `client_max_body_size`.
    TooLarge,
    TimedOut,
    /// It could not be written to a file, which was logged.
    Unwritten,
}

impl BodyReader {
    pub fn new(framing: RequestBody) -> BodyReader {
        match framing {
            RequestBody::None => BodyReader::Done,
            RequestBody::Length(length) => BodyReader::Length(length),
            RequestBody::Chunked => BodyReader::Chunked(Chunked::default()),
        }
    }

    /// The length the client announced, less what was read.
    pub fn announced(&self) -> Option<u64> {
        match self {
            BodyReader::Length(left) => Some(*left),
            BodyReader::Done | BodyReader::Chunked(_) => None,
        }
    }

    /// Nobody knows its length before its end.
    pub fn is_chunked(&self) -> bool {
        matches!(self, BodyReader::Chunked(_))
    }

    pub fn is_done(&self) -> bool {
        matches!(self, BodyReader::Done)
    }

    /// Moves body bytes at the front of `raw` to `out`; gives how many raw bytes were used.
    fn take(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyError> {
        match self {
            BodyReader::Done => Ok(0),
            BodyReader::Length(left) => {
                let len = usize::try_from(*left).map_or(raw.len(), |left| left.min(raw.len()));
                out.extend_from_slice(raw.get(..len).unwrap_or_default());
                *left -= len as u64;
                if *left == 0 {
                    *self = BodyReader::Done;
                }
                Ok(len)
            }
            BodyReader::Chunked(decoder) => {
                let mut used = 0;
                loop {
                    let (step, event) =
                        decoder.next(raw.get(used..).unwrap_or_default()).map_err(|_| BodyError::Broken)?;
                    used += step;
                    match event {
                        Event::Data(len) => out.extend_from_slice(raw.get(used - len..used).unwrap_or_default()),
                        Event::NeedMore => return Ok(used),
                        Event::End => {
                            *self = BodyReader::Done;
                            return Ok(used);
                        }
                    }
                }
            }
        }
    }
}

/// So many bytes of a body may stay behind the head they came with.
const MOST_EARLY: usize = 16 << 10;

impl Exchange {
    /// Appends the body bytes that have arrived to `out`; pending until at least one byte of the
    /// message has come or the body has ended.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        out: &mut Vec<u8>,
    ) -> Poll<Result<(), BodyError>> {
        if self.body.is_done() {
            return Poll::Ready(Ok(()));
        }
        let before = out.len();
        if self.consumed < self.request.buffer.len() {
            let raw = self.request.buffer.get(self.consumed..).unwrap_or_default();
            let used = self.body.take(raw, out)?;
            self.consumed += used;
            self.request_length += used as u64;
            self.forget_early();
            return Poll::Ready(self.count_body(out.len() - before));
        }
        let worker = self.worker.clone();
        let read = worker.context.scratch.with_read(|buffer| {
            let read = ready!(client.stream.poll_read(cx, buffer)).map_err(|_| BodyError::Gone)?;
            if read == 0 {
                return Poll::Ready(Err(BodyError::Gone));
            }
            let raw = buffer.get(..read).unwrap_or_default();
            let used = self.body.take(raw, out)?;
            self.request_length += used as u64;
            // What follows the body is the next request.
            self.request.buffer.extend_from_slice(raw.get(used..).unwrap_or_default());
            self.consumed = self.request.buffer.len() - (read - used);
            Poll::Ready(Ok(()))
        });
        ready!(read)?;
        Poll::Ready(self.count_body(out.len() - before))
    }

    /// Lets go of the part of a long body that came with the head, once all of it has been taken: it
    /// is held elsewhere now, for as long as the client takes to send the rest.
    fn forget_early(&mut self) {
        let (consumed, head) = (self.consumed, self.request.head_len);
        if consumed == self.request.buffer.len() && consumed > head + MOST_EARLY {
            self.request.buffer.truncate(head);
            self.request.buffer.shrink_to(MOST_EARLY);
            self.consumed = head;
        }
    }

    fn count_body(&mut self, len: usize) -> Result<(), BodyError> {
        self.body_length += len as u64;
        let limit = self.location.client_max_body_size;
        if limit != 0 && self.body_length > limit {
            return Err(BodyError::TooLarge);
        }
        Ok(())
    }
}
