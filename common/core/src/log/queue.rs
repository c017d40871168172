//! The log thread and the bounded queue before it.
//!
//! Whoever logs copies finished bytes in under a short lock; the thread swaps
//! the whole queue for an empty one and writes without the lock. What does not
//! fit is dropped and counted, never waited for. The thread starts with the
//! first bytes, so that a process that only forks never has it.

use crate::clock::{Tick, tick};
use crate::log::sink::Output;
use crate::log::{ErrorLog, Level};
use crate::stats::Counter;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes that may wait for the log thread.
const CAPACITY: usize = 8 * 1024 * 1024;
/// Room a buffer keeps for the next round; what a burst needed beyond it is given back.
const KEEP: usize = 1024 * 1024;
/// Between two lines in the error log about what the logs themselves lost.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// What the logs could not do.
#[derive(Debug, Default)]
pub struct Stats {
    /// Lines (or syslog messages) dropped because the queue was full.
    pub lines_dropped: Counter,
    /// Lines lost because `write` or `send` failed.
    pub lines_failed: Counter,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The thread waits here for work.
    work: Condvar,
    /// Those who flush wait here for the thread.
    done: Condvar,
    pub(super) stats: Stats,
    /// Where the thread reports its own trouble.
    complaints: Mutex<ErrorLog>,
    /// Writers to wake when files have been reopened.
    writers: Mutex<Vec<Weak<Notify>>>,
}

#[derive(Default)]
struct State {
    pending: Pending,
    /// Bytes in `pending` and in what the thread is writing.
    queued: usize,
    /// Number of pushes taken in, and of those written.
    pushed: u64,
    written: u64,
    idle: bool,
    closed: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    batches: Vec<Batch>,
}

/// Bytes up to `end` for one output; they begin where the batch before ends.
struct Batch {
    output: Output,
    end: usize,
}

impl Queue {
    /// Hands bytes to the log thread, or writes them here and now when there can be none.
    pub(super) fn push(self: &Arc<Self>, output: &Output, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.closed || !self.running(&mut state) {
            drop(state);
            self.write(output, bytes);
            return;
        }
        if state.queued + bytes.len() > CAPACITY {
            drop(state);
            self.stats.lines_dropped.add(output.lines(bytes));
            return;
        }
        state.queued += bytes.len();
        state.pushed += 1;
        state.pending.push(output, bytes);
        if state.idle {
            self.work.notify_one();
        }
    }

