//! A transfer whose client does not keep up: the peer is read ahead of it (`proxy_buffering`), and what
//! was read goes out as the client takes it.
//!
//! A client that is only now and then behind, but fast, makes its peer wait instead: that costs
//! neither copies nor a disk.

use super::ahead::{Ahead, Next};
use super::transfer::{Cut, Source, Transfer, Waits};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::h1::push_chunk_size;
use crate::proxy::Proxy;
use fairlead_core::clock::{Tick, tick};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub(super) struct Buffered {
    ahead: Ahead,
    /// When the client was behind for the first time, and what it had been sent by then.
    since: (Tick, u64),
    slow: bool,
    /// What comes now is for `ahead`.
    holding: bool,
    /// Of a file, as one chunk: bytes that are still to go.
    chunk: u64,
    /// A piece of the file on its way to the filters.
    reading: Option<Reading>,
    /// Why the peer gives no more; told once all that it gave is out.
    cut: Option<Cut>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>>>>;

/// A client is looked at for so long before it counts as slow.
const GRACE: Duration = Duration::from_millis(100);

/// Bytes a second that a client takes that is not slow.
const FAST: u64 = 32 << 20;

/// Of a file, one chunk.
const MOST_IN_CHUNK: u64 = 1 << 20;

/// Of a file at once, before others get their turn.
const FILE_STEP: usize = 512 << 10;

/// Of a file, one piece for filters.
const PIECE: u64 = 64 << 10;

impl Buffered {
    fn new(proxy: &Proxy, client: &Client) -> Buffered {
        Buffered {
            ahead: Ahead::new(proxy),
            since: (tick(), client.sent),
            slow: false,
            holding: false,
            chunk: 0,
            reading: None,
            cut: None,
        }
    }

    fn judge(&mut self, client: &Client, now: Tick) {
        let (begun, sent) = self.since;
        let millis = u64::try_from(now.since(begun).as_millis()).unwrap_or(u64::MAX);
        let taken = client.sent.saturating_sub(sent).saturating_mul(1000);
        let behind = now.since(begun) >= GRACE && taken < FAST.saturating_mul(millis);
        self.slow |= behind || client.throttle.is_some();
    }

    /// Nothing of it waits.
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.reading.is_none() && self.chunk == 0
    }

    /// Takes body bytes that are not for the client yet.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        let takes = self.holding || !self.is_empty();
        if takes {
            self.ahead.push(bytes);
        }
        takes
    }

    pub fn take_cut(&mut self) -> Option<Cut> {
        self.cut.take()
    }

    pub fn holds(&self) -> bool {
        self.holding || !self.is_empty()
    }
}

impl Transfer {
    /// The client has not taken all it was sent: reads ahead where that pays. Ready when there is
    /// something else to look at, and with the end of the client's time.
    pub(super) fn poll_behind(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        source: &mut Option<Source<'_, '_>>,
        (exchange, proxy, waits): (&Exchange, &Proxy, &mut Waits),
    ) -> Poll<Result<(), Cut>> {
        let buffers = exchange.buffering.unwrap_or(proxy.buffering) && !client.is_muted() && !self.is_read();
        let mut watched = false;
        if let Some(source) = source.as_mut().filter(|_| buffers) {
            watched = self.read_ahead(cx, client, source, (exchange, proxy));
        }
        if client.rests() {
            *waits = Waits::Nothing;
            return Poll::Pending;
        }
        let timeout = exchange.location.send_timeout;
        if watched {
            waits.begin(Waits::Slow(client.sent), client, GRACE.min(timeout));
            ready!(client.deadline.poll(cx));
            if let Some(buffered) = &mut self.buffered {
                buffered.slow = true;
            }
            return Poll::Ready(Ok(()));
        }
        waits.begin(Waits::Client(client.sent), client, timeout);
        client.deadline.poll(cx).map(|_| {
            client.timed_out = true;
            Err(Cut::ClientTimedOut)
        })
    }

