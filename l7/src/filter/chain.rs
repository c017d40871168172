//! What becomes of a body between where it comes from and the client, a piece at a time.
//!
//! Whoever sends a filtered body feeds the chain what came, and takes pieces from it until it has
//! no more; only then it reads on. So a slow client holds one piece, whatever the body unpacks to.

use super::Settings;
use super::compress::{Pack, Packed};
use super::gunzip::Gunzip;
use super::headers;
use super::recode::Recode;
use super::sub::Sub;
use crate::exchange::Exchange;
use crate::h1::push_chunk_size;
use std::sync::Arc;

/// A body that cannot be filtered; nginx's words for its error log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub &'static str);

/// What follows a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Not,
    /// Nothing for now: the client should have all there is.
    Flush,
    Last,
}

pub(super) enum Step {
    Sub(Sub),
    Charset(Recode),
}

impl Step {
    fn write(&mut self, bytes: &[u8], end: End, out: &mut Vec<u8>) {
        match self {
            Step::Sub(sub) => sub.write(bytes, end, out),
            Step::Charset(recode) => recode.write(bytes, out),
        }
    }
}

/// Where all that is part of a response comes through: its own body, and what subrequests put in
/// front of it and behind it.
#[derive(Default)]
pub(crate) struct Tail {
    pack: Option<Pack>,
    chunked: bool,
    spare: Vec<u8>,
}

impl Tail {
    /// A piece in the client's framing, appended to `out`.
    pub fn write(&mut self, piece: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Broken> {
        let piece = match &mut self.pack {
            None => piece,
            Some(pack) => {
                self.spare.clear();
                pack.write(piece, end, &mut self.spare)?;
                &self.spare
            }
        };
        if self.chunked && !piece.is_empty() {
            push_chunk_size(piece.len(), out);
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(piece);
        }
        Ok(())
    }

    /// The same in the middle of a response.
    pub fn put(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        if piece.is_empty() { Ok(()) } else { self.write(piece, End::Not, out) }
    }
}

/// The part of what comes that goes on.
#[derive(Clone, Copy, Debug)]
struct Clip {
    skip: u64,
    left: u64,
}

impl Clip {
    fn cut<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        let rest = bytes.get(skipped..).unwrap_or_default();
        let kept = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
        self.skip -= skipped as u64;
        self.left -= kept as u64;
        rest.get(..kept).unwrap_or_default()
    }
}

/// The filters of one response.
pub(crate) struct Chain {
    settings: Arc<Settings>,
    gunzip: Option<Gunzip>,
    steps: Vec<Step>,
    tail: Box<Tail>,
    clip: Option<Clip>,
    /// Of the body, where the head says nothing of it because of trailers.
    pub length: Option<u64>,
    pub around: Around,
    /// What came and was not filtered yet, from `at` on.
    input: Vec<u8>,
    at: usize,
    state: State,
    /// Something went in since the last flush.
    unflushed: bool,
    spare: Vec<u8>,
    trailers: bool,
    /// Lines that a peer sent behind the body.
    following: Vec<u8>,
}

/// What stands around a body: paths that are asked for it.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub before: Option<Box<str>>,
    pub after: Option<Box<str>>,
    /// More slices follow the first one.
    pub slices: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// All has come.
    Ended,
    /// The last piece of the body has been taken; more is put behind it.
    Held,
    /// The last piece has been taken.
    Done,
}

/// What a piece has about at most; a replacement may be longer.
const PIECE: usize = 16 << 10;

impl Chain {
    pub(super) fn new(settings: Arc<Settings>) -> Chain {
        Chain {
            settings,
            gunzip: None,
            steps: Vec::new(),
            tail: Box::default(),
            clip: None,
            length: None,
            around: Around::default(),
            input: Vec::new(),
            at: 0,
            state: State::Open,
            unflushed: false,
            spare: Vec::new(),
            trailers: false,
            following: Vec::new(),
        }
    }

    /// The lines of a peer's trailers, where the client is to have them.
    pub fn follow(&mut self, lines: Vec<u8>) {
        if !lines.is_empty() {
            self.following = lines;
        }
    }

    /// Only this part of what comes goes on.
    pub(super) fn clip(&mut self, skip: u64, left: u64) {
        self.clip = Some(Clip { skip, left });
    }

    /// For who writes into the response in between; to be given back.
    pub(super) fn lend(&mut self) -> Box<Tail> {
        std::mem::take(&mut self.tail)
    }

    pub(super) fn take_back(&mut self, tail: Box<Tail>) {
        self.tail = tail;
    }

    pub(super) fn unpack(&mut self) {
        self.gunzip = Some(Gunzip::default());
    }