    /// Waits until everything queued so far is written.
    pub(super) fn flush(&self) {
        let mut state = self.lock();
        let goal = state.pushed;
        while state.written < goal {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes what is queued and ends the thread; later bytes are written by who pushes them.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let thread = state.thread.take();
        drop(state);
        self.work.notify_one();
        if let Some(thread) = thread {
            // It panicked: nothing more can be written, and nobody is left to tell.
            let _ = thread.join();
        }
        // The error log's sinks hold this queue, so the circle has to be cut.
        self.complain_to(ErrorLog::default());
    }

    pub(super) fn complain_to(&self, log: ErrorLog) {
        let old = mem::replace(&mut *unpoisoned(self.complaints.lock()), log);
        drop(old);
    }

    /// `writer` is told of every reopening until it is gone.
    pub(super) fn register(&self, writer: &Arc<Notify>) {
        let mut writers = unpoisoned(self.writers.lock());
        writers.retain(|writer| writer.strong_count() > 0);
        writers.push(Arc::downgrade(writer));
    }

    pub(super) fn wake_writers(&self) {
        for writer in unpoisoned(self.writers.lock()).iter().filter_map(Weak::upgrade) {
            writer.notify_one();
        }
    }

    /// Writes now, in this thread, and counts what is lost.
    pub(super) fn write(&self, output: &Output, bytes: &[u8]) -> Option<io::Error> {
        let loss = output.write(bytes).err()?;
        self.stats.lines_failed.add(loss.lines);
        Some(loss.error)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn running(self: &Arc<Self>, state: &mut State) -> bool {
        if state.thread.is_none() {
            let queue = self.clone();
            state.thread = thread::Builder::new().name("log".into()).spawn(move || queue.run()).ok();
        }
        state.thread.is_some()
    }

    fn run(&self) {
        let mut taken = Pending::default();
        let mut trouble = Trouble::default();
        while let Some(pushes) = self.take(&mut taken) {
            let size = taken.bytes.len();
            let mut start = 0;
            for Batch { output, end } in taken.batches.drain(..) {
                let bytes = taken.bytes.get(start..end).unwrap_or_default();
                if let Some(error) = self.write(&output, bytes) {
                    trouble.failed(output.failure(&error));
                }
                start = end;
            }
            taken.clear();
            self.finish(pushes, size);
            trouble.report(self, tick());
        }
        trouble.reported = None;
        trouble.report(self, tick());
    }

    /// Waits for work and takes all there is, with the number of the last push; `None` at the end.
    fn take(&self, taken: &mut Pending) -> Option<u64> {
        let mut state = self.lock();
        while state.pending.bytes.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
        }
        mem::swap(&mut state.pending, taken);
        Some(state.pushed)
    }

    fn finish(&self, pushes: u64, size: usize) {
        let mut state = self.lock();
        state.queued -= size;
        state.written = pushes;
        drop(state);
        self.done.notify_all();
    }
}

impl Pending {
    fn push(&mut self, output: &Output, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len();
        match self.batches.last_mut() {
            Some(last) if last.output.is(output) => last.end = end,
            _ => self.batches.push(Batch { output: output.clone(), end }),
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.batches.clear();
    }
}

/// What went wrong since the last line about it.
#[derive(Default)]
struct Trouble {
    failure: Option<String>,
    dropped: u64,
    reported: Option<Tick>,
}

impl Trouble {
    fn failed(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    /// Writes to the error log itself: the queue is what is in trouble.
    fn report(&mut self, queue: &Queue, now: Tick) {
        let dropped = queue.stats.lines_dropped.load();
        let quiet = self.failure.is_none() && dropped == self.dropped;
        if quiet || self.reported.is_some_and(|at| now < at.after(COMPLAINT_INTERVAL)) {
            return;
        }
        self.reported = Some(now);
        let log = unpoisoned(queue.complaints.lock()).clone();
        if let Some(failure) = self.failure.take() {
            log.write_now(Level::Alert, 0, format_args!("{failure}"));
        }
        if dropped != self.dropped {
            let lines = dropped - self.dropped;
            self.dropped = dropped;
            log.write_now(Level::Alert, 0, format_args!("{lines} log lines dropped, the log queue is full"));
        }
    }
}

/// A lock's data are whole even if a holder panicked: every change here is one step.
pub(super) fn unpoisoned<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn trouble_is_told_once_a_second_and_nothing_of_it_is_left_out() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let registry = crate::log::Registry::with_files(vec![(PathBuf::from("errors"), pipe.into())]);
        let destination = crate::log::Destination::File("errors".into());
        let queue = Queue::default();
        queue.complain_to(registry.error_log(&[(destination, Level::Alert)]).unwrap());
        let mut trouble = Trouble::default();
        for (now, dropped) in [(5000, 3), (5001, 4), (5999, 5), (6000, 6), (7500, 0)] {
            queue.stats.lines_dropped.add(dropped);
            trouble.report(&queue, Tick(now));
        }
        trouble.failed("first".into());
        trouble.failed("second".into());
        trouble.report(&queue, Tick(8000));
        queue.complain_to(ErrorLog::default());
        drop(registry);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let told: Vec<&str> = text.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        let full = "log lines dropped, the log queue is full";
        assert_eq!(told, [format!("3 {full}"), format!("15 {full}"), "first".into()]);
    }
}
