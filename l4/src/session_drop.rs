//! `proxy_session_drop`: a session ends when its peer is removed from its group
//! or out of it for good. Who knows that is core's peer; this makes waiting for
//! it cost a relay no more than a load.

use fairlead_core::upstream::Peer;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

/// What the error log says of a session that ends so; its status stays 200, as that of every
/// session which had its peer.
pub(crate) const LOST: &str = "upstream server is removed or unavailable, session dropped";

/// A session's interest in its peer.
pub(crate) struct Watch {
    peer: Arc<Peer>,
    lost: Pin<Box<dyn Future<Output = ()>>>,
    /// Changes of the group up to which `lost` has looked.
    seen: Option<u64>,
}

impl Watch {
    pub fn new(peer: Arc<Peer>) -> Watch {
        let waiting = peer.clone();
        Watch { peer, lost: Box::pin(async move { waiting.lost().await }), seen: None }
    }

    /// Whether the peer is lost; if not, the task that asks is woken when it is. Always asked by one task.
    pub fn poll_lost(&mut self, cx: &mut Context<'_>) -> bool {
        let changes = Some(self.peer.state.changes());
        // Waiting takes a lock that the group's sessions share: not at every turn of a relay.
        if self.seen == changes {
            return false;
        }
        self.seen = changes;
        self.lost.as_mut().poll(cx).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::clock::Tick;
    use fairlead_core::net::Address;
    use fairlead_core::upstream::{Availability, Group, Method};
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_session_is_woken_for_changes_and_ends_with_its_own_peer() {
        let peer = |port| Peer::new(Address::Ip(SocketAddr::from(([10, 0, 0, 1], port))), "peer");
        let group = Group::new("group", vec![peer(1), peer(2)], Method::RoundRobin);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let mut watch = Watch::new(group.peers[0].clone());
        assert!(!watch.poll_lost(&mut cx) && !watch.poll_lost(&mut cx));
        group.peers[1].set_health(Availability::Unhealthy, Tick(0));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(!watch.poll_lost(&mut cx), "another peer is lost");
        group.peers[0].set_health(Availability::Unhealthy, Tick(0));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
        assert!(watch.poll_lost(&mut cx));
    }

    #[test]
    fn a_peer_that_was_lost_before_is_seen_at_once() {
        let peer = Peer::new(Address::Ip(SocketAddr::from(([10, 0, 0, 1], 1))), "peer");
        let group = Group::new("group", vec![peer], Method::RoundRobin);
        group.peers[0].set_health(Availability::Unhealthy, Tick(0));
        assert!(Watch::new(group.peers[0].clone()).poll_lost(&mut Context::from_waker(Waker::noop())));
    }
}
