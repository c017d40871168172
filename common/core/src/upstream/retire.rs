//! What a new generation means for the peers of the one before.

use crate::upstream::{Group, State};
use std::collections::HashSet;
use std::sync::Arc;

/// Tells the peers of `before`, which has served so far, what has become of them in `now`: those
/// that no group has any more [are removed](State::is_removed), and `down` is what the newest
/// `server` line says. Called once a generation is in force, never while one may still be refused.
pub fn retire<'a>(before: impl Iterator<Item = &'a Arc<Group>>, now: impl Iterator<Item = &'a Arc<Group>>) {
    let mut kept: HashSet<*const State> = HashSet::new();
    for group in now.map(Group::current) {
        for peer in &group.peers {
            peer.state.set_down(peer.down);
            kept.insert(Arc::as_ptr(&peer.state));
        }
    }
    for group in before.map(Group::current) {
        let gone = group.peers.iter().filter(|peer| !kept.contains(&Arc::as_ptr(&peer.state)));
        gone.for_each(|peer| peer.state.remove());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::upstream::{Availability, Method, Peer};
    use std::future::Future;
    use std::net::SocketAddr;
    use std::task::{Context, Waker};

    fn group(peers: &[&Arc<Peer>], down: &str) -> Arc<Group> {
        let peers = peers.iter().map(|peer| {
            let mut copy = Peer::new(peer.address.clone(), &peer.server);
            copy.state = peer.state.clone();
            copy.down = &*peer.name == down;
            copy
        });
        Arc::new(Group::new("app", peers.collect(), Method::RoundRobin))
    }

    fn peer(port: u16) -> Arc<Peer> {
        let address = SocketAddr::from(([10, 0, 0, 1], port));
        Arc::new(Peer::new(crate::net::Address::Ip(address), &address.to_string()))
    }

    #[test]
    fn peers_that_no_group_has_any_more_are_removed_and_the_others_stay() {
        let (stays, goes, new) = (peer(1), peer(2), peer(3));
        let (before, now) = (group(&[&stays, &goes], ""), group(&[&new, &stays], ""));
        let changes = goes.state.changes();
        retire([&before].into_iter(), [&now].into_iter());
        let lost = [&stays, &goes, &new].map(|peer| (peer.state.is_removed(), peer.is_lost()));
        assert_eq!(lost, [(false, false), (true, true), (false, false)]);
        assert!(goes.state.changes() > changes);
    }

    #[test]
    fn a_peer_that_a_reload_marks_down_is_lost_until_the_next_does_not() {
        let (a, b) = (peer(1), peer(2));
        let (first, second) = (group(&[&a, &b], ""), group(&[&a, &b], "10.0.0.1:1"));
        retire([&first].into_iter(), [&second].into_iter());
        assert!(a.is_lost() && !a.state.is_removed() && !b.is_lost());
        retire([&second].into_iter(), [&first].into_iter());
        assert!(!a.is_lost());
    }

    #[test]
    fn who_waits_for_the_loss_of_a_peer_is_woken_by_it_and_by_nothing_else() {
        let (a, b) = (peer(1), peer(2));
        let before = group(&[&a, &b], "");
        let mut lost = std::pin::pin!(a.lost());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(lost.as_mut().poll(&mut cx).is_pending());
        b.set_health(Availability::Unhealthy, Tick(1));
        a.set_health(Availability::Checking, Tick(1));
        assert!(lost.as_mut().poll(&mut cx).is_pending());
        retire([&before].into_iter(), [&group(&[&b], "")].into_iter());
        assert!(lost.as_mut().poll(&mut cx).is_ready());
    }
}
