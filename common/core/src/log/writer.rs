//! One worker's lines on their way to the log thread: appended to a buffer per
//! destination, handed over when the buffer is full or its delay has passed.
//!
//! A line costs no allocation, no system call and no clock. Only the first line
//! after a flush touches anything shared.

use crate::clock::{Tick, tick};
use crate::log::AccessLog;
use crate::log::sink::{Output, Sink};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What a buffer holds before it is handed over, where `buffer=` does not say.
const FULL: usize = 64 * 1024;
/// How long a line without `buffer=` may wait: many share one hand-over, nobody notices.
const DELAY: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::MAX;
/// A buffer that keeps more room than this, and uses little of it, gives it back.
const KEEP: usize = 8 * 1024;

/// One worker's buffered lines of all access logs.
#[derive(Default)]
pub struct Writer {
    buffers: RefCell<Buffers>,
    wake: Arc<Notify>,
    /// What [`run`](Writer::run) sleeps at most.
    sleep: Cell<Sleep>,
}

#[derive(Clone, Copy)]
struct Sleep(Duration);

/// Nothing buffered: sleeps until woken.
impl Default for Sleep {
    fn default() -> Sleep {
        Sleep(NEVER)
    }
}

#[derive(Default)]
struct Buffers {
    by_sink: Vec<Buffer>,
    /// Sinks whose buffers may hold lines.
    dirty: Vec<usize>,
    /// Queue that wakes this writer on reopening, by address.
    registered: usize,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Where the bytes go, whatever is reopened meanwhile; none while there are none.
    to: Option<To>,
    delay: Duration,
    due: Option<Tick>,
    is_dirty: bool,
}

struct To {
    sink: Arc<Sink>,
    output: Output,
    epoch: u64,
}

impl Writer {
    /// Appends one line: `build` writes it without its end, which this adds. Lines reach the log
    /// thread within a few milliseconds, or by `buffer=`/`flush=`. `build` must not log.
    pub fn line(&self, log: &AccessLog, build: impl FnOnce(&mut Vec<u8>)) {
        let mut buffers = self.buffers.borrow_mut();
        let index = log.sink.index;
        if buffers.by_sink.len() <= index {
            buffers.by_sink.resize_with(index + 1, Buffer::default);
        }
        let Buffers { by_sink, dirty, registered } = &mut *buffers;
        let Some(buffer) = by_sink.get_mut(index) else { return };
        if !buffer.goes_to(&log.sink) {
            buffer.flush();
            buffer.begin(log, registered, &self.wake);
            if !buffer.is_dirty {
                buffer.is_dirty = true;
                dirty.push(index);
            }
        }
        let delay = delay(log);
        if delay < buffer.delay {
            buffer.delay = delay;
            buffer.due = None;
        }
        if buffer.delay < self.sleep.get().0 {
            // Once: `run` sets it anew.
            self.sleep.set(Sleep(buffer.delay));
            self.wake.notify_one();
        }
        let start = buffer.bytes.len();
        log.sink.push_line(&mut buffer.bytes, build);
        let full = log.buffer.unwrap_or(FULL);
        if buffer.bytes.len() > full {
            buffer.spill(start, full);
        }
    }

    /// The same for a log whose lines name their files: this one goes to `path`.
    pub fn line_to(&self, path: &[u8], log: &AccessLog, build: impl FnOnce(&mut Vec<u8>)) {
        self.line_under(b"", (path, log), build);
    }

    /// The same for lines that are written only while the folder `root` exists: as in nginx, where
    /// nobody serves a host there is no log of it either.
    pub fn line_under(&self, root: &[u8], (path, log): (&[u8], &AccessLog), build: impl FnOnce(&mut Vec<u8>)) {
        self.line(log, |out| {
            for part in [path, root] {
                out.extend_from_slice(part);
                out.push(0);
            }
            build(out);
        });
    }

