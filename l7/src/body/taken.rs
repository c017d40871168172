//! Takes a request's body in whole before anybody else has it: in memory as long as it is short, in
//! a file beyond that. So a slow client holds no peer, and a peer that fails leaves the body for the next.
//!
//! `proxy` asks for it; what was taken stays with the exchange until its log line is written.

use super::BodyError;
use crate::client::Client;
use crate::exchange::Exchange;
use crate::h1::Known;
use crate::proxy::BodyFraming;
use crate::respond;
use crate::temp_file::{Made, Name, TempFile};
use fairlead_core::log::Level;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// `client_body_in_file_only`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InFile {
    #[default]
    Off,
    Clean,
    On,
}

/// A body, or the beginning of one that is streamed behind it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub framing: BodyFraming,
    /// Empty when `file` holds the body.
    pub memory: Vec<u8>,
    pub file: Option<(Arc<Made>, u64)>,
    /// It is all of the client's body, and within `client_body_buffer_size`: `$request_body` shows it.
    shown: bool,
    /// Given back with the memory.
    _held: Held,
}

/// A longer body than this is never held in memory beyond `client_body_buffer_size`.
const MOST_HELD: usize = 1 << 20;

/// What a worker thread holds of such bodies at most.
const MOST_HELD_IN_ALL: usize = 16 << 20;

/// A share of the memory that a worker thread has for bodies beyond `client_body_buffer_size`.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// `None` holds nothing, ever.
    all: Option<Rc<Cell<usize>>>,
    mine: usize,
}

impl Held {
    fn new(all: Rc<Cell<usize>>) -> Held {
        Held { all: Some(all), mine: 0 }
    }

    /// Whether there is room for so many bytes in place of those held before.
    fn grow(&mut self, size: usize) -> bool {
        let Some(all) = &self.all else { return false };
        let sum = all.get().saturating_sub(self.mine).saturating_add(size);
        if size > MOST_HELD || sum > MOST_HELD_IN_ALL {
            return false;
        }
        all.set(sum);
        self.mine = size;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(all) = &self.all {
            all.set(all.get().saturating_sub(self.mine));
        }
    }
}

impl Taken {
    /// No body, or one that was made here.
    pub fn made(text: Vec<u8>, framing: BodyFraming) -> Taken {
        Taken { framing, memory: text, file: None, shown: false, _held: Held::default() }
    }

    /// `$request_body`
    pub fn text(&self) -> Option<&[u8]> {
        Some(&self.memory[..]).filter(|_| self.shown)
    }

    /// `$request_body_file`
    pub fn path(&self) -> Option<&std::path::Path> {
        self.file.as_ref().map(|(made, _)| &*made.path)
    }

    pub fn file_length(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, length)| *length)
    }
}

/// What is in memory, and where it goes from there.
struct Taking {
    memory: Vec<u8>,
    /// What it may be without asking anybody.
    allowed: usize,
    held: Held,
    in_file: InFile,
    file: Option<TempFile>,
}

impl Exchange {
    /// The whole body, read once for all who ask.
    ///
    /// # Errors
    /// As [`Exchange::poll_body`], and [`BodyError::Unwritten`].
    pub(crate) async fn take_in(&mut self, client: &mut Client) -> Result<Rc<Taken>, BodyError> {
        if let Some(taken) = self.taken.as_ref().filter(|_| self.body.is_done()) {
            return Ok(taken.clone());
        }
        if self.body.is_done() {
            // A body without bytes is one.
            let none = self.without_body();
            let shown = !self.has_no_body() && self.location.client_body_in_file == InFile::Off;
            let taken = Rc::new(Taken { shown, ..none });
            self.taken = Some(taken.clone());
            return Ok(taken);
        }
        self.expect(client).await?;
        let mut taking = Taking::new(self);
        if let Some(early) = self.taken.take() {
            taking.memory.extend_from_slice(&early.memory);
        }
        while !self.body.is_done() {
            client.deadline.set(self.location.client_body_timeout);
            poll_fn(|cx| match self.poll_body(cx, client, &mut taking.memory) {
                Poll::Pending => client.deadline.poll(cx).map(|_| Err(BodyError::TimedOut)),
                ready => ready,
            })
            .await?;
            if taking.is_full(self.body.is_done()) {
                taking.spill(self).await?;
            }
        }
        let taken = Rc::new(taking.finish(self).await?);
        self.taken = Some(taken.clone());
        Ok(taken)
    }

    /// Not even one without bytes.
    pub(crate) fn has_no_body(&self) -> bool {
        self.body.is_done() && self.request.known(Known::ContentLength).is_none() && self.body_length == 0
    }

    /// What goes out for a request without a body.
    pub(crate) fn without_body(&self) -> Taken {
        let zero = self.request.known(Known::ContentLength).is_some() && !self.is_subrequest();
        Taken::made(Vec::new(), if zero { BodyFraming::Length(0) } else { BodyFraming::None })
    }

