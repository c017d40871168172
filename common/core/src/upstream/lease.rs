//! One counted use of a peer. Dropping it is the only way to give it back.

use crate::clock::Tick;
use crate::upstream::{Balancer, Metric, Peer};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Made by [`Balancer::pick`] alone. Dropping it without [`Lease::succeed`] or [`Lease::fail`]
/// says nothing about the peer.
pub struct Lease {
    pub peer: Arc<Peer>,
    /// Position in [`crate::upstream::Group::peers`].
    pub index: usize,
    balancer: Rc<Balancer>,
    /// What was counted: writing to the public fields cannot unbalance the count.
    counted: usize,
    began: Tick,
    /// When it began, while `least_time … inflight` counts its age.
    running: Option<Tick>,
}

impl Lease {
    /// `balancer` has counted one use of peer `index`.
    pub(super) fn new(balancer: Rc<Balancer>, peer: Arc<Peer>, index: usize, now: Tick) -> Lease {
        let running = balancer.began(index, now).then_some(now);
        Lease { peer, index, balancer, counted: index, began: now, running }
    }

    /// Whether another peer of the group could be picked now. Looks at all of them: to be asked when
    /// something has changed, not for every use.
    pub fn has_alternative(&self, now: Tick) -> bool {
        let others = self.balancer.group.peers.iter().enumerate().filter(|(index, _)| *index != self.counted);
        others.into_iter().any(|(_, peer)| peer.is_available(now))
    }

    /// The peer answered: clears its failures when it was on trial.
    pub fn succeed(&mut self, now: Tick) {
        self.balancer.succeeded(self.counted, now);
    }

    /// The peer failed this use; counts towards `max_fails`. Whether the peer is over it now,
    /// which nginx logs as `upstream server temporarily disabled`.
    pub fn fail(&mut self, now: Tick) -> bool {
        self.balancer.failed(self.counted, now)
    }

    /// The connection stood after `took`.
    pub fn connected(&mut self, took: Duration) {
        self.took(Metric::Connect, took);
    }

    /// The first byte (in http, the header) came `took` after the use began.
    pub fn first_byte(&mut self, took: Duration) {
        self.took(Metric::FirstByte, took);
    }

    /// The use came to its good end after `took`.
    pub fn last_byte(&mut self, took: Duration) {
        self.took(Metric::LastByte, took);
    }

    fn took(&mut self, metric: Metric, took: Duration) {
        if self.balancer.waits_for(metric) {
            self.end_running();
        }
        self.balancer.took(self.counted, metric, (took, self.began.after(took)));
    }

    fn end_running(&mut self) {
        if let Some(began) = self.running.take() {
            self.balancer.ended(self.counted, began);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end_running();
        self.balancer.released(self.counted);
    }
}
