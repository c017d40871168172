//! What a peer has sent and its client has not taken yet (`proxy_buffering`): first in memory, then in a
//! file, so that a slow client does not hold the peer. Body bytes without framing, the oldest first.

use super::spool::Spool;
use crate::exchange::Exchange;
use crate::proxy::Proxy;
use crate::temp_file::{Made, Name, TempFile};
use fairlead_core::log::Level;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(super) struct Ahead {
    /// The oldest.
    front: Vec<u8>,
    /// What came behind it: what is in the file, from `from` on, and what waits to be written.
    spool: Spool,
    from: u64,
    /// Bytes in memory, at most.
    most: usize,
    /// Bytes in the file, at most.
    most_in_file: u64,
    told: bool,
}

/// The next bytes.
pub(super) enum Next {
    /// These, taken out.
    Memory(Vec<u8>),
    /// This part of a file; say with [`Ahead::took`] how much of it went.
    File { made: Arc<Made>, from: u64, count: u64 },
    /// They are on their way to the file.
    Later,
}

impl Ahead {
    pub fn new(proxy: &Proxy) -> Ahead {
        let file = TempFile::new(proxy.temp_path.clone(), Name::None);
        Ahead {
            front: Vec::new(),
            spool: Spool::new(file, proxy.temp_file_write_size),
            from: 0,
            most: proxy.buffers,
            most_in_file: proxy.max_temp_file_size,
            told: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.spool.waiting.is_empty() && self.spool.is_idle() && self.in_file() == 0
    }

    fn in_file(&self) -> u64 {
        self.spool.written.saturating_sub(self.from)
    }

    /// Bytes that fit in memory beside what is there.
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.front.len())
    }

    /// How many bytes may be read now; pending until there is room for some.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, exchange: &Exchange) -> Poll<usize> {
        if self.goes_to_front() && (self.room() > 0 || self.most_in_file == 0) {
            let most = if self.most_in_file == 0 { self.room() } else { usize::MAX };
            return if most > 0 { Poll::Ready(most) } else { Poll::Pending };
        }
        if self.most_in_file == 0 {
            return Poll::Pending;
        }
        ready!(self.poll_spool(cx, exchange));
        let left = self.most_in_file.saturating_sub(self.spool.written + self.spool.waiting.len() as u64);
        if left > 0 { Poll::Ready(usize::try_from(left).unwrap_or(usize::MAX)) } else { Poll::Pending }
    }

    /// Ready when nothing is on its way to the file, nor due.
    fn poll_spool(&mut self, cx: &mut Context<'_>, exchange: &Exchange) -> Poll<()> {
        if let Err(failed) = ready!(self.spool.poll(cx, false)) {
            exchange.log(Level::Crit, format_args!("{failed} while reading upstream"));
            // What is there goes out, and the peer waits for it.
            self.most_in_file = 0;
            self.spool.enough = usize::MAX;
        }
        self.tell(exchange);
        Poll::Ready(())
    }

    fn tell(&mut self, exchange: &Exchange) {
        if let Some(made) = self.spool.made().filter(|_| !self.told) {
            let path = made.path.display();
            exchange.log(
                Level::Warn,
                format_args!("an upstream response is buffered to a temporary file {path} while reading upstream"),
            );
            self.told = true;
        }
    }

    fn goes_to_front(&self) -> bool {
        self.in_file() == 0 && self.spool.waiting.is_empty() && self.spool.is_idle()
    }

    /// Body bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = match self.goes_to_front() {
            true if self.most_in_file == 0 => bytes.len(),
            true => self.room().min(bytes.len()),
            false => 0,
        };
        let (first, rest) = bytes.split_at_checked(room).unwrap_or((bytes, b""));
        self.front.extend_from_slice(first);
        self.spool.waiting.extend_from_slice(rest);
    }

    /// What the client is to have next.
    pub fn next(&mut self, cx: &mut Context<'_>, exchange: &Exchange) -> Next {
        if !self.front.is_empty() {
            return Next::Memory(std::mem::take(&mut self.front));
        }
        if self.in_file() > 0
            && let Some(made) = self.spool.made()
        {
            return Next::File { made: made.clone(), from: self.from, count: self.in_file() };
        }
        // Nobody reads on meanwhile, so what waits need not go by way of the disk.
        match self.spool.is_idle() || self.poll_spool(cx, exchange).is_ready() {
            true if self.in_file() > 0 => self.next(cx, exchange),
            true => Next::Memory(std::mem::take(&mut self.spool.waiting)),
            false => Next::Later,
        }
    }

    /// So much of the file has gone out.
    pub fn took(&mut self, count: u64) {
        self.from += count;
        let used_up = self.spool.written >= self.most_in_file / 2;
        if used_up && self.in_file() == 0 && self.spool.is_idle() {
            self.spool.begin_anew();
            self.from = 0;
        }
    }
}
