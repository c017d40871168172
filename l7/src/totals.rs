//! The http plane's counters as one line, which the worker process writes to the error log when it
//! ends. Those that count what goes on are zero then, unless connections were cut off.

use crate::plan::Plan;
use crate::stats::Stats;
use std::fmt;
use std::sync::atomic::Ordering;

pub struct Totals {
    stats: Stats,
    /// Peers' requests in progress.
    leases: u64,
    /// Requests in a `queue`, and how often one was full.
    queued: u64,
    overflows: u64,
    /// Sessions of `sticky learn` that a full zone forgot.
    forgotten: u64,
    /// Sticky cookies that nobody here has signed.
    forged: u64,
}

impl Totals {
    pub(crate) fn of(plan: &Plan) -> Totals {
        let groups = plan.groups.iter().map(|group| group.current());
        let leases = groups.map(|group| -> u64 {
            group.peers.iter().map(|peer| u64::from(peer.state.active.load(Ordering::Relaxed))).sum()
        });
        let kept = || plan.groups.iter().map(|group| &group.kept);
        let queues = || kept().filter_map(|kept| kept.queue.as_ref());
        Totals {
            stats: Stats::now(),
            leases: leases.sum(),
            queued: queues().map(|queue| queue.len() as u64).sum(),
            overflows: queues().map(|queue| queue.overflows().load()).sum(),
            forgotten: kept().filter_map(|kept| kept.sessions.as_ref()).map(|sessions| sessions.evicted.load()).sum(),
            forged: kept().map(|kept| kept.forged.load()).sum(),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { accepted, handled, requests, reading, writing, waiting } = self.stats;
        write!(f, "http totals: accepted={accepted} handled={handled} requests={requests} ")?;
        write!(f, "reading={reading} writing={writing} waiting={waiting} leases={} ", self.leases)?;
        let Totals { queued, overflows, forgotten, forged, .. } = self;
        write!(f, "queued={queued} queue_overflows={overflows} sessions_forgotten={forgotten} cookies_forged={forged}")
    }
}
