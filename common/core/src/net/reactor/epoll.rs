//! The kernel's side: one epoll instance inside the runtime's own.

use super::slots::Key;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events taken with one system call.
const EVENTS: usize = 256;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What a socket is good for, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Events(u8);

impl Events {
    pub const NONE: Events = Events(0);
    pub const READABLE: Events = Events(1);
    pub const WRITABLE: Events = Events(2);
    /// The other side sends no more: nothing follows what can be read now.
    pub const ENDING: Events = Events(4);
    /// An error waits, or both directions are over.
    pub const FAILED: Events = Events(8);
    /// There is, or was, urgent data: a read stops before it, full or not.
    pub const URGENT: Events = Events(16);

    /// All there was has been read, and no more can come.
    pub const DRAINED: Events = Events(32);

    pub fn has(self, events: Events) -> bool {
        self.0 & events.0 == events.0
    }

    pub fn has_any(self, events: Events) -> bool {
        self.0 & events.0 != 0
    }

    pub const fn with(self, events: Events) -> Events {
        Events(self.0 | events.0)
    }

    pub fn without(self, events: Events) -> Events {
        Events(self.0 & !events.0)
    }

    fn of(flags: EventFlags) -> Events {
        let mut events = Events::NONE;
        let failed = EventFlags::ERR | EventFlags::HUP;
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::PRI | failed) {
            events = events.with(Events::READABLE);
        }
        if flags.intersects(EventFlags::OUT | failed) {
            events = events.with(Events::WRITABLE);
        }
        if flags.contains(EventFlags::RDHUP) {
            events = events.with(Events::ENDING);
        }
        if flags.intersects(failed) {
            events = events.with(Events::FAILED);
        }
        if flags.contains(EventFlags::PRI) {
            events = events.with(Events::URGENT);
        }
        events
    }
}

pub(in crate::net) struct Event {
    pub(super) key: Key,
    pub events: Events,
}

pub(super) struct Epoll {
    descriptor: AsyncFd<OwnedFd>,
}

impl Epoll {
    /// Needs a tokio runtime's context.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Epoll> {
        let descriptor = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: an OwnedFd has one descriptor, open until the AsyncFd that owns it is dropped.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Epoll { descriptor })
    }

    pub fn add(&self, socket: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::PRI | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(self.descriptor.get_ref(), socket, EventData::new_u64(key.to_bits()), flags)?)
    }

    pub fn remove(&self, socket: BorrowedFd<'_>) {
        // Fails only when the socket is not registered, and then there is nothing to do.
        let _ = epoll::delete(self.descriptor.get_ref(), socket);
    }

    /// Gives what has happened to `each` and says how much that was; `None` when there is nothing,
    /// and then `cx` is woken when there is.
    pub fn poll(&self, cx: &mut Context<'_>, each: impl FnMut(Event)) -> Option<usize> {
        let Poll::Ready(Ok(mut ready)) = self.descriptor.poll_read_ready(cx) else { return None };
        let taken = self.take(each);
        if taken.is_none_or(|count| count < EVENTS) {
            ready.clear_ready();
        }
        // Asked again, an epoll without events says so and waits.
        taken.or(Some(0))
    }

    /// The same without waiting.
    pub fn take(&self, mut each: impl FnMut(Event)) -> Option<usize> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        // Fails only when a signal came.
        let (events, _) = epoll::wait(self.descriptor.get_ref(), &mut events, Some(&AT_ONCE)).ok()?;
        for event in events.iter() {
            let (data, flags) = (event.data, event.flags);
            each(Event { key: Key::from_bits(data.u64()), events: Events::of(flags) });
        }
        Some(events.len())
    }
}
