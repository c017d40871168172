//! The response's body on its way through: decoded from the peer's framing,
//! put into the client's, and kept only for a client that does not keep up (`buffered`). What goes
//! on as it is goes uncopied, where it is long (`uncopied`).

use crate::client::Client;
use crate::exchange::Exchange;
use crate::filter::{self, Broken, Chain, Packed};
use crate::h1::{Chunked, Event, Framing, push_chunk_size};
use crate::proxy::Proxy;
use crate::proxy::attempt::Attempt;
use crate::proxy::buffered::Buffered;
use crate::proxy::pool::PeerConnection;
use crate::proxy::store::Store;
use crate::proxy::trailers::Trailers;
use crate::throttle::Throttle;
use fairlead_core::net::{Conduit, Push};
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
    /// The client gets no body, whatever the peer sends.
    pub bodiless: bool,
    /// Keep the client's connection afterwards.
    pub keep: bool,
}

/// A body in transit.
pub(super) struct Transfer {
    pub from_peer: FromPeer,
    pub to_client: ToClient,
    /// Bytes from the peer so far, behind its head: those of chunks and of what follows the body too.
    pub received: u64,
    /// How its last bytes go out.
    pub last: Push,
    /// Those of them that did not come with the head.
    pub later: u64,
    /// What the peer sent behind the end of the body.
    pub surplus: Option<&'static str>,
    /// What changes the body on its way.
    pub chain: Option<Box<Chain>>,
    /// Once the client did not keep up.
    pub buffered: Option<Box<Buffered>>,
    /// The end of the body is on its way to the client.
    ended: bool,
    /// `proxy_limit_rate`
    pub limit: Option<Box<Throttle>>,
    /// What long stretches go through.
    pub conduit: Conduit,
    /// This body does not go through it.
    pub copies: bool,
    /// More of it than came with the head is there already.
    pub is_at_hand: bool,
    /// The head waits in the socket to go out with the first stretch.
    pub corked: bool,
    /// What came behind a body in chunks.
    pub trailers: Trailers,
    /// `proxy_store`
    pub store: Option<Box<Store>>,
}

/// Where the rest of a body comes from.
pub(super) struct Source<'s, 'a> {
    pub peer: &'s mut PeerConnection,
    pub attempt: &'s mut Attempt<'a>,
    /// More came than the body.
    pub extra: bool,
}

pub(super) enum FromPeer {
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
    /// What was read ahead cannot be had back.
    FileFailed(io::Error),
    /// A filter could not make sense of the body.
    Unfiltered(&'static str),
}

impl Transfer {
    pub fn new(framing: Framing, to_client: ToClient, chain: Option<Box<Chain>>) -> Transfer {
        let from_peer = match framing {
            Framing::None | Framing::Length(0) => FromPeer::Done,
            Framing::Length(length) => FromPeer::Length(length),
            Framing::Chunked => FromPeer::Chunked(Chunked::default()),
            Framing::UntilClose => FromPeer::UntilClose,
        };
        let copies = chain.is_some() || to_client.chunked || to_client.bodiless;
        Transfer {
            from_peer,
            to_client,
            received: 0,
            later: 0,
            surplus: None,
            last: Push::Now,
            chain,
            buffered: None,
            ended: false,
            limit: None,
            conduit: Conduit::default(),
            copies,
            is_at_hand: false,
            corked: false,
            trailers: Trailers::default(),
            store: None,
        }
    }

    /// All has come from the peer, and went on.
    pub fn is_done(&self) -> bool {
        self.is_whole() && self.chain.as_ref().map_or(self.ended, |chain| chain.is_done())
    }

    /// All has come from the peer, and none of it waits here.
    fn is_whole(&self) -> bool {
        self.is_read() && !self.buffered.as_ref().is_some_and(|buffered| buffered.holds())
    }