    /// True when it is not known yet whether the client is slow.
    fn read_ahead(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        source: &mut Source<'_, '_>,
        (exchange, proxy): (&Exchange, &Proxy),
    ) -> bool {
        self.buffered.get_or_insert_with(|| Box::new(Buffered::new(proxy, client))).judge(client, tick());
        loop {
            let fits = |room| self.left().is_some_and(|left| left <= room as u64);
            let read = self.is_read();
            let fits = self.buffered.as_ref().is_some_and(|buffered| fits(buffered.ahead.room()));
            let Some(buffered) = &mut self.buffered else { return false };
            let wanted = buffered.slow || fits || !buffered.ahead.is_empty();
            if read || buffered.cut.is_some() || !wanted {
                return !buffered.slow && !read;
            }
            let Poll::Ready(most) = buffered.ahead.poll_room(cx, exchange) else { return false };
            buffered.holding = true;
            let step = self.poll_step(cx, client, source.peer, (exchange, most));
            let Some(buffered) = &mut self.buffered else { return false };
            buffered.holding = false;
            match step {
                Poll::Ready(Ok(extra)) => source.extra |= extra,
                Poll::Ready(Err(cut)) => buffered.cut = Some(cut),
                Poll::Pending => return !buffered.slow,
            }
        }
    }

    /// Sends the oldest of what was read ahead; ready when some of it went.
    pub(super) fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &Exchange,
    ) -> Poll<Result<(), Cut>> {
        let Some(buffered) = &mut self.buffered else { return Poll::Ready(Ok(())) };
        if let Some(reading) = &mut buffered.reading {
            let read = ready!(reading.as_mut().poll(cx));
            buffered.reading = None;
            let bytes = read.map_err(Cut::FileFailed)?;
            buffered.ahead.took(bytes.len() as u64);
            return Poll::Ready(self.deliver(cx, client, &bytes));
        }
        let (made, from, count) = match buffered.ahead.next(cx, exchange) {
            Next::Later => return Poll::Pending,
            Next::Memory(bytes) => return Poll::Ready(self.deliver(cx, client, &bytes)),
            Next::File { made, from, count } => (made, from, count),
        };
        if self.chain.is_some() || client.is_lent() {
            let count = usize::try_from(count.min(PIECE)).unwrap_or(0);
            buffered.reading = Some(Box::pin(made.read(from, count)));
            return Poll::Ready(Ok(()));
        }
        if self.to_client.chunked && buffered.chunk == 0 {
            buffered.chunk = count.min(MOST_IN_CHUNK);
            let mut size = Vec::with_capacity(20);
            push_chunk_size(usize::try_from(buffered.chunk).unwrap_or(0), &mut size);
            return Poll::Ready(client.send(cx, [&size, b"", b"", b""]).map_err(|_| Cut::ClientGone));
        }
        let count = if self.to_client.chunked { buffered.chunk.min(count) } else { count };
        let Some(file) = made.file() else { return Poll::Ready(Err(Cut::FileFailed(io::ErrorKind::NotFound.into()))) };
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(FILE_STEP);
        let sent = ready!(client.poll_send_file(cx, file, (from, count))).map_err(|_| Cut::ClientGone)? as u64;
        if sent == 0 {
            return Poll::Ready(Err(Cut::FileFailed(io::ErrorKind::UnexpectedEof.into())));
        }
        buffered.ahead.took(sent);
        if self.to_client.chunked {
            buffered.chunk = buffered.chunk.saturating_sub(sent);
            if buffered.chunk == 0 {
                client.send(cx, [b"\r\n", b"", b"", b""]).map_err(|_| Cut::ClientGone)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn deliver(&mut self, cx: &mut Context<'_>, client: &mut Client, bytes: &[u8]) -> Result<(), Cut> {
        match &mut self.chain {
            Some(chain) => {
                chain.feed(bytes);
                Ok(())
            }
            None => self.send(cx, client, b"", bytes).map_err(|_| Cut::ClientGone),
        }
    }
}