    /// Hands over every buffer whose delay has passed, or whose file has been reopened; tells when
    /// the next one is due, `None` while none is.
    pub fn flush_due(&self, now: Tick) -> Option<Duration> {
        let mut buffers = self.buffers.borrow_mut();
        let Buffers { by_sink, dirty, .. } = &mut *buffers;
        let mut next: Option<Duration> = None;
        dirty.retain(|index| {
            let Some(buffer) = by_sink.get_mut(*index) else { return false };
            let wait = buffer.flush_due(now);
            if let Some(wait) = wait.filter(|wait| *wait != NEVER) {
                next = Some(next.map_or(wait, |next| next.min(wait)));
            }
            buffer.is_dirty = wait.is_some();
            buffer.is_dirty
        });
        next
    }

    /// Hands over everything.
    pub fn flush(&self) {
        let mut buffers = self.buffers.borrow_mut();
        let Buffers { by_sink, dirty, .. } = &mut *buffers;
        for index in dirty.drain(..) {
            if let Some(buffer) = by_sink.get_mut(index) {
                buffer.flush();
                buffer.is_dirty = false;
            }
        }
    }

    /// Flushes in time, for as long as the worker lives; sleeps without a timer while nothing is
    /// buffered. Each worker spawns it once.
    pub async fn run(&self) {
        loop {
            let wait = self.flush_due(tick());
            self.sleep.set(Sleep(wait.unwrap_or(NEVER)));
            match wait {
                None => self.wake.notified().await,
                Some(wait) => {
                    // Woken or not, what is due is looked at again.
                    let _ = tokio::time::timeout(wait, self.wake.notified()).await;
                }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
    }
}

fn delay(log: &AccessLog) -> Duration {
    match (log.flush, log.buffer) {
        (Some(flush), _) => flush,
        (None, Some(_)) => NEVER,
        (None, None) => DELAY,
    }
}

impl Buffer {
    fn goes_to(&self, sink: &Arc<Sink>) -> bool {
        self.to.as_ref().is_some_and(|to| to.epoch == sink.epoch() && Arc::ptr_eq(&to.sink, sink))
    }

    fn begin(&mut self, log: &AccessLog, registered: &mut usize, wake: &Arc<Notify>) {
        let queue = &log.sink.queue;
        let address = Arc::as_ptr(queue).addr();
        if *registered != address {
            *registered = address;
            queue.register(wake);
        }
        // The epoch first: a reopening in between then costs an early flush, not a wrong file.
        let epoch = log.sink.epoch();
        self.to = Some(To { sink: log.sink.clone(), output: log.sink.output().compressed(log.gzip), epoch });
        self.delay = delay(log);
        self.due = None;
    }

    /// The buffer overflowed with the line from `start` on: what came before it goes first, so that
    /// no line is torn between two writes.
    fn spill(&mut self, start: usize, full: usize) {
        self.hand_over(start);
        if self.bytes.len() > full {
            self.flush();
        }
    }

    /// How long until the buffer is due; `None` when it is empty.
    fn flush_due(&mut self, now: Tick) -> Option<Duration> {
        let to = self.to.as_ref()?;
        if to.epoch != to.sink.epoch() {
            self.flush();
            return None;
        }
        if self.delay == NEVER {
            return Some(NEVER);
        }
        let due = *self.due.get_or_insert(now.after(self.delay));
        if due > now {
            return Some(due.since(now));
        }
        self.flush();
        None
    }

    fn flush(&mut self) {
        self.hand_over(self.bytes.len());
        self.to = None;
        if self.bytes.capacity() > KEEP.max(self.bytes.len() * 8) {
            self.bytes.shrink_to(KEEP);
        }
    }

    fn hand_over(&mut self, end: usize) {
        if let (Some(to), Some(bytes)) = (&self.to, self.bytes.get(..end)) {
            to.sink.queue.push(&to.output, bytes);
        }
        self.bytes.drain(..end);
        self.due = None;
    }
}