    /// What has come of the body by now, without waiting for more: the rest is streamed behind it.
    ///
    /// # Errors
    /// As [`Exchange::poll_body`].
    pub(crate) async fn take_early(&mut self, client: &mut Client) -> Result<Rc<Taken>, BodyError> {
        if let Some(taken) = &self.taken {
            return Ok(taken.clone());
        }
        if self.body.is_done() {
            return self.take_in(client).await;
        }
        self.expect(client).await?;
        let announced = self.body.announced();
        let mut memory = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while !self.body.is_done() && self.consumed < self.request.buffer.len() {
            if let Poll::Ready(Err(error)) = self.poll_body(&mut cx, client, &mut memory) {
                return Err(error);
            }
        }
        let framing = match announced {
            Some(length) => BodyFraming::Length(length),
            None if self.body.is_done() => BodyFraming::Length(memory.len() as u64),
            None => BodyFraming::Chunked,
        };
        let shown = self.body.is_done();
        let taken = Rc::new(Taken { shown, ..Taken::made(memory, framing) });
        self.taken = Some(taken.clone());
        Ok(taken)
    }

    /// Tells a client that waits for it to go on.
    async fn expect(&mut self, client: &mut Client) -> Result<(), BodyError> {
        let expects = std::mem::take(&mut self.request.expects_continue);
        if expects && self.consumed >= self.request.buffer.len() {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            let sent = poll_fn(|cx| Poll::Ready(client.send(cx, [go_on, b"", b"", b""]))).await;
            if sent.is_err() || !respond::flush(client, self).await {
                return Err(BodyError::Gone);
            }
            // nginx counts the final response only.
            client.sent = 0;
        }
        Ok(())
    }
}

impl Taking {
    fn new(exchange: &Exchange) -> Taking {
        let location = &exchange.location;
        let limit = location.client_body_buffer_size;
        let announced = exchange.body.announced().and_then(|length| usize::try_from(length).ok());
        // As nginx: one that is known to be a little longer fits, too.
        let whole = announced.filter(|length| *length <= limit.saturating_add(limit / 4));
        let in_file = location.client_body_in_file;
        Taking {
            memory: Vec::with_capacity(if in_file == InFile::Off { whole.unwrap_or(0) } else { 0 }),
            allowed: whole.unwrap_or(limit),
            held: Held::new(exchange.worker.held.clone()),
            in_file,
            file: None,
        }
    }

    /// It is time to write what is in memory to the file.
    fn is_full(&mut self, done: bool) -> bool {
        let size = self.memory.len();
        if self.in_file != InFile::Off || self.file.is_some() {
            return size >= self.allowed.max(1) || done;
        }
        size > self.allowed && !self.held.grow(size)
    }

    async fn spill(&mut self, exchange: &Exchange) -> Result<(), BodyError> {
        let file = self.file.get_or_insert_with(|| {
            let name = match self.in_file {
                InFile::Off => Name::None,
                InFile::Clean => Name::Request,
                InFile::On => Name::Kept,
            };
            TempFile::new(exchange.location.client_body_temp_path.clone(), name)
        });
        let first = file.made().is_none();
        let written = file.append(std::mem::take(&mut self.memory)).await;
        self.memory = written.map_err(|(failed, _)| {
            exchange.log(Level::Crit, format_args!("{failed}"));
            BodyError::Unwritten
        })?;
        self.held.grow(0);
        if let Some(made) = file.made().filter(|_| first) {
            let level = if self.in_file == InFile::Off { Level::Warn } else { Level::Notice };
            let path = made.path.display();
            exchange.log(level, format_args!("a client request body is buffered to a temporary file {path}"));
        }
        Ok(())
    }

    async fn finish(mut self, exchange: &Exchange) -> Result<Taken, BodyError> {
        if self.file.is_some() && !self.memory.is_empty() {
            self.spill(exchange).await?;
        }
        let shown = self.file.is_none() && self.memory.len() <= self.allowed;
        let file = self.file.and_then(|file| Some((file.made()?.clone(), file.length)));
        let length = file.as_ref().map_or(self.memory.len() as u64, |(_, length)| *length);
        let framing = BodyFraming::Length(length);
        Ok(Taken { framing, memory: self.memory, file, shown, _held: self.held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    #[test]
    fn a_thread_holds_no_more_than_its_bound_and_gives_all_back() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let all = Rc::new(Cell::new(0));
            let mut bodies: Vec<Held> = Vec::new();
            for _ in 0..200 {
                match dice.roll(3) {
                    0 => bodies.push(Held::new(all.clone())),
                    1 if !bodies.is_empty() => drop(bodies.swap_remove(dice.roll(bodies.len() as u64) as usize)),
                    _ => {
                        let size = dice.roll(MOST_HELD as u64 + 1000) as usize;
                        if let Some(last) = bodies.last_mut() {
                            let (before, fits) = (last.mine, last.grow(size));
                            assert_eq!(last.mine, if fits { size } else { before }, "seed {seed}");
                        }
                    }
                }
                assert!(all.get() <= MOST_HELD_IN_ALL, "seed {seed}");
                assert_eq!(all.get(), bodies.iter().map(|held| held.mine).sum::<usize>(), "seed {seed}");
            }
            drop(bodies);
            assert_eq!(all.get(), 0, "seed {seed}");
        }
    }
}