    /// How much is still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.from_peer {
            FromPeer::Length(left) => Some(left),
            _ => None,
        }
    }

    pub fn is_read(&self) -> bool {
        matches!(self.from_peer, FromPeer::Done)
    }

    /// Puts in what stands before the body; false when that failed.
    pub async fn begin(&mut self, client: &mut Client, exchange: &mut Exchange) -> bool {
        match &mut self.chain {
            Some(chain) => filter::begin(client, exchange, chain).await,
            None => true,
        }
    }

    /// The same behind the body.
    pub async fn complete(&mut self, client: &mut Client, exchange: &mut Exchange) -> bool {
        match &mut self.chain {
            Some(chain) => filter::complete(client, exchange, chain).await,
            None => true,
        }
    }

    /// `$gzip_ratio` and its like.
    pub fn packed(&self) -> Option<Packed> {
        self.chain.as_ref().and_then(|chain| chain.packed())
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
        if self.to_client.bodiless && self.chain.is_none() {
            self.send(cx, client, head, b"").map_err(|_| Cut::ClientGone)?;
            return Ok(!bytes.is_empty());
        }
        self.received += bytes.len() as u64;
        let surplus = match self.from_peer {
            FromPeer::Chunked(_) => "data after final chunk",
            _ => "more data than specified in \"Content-Length\" header",
        };
        let (len, extra) = self.take(bytes)?;
        if extra {
            self.surplus = Some(surplus);
        }
        let body = bytes.get(..len).unwrap_or_default();
        if let Some(store) = &mut self.store {
            store.push(body);
        }
        if self.buffered.as_mut().is_some_and(|buffered| buffered.take(body)) {
            return Ok(extra);
        }
        if let Some(chain) = &mut self.chain {
            chain.feed(body);
            client.send(cx, [head, b"", b"", b""]).map_err(|_| Cut::ClientGone)?;
            return Ok(extra);
        }
        self.corked = self.is_at_hand && !head.is_empty() && self.stretch(client).is_some();
        self.send(cx, client, head, body).map_err(|_| Cut::ClientGone)?;
        Ok(extra)
    }

    /// Sends `head` and a piece of the body, with the body's end behind it if it is the last.
    pub fn send(&mut self, cx: &mut Context<'_>, client: &mut Client, head: &[u8], body: &[u8]) -> io::Result<()> {
        let last = self.is_whole();
        self.ended |= last;
        let push = match last {
            true => self.last,
            false if self.corked => Push::WithNext,
            false => Push::Now,
        };
        let bodiless = self.to_client.bodiless;
        if head.is_empty() && (bodiless || body.is_empty() && !(last && self.to_client.chunked)) {
            return Ok(());
        }
        if bodiless {
            return client.send(cx, [head, b"", b"", b""]);
        }
        if !self.to_client.chunked {
            return client.send_as(cx, [head, body, b"", b""], push);
        }
        let mut size = Vec::with_capacity(20);
        let mut end = Vec::new();
        if last && !self.trailers.lines.is_empty() {
            let start: &[u8] = if body.is_empty() { b"0\r\n" } else { b"\r\n0\r\n" };
            end = [start, &self.trailers.lines, b"\r\n"].concat();
        }
        let tail: &[u8] = match (body.is_empty(), last) {
            _ if !end.is_empty() => &end,
            (true, true) => b"0\r\n\r\n",
            (true, false) => b"",
            (false, true) => b"\r\n0\r\n\r\n",
            (false, false) => b"\r\n",
        };
        if !body.is_empty() {
            push_chunk_size(body.len(), &mut size);
        }
        client.send_as(cx, [head, &size, body, tail], push)
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
                    let (step, event) =
                        decoder.next_with_trailers(rest, &mut self.trailers.came).map_err(|_| Cut::PeerBroken)?;
                    used += step;
                    match event {
                        Event::Data(data) => {
                            bytes.copy_within(used - data..used, len);
                            len += data;
                        }
                        Event::NeedMore => return Ok((len, false)),
                        Event::End => {
                            self.trailers.end();
                            self.from_peer = FromPeer::Done;
                            return Ok((len, used < bytes.len()));
                        }
                    }
                }
            }
        }
    }

    /// Passes on the rest of the body, and what is left of the request's; true when the peer's connection
    /// can be used again. What the client has not taken by then is for [`Transfer::finish`].
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
        let proxy = attempt.proxy;
        let mut source = Some(Source { peer, attempt, extra: false });
        let mut waits = Waits::Nothing;
        poll_fn(|cx| {
            if let Some(Source { peer, attempt, .. }) = &mut source
                && (!exchange.body.is_done() || !attempt.pump.is_idle())
            {
                // A peer that has answered may stop reading: its answer still goes through.
                let _ = attempt.pump.poll(cx, client, peer, exchange);
            }
            let done = self.poll(cx, client, &mut source, (exchange, proxy, &mut waits))?;
            let Some(Source { attempt, extra, .. }) = &source else { return Poll::Ready(Ok(false)) };
            let released = self.is_read() && exchange.body.is_done() && attempt.pump.is_idle();
            match done {
                Poll::Ready(whole) => Poll::Ready(Ok(whole && !extra)),
                Poll::Pending if released => Poll::Ready(Ok(!extra)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// The client is gone, but what is stored goes on: nobody hears the rest.
    pub fn give_up_client(&mut self, client: &mut Client) -> bool {
        let stores = self.store.is_some() && !self.is_read();
        if stores {
            client.give_up();
            (self.buffered, self.chain, self.conduit) = (None, None, Conduit::default());
        }
        stores
    }

    /// All has gone out of here.
    pub fn is_out(&self, client: &Client) -> bool {
        self.is_done() && client.is_flushed() && !self.conduit.is_stuck()
    }

    /// Sends what is left when the peer has gone.
    pub async fn finish(&mut self, client: &mut Client, exchange: &Exchange, proxy: &Proxy) -> Result<(), Cut> {
        let mut waits = Waits::Nothing;
        poll_fn(|cx| {
            let done = self.poll(cx, client, &mut None, (exchange, proxy, &mut waits))?;
            done.map(|_| Ok(()))
        })
        .await
    }

    /// Ready when all has gone out, or with false when nobody hears it.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        source: &mut Option<Source<'_, '_>>,
        (exchange, proxy, waits): (&Exchange, &Proxy, &mut Waits),
    ) -> Result<Poll<bool>, Cut> {
        loop {
            if let Poll::Ready(flushed) = self.poll_flush(cx, client) {
                flushed.map_err(|_| Cut::ClientGone)?;
            } else {
                match self.poll_behind(cx, client, source, (exchange, proxy, waits)) {
                    Poll::Ready(looked) => looked?,
                    Poll::Pending => return Ok(Poll::Pending),
                }
                continue;
            }
            if self.is_done() {
                return Ok(Poll::Ready(true));
            }
            if client.is_muted() && self.received > MOST_UNHEARD && self.store.is_none() {
                return Ok(Poll::Ready(false));
            }
            if self.filter(cx, client, exchange)? {
                continue;
            }
            if self.buffered.as_ref().is_some_and(|buffered| buffered.holds()) {
                if let Poll::Ready(given) = self.poll_give(cx, client, exchange) {
                    given?;
                    continue;
                }
                match self.poll_behind(cx, client, source, (exchange, proxy, waits)) {
                    Poll::Ready(looked) => looked?,
                    Poll::Pending => return Ok(Poll::Pending),
                }
                continue;
            }
            if let Some(cut) = self.buffered.as_mut().and_then(|buffered| buffered.take_cut()) {
                return Err(cut);
            }
            if self.is_read() && self.chain.is_none() {
                self.send(cx, client, b"", b"").map_err(|_| Cut::ClientGone)?;
                continue;
            }
            let Some(Source { peer, extra, .. }) = source else { return Ok(Poll::Ready(true)) };
            let stepped = match self.poll_uncopied(cx, client, peer) {
                Poll::Ready(Some(passed)) => Poll::Ready(passed.map(|()| false)),
                Poll::Ready(None) => self.poll_step(cx, client, peer, (exchange, usize::MAX)),
                Poll::Pending => Poll::Pending,
            };
            match stepped {
                Poll::Ready(step) => *extra |= step?,
                Poll::Pending if self.flush(cx, client, exchange)? => {}
                Poll::Pending if self.limit.as_ref().is_some_and(|limit| limit.rests()) => {
                    *waits = Waits::Nothing;
                    return Ok(Poll::Pending);
                }
                Poll::Pending => {
                    waits.begin(Waits::Peer(self.received), client, proxy.read_timeout);
                    return match client.deadline.poll(cx) {
                        Poll::Ready(_) => Err(Cut::PeerTimedOut),
                        Poll::Pending => Ok(Poll::Pending),
                    };
                }
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<io::Result<()>> {
        ready!(client.poll_flush(cx))?;
        self.poll_conduit(cx, client)
    }

    /// Sends the next piece that filters have; false when they wait for more from the peer.
    fn filter(&mut self, cx: &mut Context<'_>, client: &mut Client, exchange: &Exchange) -> Result<bool, Cut> {
        let whole = self.is_whole();
        let Some(chain) = &mut self.chain else { return Ok(false) };
        if whole {
            chain.follow(std::mem::take(&mut self.trailers.lines));
            chain.end();
        }
        if chain.is_idle() {
            return Ok(false);
        }
        let mut piece = Vec::new();
        chain.take(exchange, &mut piece).map_err(|Broken(why)| Cut::Unfiltered(why))?;
        client.send(cx, [&piece, b"", b"", b""]).map_err(|_| Cut::ClientGone)?;
        Ok(true)
    }

    /// Sends what filters hold back while the peer has nothing more; false when that is nothing.
    fn flush(&mut self, cx: &mut Context<'_>, client: &mut Client, exchange: &Exchange) -> Result<bool, Cut> {
        let Some(chain) = &mut self.chain else { return Ok(false) };
        let mut piece = Vec::new();
        chain.flush(exchange, &mut piece).map_err(|Broken(why)| Cut::Unfiltered(why))?;
        if piece.is_empty() {
            return Ok(false);
        }
        client.send(cx, [&piece, b"", b"", b""]).map_err(|_| Cut::ClientGone)?;
        Ok(true)
    }

    /// Reads up to `most` bytes once and passes them on; says whether more came than the body.
    pub fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        peer: &mut PeerConnection,
        (exchange, most): (&Exchange, usize),
    ) -> Poll<Result<bool, Cut>> {
        if let Some(store) = &mut self.store {
            ready!(store.poll(cx, exchange, false));
        }
        let most = match &mut self.limit {
            Some(limit) => ready!(limit.poll_allowance(cx, self.received)).min(most),
            None => most,
        };
        exchange.worker.context.scratch.with_read(|buffer| {
            let room = buffer.len().min(most);
            let buffer = buffer.get_mut(..room).unwrap_or_default();
            let read = match ready!(peer.stream.poll_read(cx, buffer)) {
                Ok(read) => read,
                Err(error) => return Poll::Ready(Err(Cut::PeerFailed(error))),
            };
            if let Some(limit) = &mut self.limit {
                limit.sent(self.received, read as u64);
            }
            if read == 0 {
                return Poll::Ready(self.end(cx, client).map(|()| true));
            }
            self.later += read as u64;
            Poll::Ready(self.pass(cx, client, b"", buffer.get_mut(..read).unwrap_or_default()))
        })
    }

    /// The peer closed: the end of a body without length, the cut of any other.
    pub fn end(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Result<(), Cut> {
        if !matches!(self.from_peer, FromPeer::UntilClose) {
            return Err(Cut::PeerClosed);
        }
        self.from_peer = FromPeer::Done;
        if self.chain.is_some() || self.buffered.as_ref().is_some_and(|buffered| buffered.holds()) {
            return Ok(());
        }
        self.send(cx, client, b"", b"").map_err(|_| Cut::ClientGone)
    }
}

/// Which side the present deadline is for, with its byte count when the wait began: progress
/// starts the wait anew.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Nothing,
    Peer(u64),
    Client(u64),
    /// For whether it is slow.
    Slow(u64),
}

impl Waits {
    pub fn begin(&mut self, wait: Waits, client: &mut Client, timeout: Duration) {
        if *self != wait {
            *self = wait;
            client.deadline.set(timeout);
        }
    }
}