    pub(super) fn add(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(super) fn pack(&mut self, pack: Pack) {
        self.tail.pack = Some(pack);
    }

    /// The client gets chunks, with trailers behind them.
    pub(super) fn frame(&mut self, chunked: bool, trailers: bool) {
        self.tail.chunked = chunked;
        self.trailers = trailers;
    }

    /// Body bytes came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at >= self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        let bytes = self.clip.as_mut().map_or(bytes, |clip| clip.cut(bytes));
        self.input.extend_from_slice(bytes);
    }

    /// No more will come.
    pub fn end(&mut self) {
        if self.state == State::Open {
            self.state = State::Ended;
        }
    }

    /// There is nothing to take before more is fed.
    pub fn is_idle(&self) -> bool {
        match self.state {
            State::Open => self.at >= self.input.len() && !self.gunzip.as_ref().is_some_and(Gunzip::has_more),
            State::Ended => false,
            State::Held | State::Done => true,
        }
    }

    /// The body has gone on; `is_held` says whether more is to be put behind it.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Held | State::Done)
    }

    pub fn is_held(&self) -> bool {
        self.state == State::Held
    }

    /// Nothing more is put behind the body: the end of the response, appended to `out`.
    pub fn close(&mut self, exchange: &Exchange, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.state == State::Held {
            self.tail.write(b"", End::Last, out)?;
            self.state = State::Done;
            self.finish(exchange, out);
        }
        Ok(())
    }

    /// The next piece in the client's framing, appended to `out`; it may be empty.
    pub fn take(&mut self, exchange: &Exchange, out: &mut Vec<u8>) -> Result<(), Broken> {
        let mut piece = Vec::new();
        let end = self.unpack_piece(&mut piece)?;
        self.unflushed |= !piece.is_empty();
        self.push(piece, end, exchange, out)
    }

    /// What the filters hold back and can give: the peer has nothing more for now.
    pub fn flush(&mut self, exchange: &Exchange, out: &mut Vec<u8>) -> Result<(), Broken> {
        if !self.unflushed || self.state != State::Open {
            return Ok(());
        }
        self.unflushed = false;
        self.push(Vec::new(), End::Flush, exchange, out)
    }

    fn push(&mut self, mut piece: Vec<u8>, end: End, exchange: &Exchange, out: &mut Vec<u8>) -> Result<(), Broken> {
        for step in &mut self.steps {
            self.spare.clear();
            step.write(&piece, end, &mut self.spare);
            std::mem::swap(&mut piece, &mut self.spare);
        }
        if end != End::Last {
            return self.tail.write(&piece, end, out);
        }
        if self.around.after.is_some() || self.around.slices {
            self.state = State::Held;
            return self.tail.put(&piece, out);
        }
        self.state = State::Done;
        self.tail.write(&piece, end, out)?;
        self.finish(exchange, out);
        Ok(())
    }

    fn finish(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        if self.tail.chunked {
            out.extend_from_slice(b"0\r\n");
            if self.trailers || !self.following.is_empty() {
                let start = out.len();
                out.extend_from_slice(&self.following);
                headers::push_trailers(&self.settings, exchange, out);
                // For the variables, in the form of a head: its first line is no field.
                let mut sent = exchange.sent_trailers.borrow_mut();
                sent.push(b'\n');
                sent.extend_from_slice(out.get(start..).unwrap_or_default());
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A piece of what came, unpacked; says whether it is the last one.
    fn unpack_piece(&mut self, piece: &mut Vec<u8>) -> Result<End, Broken> {
        let waiting = self.input.get(self.at..).unwrap_or_default();
        let Some(gunzip) = &mut self.gunzip else {
            let length = waiting.len().min(PIECE);
            piece.extend_from_slice(waiting.get(..length).unwrap_or_default());
            self.at += length;
            let last = self.state == State::Ended && self.at >= self.input.len();
            return Ok(if last { End::Last } else { End::Not });
        };
        let taken = gunzip.step(waiting, piece)?;
        self.at += taken;
        if taken > 0 || !piece.is_empty() {
            return Ok(End::Not);
        }
        match (waiting.is_empty(), self.state == State::Ended, gunzip.is_whole()) {
            (false, _, _) => Err(Broken("inflate() made no progress")),
            (true, true, false) => Err(Broken("inflate() ended in the middle of the stream")),
            (true, true, true) => Ok(End::Last),
            (true, false, _) => Ok(End::Not),
        }
    }

    /// `$gzip_ratio` and its like, if the body was compressed here.
    pub fn packed(&self) -> Option<Packed> {
        self.tail.pack.as_ref().map(Pack::packed)
    }
}
