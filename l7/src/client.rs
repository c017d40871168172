//! The client's side of a connection: sends now what the socket takes and
//! keeps the rest, so that bytes from the worker's shared buffer never wait there.

use crate::filter::{Broken, Tail};
use crate::stats::Counted;
use crate::throttle::Throttle;
use fairlead_core::net::{Deadline, Push, Stream};
use fairlead_core::worker::{self, Ticket};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

pub(crate) struct Client {
    pub stream: Stream,
    pub deadline: Deadline,
    pub ticket: Ticket,
    /// What the socket did not take yet: an idle connection has none of it.
    pending: Option<Box<Pending>>,
    /// Bytes handed to the socket so far.
    pub sent: u64,
    /// It took nothing of an answer for too long.
    pub timed_out: bool,
    /// What is sent goes nowhere: a subrequest is being answered.
    muted: bool,
    /// What is sent of the present response goes no faster than this.
    pub throttle: Option<Box<Throttle>>,
    pub counted: Counted,
    /// What is sent is part of another response.
    through: Option<Box<Through>>,
    /// Nobody is at the other end, and nobody is waited for.
    alone: bool,
}

/// Bytes on their way, from `at` on.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    at: usize,
}

struct Through {
    tail: Box<Tail>,
    /// Bytes of a head, which is no part of it.
    head: usize,
}

impl Through {
    fn put(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let left_out = self.head.min(part.len());
        self.head -= left_out;
        let part = part.get(left_out..).unwrap_or_default();
        self.tail.put(part, out).map_err(|Broken(why)| why)
    }
}

/// Up to this many bytes a copy and one plain send cost less than a vectored send.
const FLAT: usize = 16 << 10;

impl Client {
    pub fn new(stream: Stream, ticket: Ticket) -> Client {
        Client::counted_as(stream, ticket, Counted::new())
    }

    fn counted_as(stream: Stream, ticket: Ticket, counted: Counted) -> Client {
        Client {
            stream,
            deadline: Deadline::default(),
            ticket,
            pending: None,
            sent: 0,
            timed_out: false,
            muted: false,
            throttle: None,
            counted,
            through: None,
            alone: false,
        }
    }

    /// For a request that nobody waits for: it hears nothing.
    ///
    /// # Errors
    /// Those of `socket`; and there may be no place for it.
    pub fn alone(context: &Rc<worker::Context>) -> io::Result<Client> {
        let ticket = context.admit().ok_or(io::ErrorKind::QuotaExceeded)?;
        Ok(Client { muted: true, alone: true, ..Client::counted_as(Stream::alone()?, ticket, Counted::none()) })
    }

    /// The client may leave, and that is to be noticed.
    pub fn may_leave(&self) -> bool {
        !self.alone
    }

    /// What is sent from now on becomes part of a response that goes through this, heads left out.
    pub fn lend(&mut self, tail: Box<Tail>) {
        self.through = Some(Box::new(Through { tail, head: 0 }));
    }

    /// What is sent is part of another response: nothing goes by it.
    pub fn is_lent(&self) -> bool {
        self.through.is_some()
    }

    pub fn take_back(&mut self) -> Box<Tail> {
        self.through.take().map(|through| through.tail).unwrap_or_default()
    }

    /// The next bytes are a head.
    pub fn leave_out(&mut self, head: usize) {
        if let Some(through) = &mut self.through {
            through.head = head;
        }
    }

    /// Whether what is sent from now on goes nowhere; gives what was before.
    pub fn mute(&mut self, muted: bool) -> bool {
        std::mem::replace(&mut self.muted, muted)
    }

    /// It takes nothing any more.
    pub fn give_up(&mut self) {
        self.muted = true;
        (self.pending, self.throttle) = (None, None);
    }

    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Sends what the socket takes now; keeps a copy of the rest. Call [`Client::poll_flush`] before
    /// more is read from where the bytes came from: that bounds what is kept.
    pub fn send(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 4]) -> io::Result<()> {
        self.send_as(cx, parts, Push::Now)
    }

    /// The same with a say in when the bytes go out.
    pub fn send_as(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 4], push: Push) -> io::Result<()> {
        if self.muted {
            return Ok(());
        }
        if let Some(mut through) = self.through.take() {
            let mut out = Vec::new();
            let put = parts.into_iter().try_for_each(|part| through.put(part, &mut out));
            let sent = put.map_err(io::Error::other).and_then(|()| self.send(cx, [&out, b"", b"", b""]));
            self.through = Some(through);
            return sent;
        }
        if !self.is_flushed() || self.throttle.is_some() {
            self.keep(parts, 0);
            return Ok(());
        }
        let written = match self.write(cx, &parts, push) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.sent += written as u64;
        if written < parts.iter().map(|part| part.len()).sum() {
            self.keep(parts, written);
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>, parts: &[&[u8]; 4], push: Push) -> Poll<io::Result<usize>> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        match parts {
            [only, [], [], []] | [[], only, [], []] => self.stream.poll_write_as(cx, only, push),
            parts if total <= FLAT => {
                let Client { stream, ticket, .. } = self;
                ticket.scratch().with_flat(|flat| {
                    parts.iter().for_each(|part| flat.extend_from_slice(part));
                    stream.poll_write_as(cx, flat, push)
                })
            }
            [a, b, c, d] => {
                let slices = [IoSlice::new(a), IoSlice::new(b), IoSlice::new(c), IoSlice::new(d)];
                self.stream.poll_write_vectored(cx, &slices)
            }
        }
    }

    fn keep(&mut self, parts: [&[u8]; 4], mut written: usize) {
        let pending = self.pending.get_or_insert_default();
        for part in parts {
            pending.bytes.extend_from_slice(part.get(written..).unwrap_or_default());
            written = written.saturating_sub(part.len());
        }
    }

    /// Sends what the socket takes now of a file's next bytes, once all else is out. Says how many; 0 is the
    /// end of the file.
    pub fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: impl AsFd,
        (at, count): (u64, usize),
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let most = match &mut self.throttle {
            Some(throttle) => ready!(throttle.poll_allowance(cx, self.sent)),
            None => count,
        };
        let sent = ready!(self.stream.poll_send_file(cx, file, (at, count.min(most))))?;
        if let Some(throttle) = &mut self.throttle {
            throttle.sent(self.sent, sent as u64);
        }
        self.sent += sent as u64;
        Poll::Ready(Ok(sent))
    }

    pub fn is_flushed(&self) -> bool {
        self.pending.is_none()
    }

    /// It waits for its rate, and not for the client.
    pub fn rests(&self) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| throttle.rests())
    }

    /// Ready when nothing waits any more.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(Ok(())) };
        while let Some(rest) = pending.bytes.get(pending.at..).filter(|rest| !rest.is_empty()) {
            let most = match &mut self.throttle {
                Some(throttle) => ready!(throttle.poll_allowance(cx, self.sent)),
                None => rest.len(),
            };
            let written = ready!(self.stream.poll_write(cx, rest.get(..most).unwrap_or(rest)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            pending.at += written;
            if let Some(throttle) = &mut self.throttle {
                throttle.sent(self.sent, written as u64);
            }
            self.sent += written as u64;
        }
        self.pending = None;
        Poll::Ready(Ok(()))
    }
}
