//! Sessions whose peer's name is being resolved, with the datagrams that came
//! for them meanwhile: a few of each and not too many bytes of all, then they
//! are lost as on any full queue.

use crate::outcomes::Status;
use crate::record::Record;
use crate::target::{self, Candidates};
use crate::udp::flows::Key;
use ahash::AHashMap;
use fairlead_core::clock::tick;
use fairlead_core::worker::Ticket;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;

/// Datagrams kept for one session.
const KEPT: usize = 16;

/// Bytes kept for all sessions of a listener and worker.
const MOST_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default)]
pub(crate) struct Waiting {
    datagrams: AHashMap<Key, Vec<Box<[u8]>>>,
    bytes: usize,
    answers: Rc<Answers>,
}

/// Where the resolving tasks leave what they found.
#[derive(Default)]
struct Answers {
    done: RefCell<Vec<Answer>>,
    waker: RefCell<Option<Waker>>,
}

/// A session whose name has an answer.
pub(crate) struct Answer {
    pub key: Key,
    pub record: Record,
    pub ticket: Ticket,
    pub outcome: Result<Candidates, Status>,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Wakes `waker`'s task when a name has been resolved.
    pub fn watch(&self, waker: &Waker) {
        let mut slot = self.answers.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    pub fn holds(&self, key: &Key) -> bool {
        !self.datagrams.is_empty() && self.datagrams.contains_key(key)
    }

    /// Keeps a datagram for the session of `key`, which is waiting; false when it is lost.
    pub fn add(&mut self, key: &Key, bytes: &[u8]) -> bool {
        let room = self.bytes + bytes.len() <= MOST_BYTES;
        match self.datagrams.get_mut(key).filter(|kept| room && kept.len() < KEPT) {
            Some(kept) => kept.push(bytes.into()),
            None => return false,
        }
        self.bytes += bytes.len();
        true
    }

    /// Starts to resolve the name for a session that begins with `bytes`.
    pub fn resolve(&mut self, key: Key, mut record: Record, ticket: Ticket, name: (Box<str>, u16), bytes: &[u8]) {
        self.datagrams.insert(key, Vec::new());
        self.add(&key, bytes);
        let answers = Rc::downgrade(&self.answers);
        tokio::task::spawn_local(async move {
            let outcome = target::resolve(&record, &name.0, name.1).await;
            // The listener went meanwhile, and its patience with it.
            let Some(answers) = answers.upgrade() else {
                return record.finish(outcome.err().unwrap_or(Status::Ok), tick());
            };
            answers.done.borrow_mut().push(Answer { key, record, ticket, outcome });
            if let Some(waker) = answers.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        });
    }

    /// One session whose name has an answer, and the datagrams that wait for it.
    pub fn resolved(&mut self) -> Option<(Answer, Vec<Box<[u8]>>)> {
        let answer = self.answers.done.borrow_mut().pop()?;
        let datagrams = self.datagrams.remove(&answer.key).unwrap_or_default();
        self.bytes -= datagrams.iter().map(|bytes| bytes.len()).sum::<usize>();
        Some((answer, datagrams))
    }
}
