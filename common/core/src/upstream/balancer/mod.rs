//! One worker's view of a group: picks peers in O(1) or O(log n).
//!
//! Nothing here locks, allocates (but for a request's fifth try far out in a
//! large group) or walks over all peers, except when the availability of
//! some peer has changed: then once a tick at most.

mod hash;
mod ip_hash;
mod ketama;
mod least_conn;
mod maglev;
mod random;
mod round_robin;
mod search;
#[cfg(test)]
mod tests;
mod tournament;

pub(super) use hash::Rehash;
pub(super) use ketama::{MAX_POINTS, Ring};
pub(super) use maglev::{MAX_PEERS, Maglev};

use crate::clock::Tick;
use crate::dice::Dice;
use crate::upstream::bindings::{Bound, Sid};
use crate::upstream::{Group, Hashing, Lease, Measure, Method, Metric, Peer, Tried};
use round_robin::Rotation;
use search::Search;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// After so many hashes or throws that led to nobody round robin takes over, as in nginx.
const MAX_TRIES: u32 = 20;

pub struct Balancer {
    pub group: Arc<Group>,
    view: RefCell<View>,
}

/// What a pick may depend on.
pub struct Choice<'a> {
    pub now: Tick,
    /// For `ip_hash` and `sticky source`; `None` for a client on a Unix socket.
    pub client: Option<IpAddr>,
    /// The text of `hash`'s key; empty for the other methods.
    pub key: &'a [u8],
    /// Server id a sticky cookie asks for.
    pub sid: Option<&'a [u8]>,
}

/// Nobody is left: nginx's `no live upstreams while connecting to upstream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPeer;

/// Everything of this worker that picks change.
struct View {
    primary: Rotation,
    backup: Option<Rotation>,
    /// `hash … consistent`: the servers that have several addresses.
    servers: Vec<Rotation>,
    dice: Dice,
}

impl Balancer {
    /// `seed` feeds `random` and nothing else.
    pub fn new(group: Arc<Group>, seed: u64) -> Rc<Balancer> {
        let by = group.method.measure();
        let primaries = group.primaries();
        let rotation = |from: usize, to: usize| {
            let members = group.peers.iter().cloned().enumerate().skip(from).take(to - from);
            Rotation::new(members, by, group.version())
        };
        let view = View {
            primary: rotation(0, primaries),
            backup: (group.peers.len() > primaries).then(|| rotation(primaries, group.peers.len())),
            servers: group.ring().map(|ring| ring.rotations(&group.peers, group.version())).unwrap_or_default(),
            dice: Dice::new(seed),
        };
        Rc::new(Balancer { group, view: RefCell::new(view) })
    }

    /// Picks a peer that `tried` does not hold, and adds it there.
    ///
    /// # Errors
    /// [`NoPeer`] when every peer is down, failed, full or tried.
    pub fn pick(self: &Rc<Self>, choice: &Choice<'_>, tried: &mut Tried) -> Result<Lease, NoPeer> {
        tried.turn_to(self.group.edition());
        let (Some(bindings), Some(client)) = (&self.group.kept.bindings, choice.client) else {
            return self.pick_for(choice, tried);
        };
        let known = bindings.find(client, choice.now);
        let lease = self.pick_bound(known, choice, tried)?;
        let Bound::Elsewhere(other) = bindings.bind(client, known, lease.peer.id, choice.now) else {
            return Ok(lease);
        };
        // Another worker has begun the client's first session at the same time: both go to one peer.
        if let Some(index) = self.group.with_id(other)
            && tried.holds(index)
        {
            return Ok(lease);
        }
        tried.forget(lease.index);
        drop(lease);
        let lease = self.pick_bound(Some(other), choice, tried)?;
        bindings.bind(client, Some(other), lease.peer.id, choice.now);
        Ok(lease)
    }

    fn pick_bound(self: &Rc<Self>, to: Option<Sid>, choice: &Choice<'_>, tried: &mut Tried) -> Result<Lease, NoPeer> {
        let bound = to.and_then(|id| self.group.with_id(id)).and_then(|index| self.group.peers.get(index));
        let sid = bound.map(|peer| peer.sid.as_bytes()).or(choice.sid);
        self.pick_for(&Choice { sid, ..*choice }, tried)
    }

    fn pick_for(self: &Rc<Self>, choice: &Choice<'_>, tried: &mut Tried) -> Result<Lease, NoPeer> {
        let (index, peer) = match self.group.only() {
            Some(peer) => {
                let bound = choice.sid.is_some_and(|sid| sid == peer.sid.as_bytes());
                if tried.holds(0) || peer.acquire_only(bound).is_err() {
                    return Err(NoPeer);
                }
                (0, peer)
            }
            None => {
                let index = self.view.borrow_mut().pick(&self.group, choice, tried).ok_or(NoPeer)?;
                (index, self.group.peers.get(index).ok_or(NoPeer)?)
            }
        };
        tried.insert(index);
        Ok(Lease::new(self.clone(), peer.clone(), index, choice.now))
    }

    /// The next pick looks at peers that were full a moment ago: somebody has said that one is not.
    pub fn look_again(&self) {
        self.view.borrow_mut().look_again();
    }

    /// A use of peer `index` has begun; whether its age counts until it [`Balancer::ended`].
    pub(super) fn began(&self, index: usize, now: Tick) -> bool {
        let counts = matches!(self.group.method, Method::LeastTime(Measure::Time { inflight: true, .. }));
        if counts && let Some(peer) = self.group.peers.get(index) {
            peer.state.times.enter(now);
        }
        counts
    }

    pub(super) fn ended(&self, index: usize, began: Tick) {
        if let Some(peer) = self.group.peers.get(index) {
            peer.state.times.leave(began);
        }
    }

    /// Whether the method looks at a use until this time of it is known.
    pub(super) fn waits_for(&self, metric: Metric) -> bool {
        matches!(self.group.method, Method::LeastTime(Measure::Time { metric: waits, .. }) if waits == metric)
    }

    pub(super) fn took(&self, index: usize, metric: Metric, (took, at): (Duration, Tick)) {
        let Some(peer) = self.group.peers.get(index) else { return };
        peer.state.times.add(metric, took, at, peer.aging());
        if self.waits_for(metric) && self.group.only().is_none() {
            self.view.borrow_mut().each(&self.group, index, |rotation, member| {
                rotation.learn_load(member);
            });
        }
    }

    pub(super) fn succeeded(&self, index: usize, now: Tick) {
        if let Some(changed) = self.accounted(index).and_then(|peer| peer.count_success(now)) {
            let mut view = self.view.borrow_mut();
            view.note_own_change(changed);
            view.each(&self.group, index, |rotation, member| rotation.look(member, now));
        }
    }

    pub(super) fn failed(&self, index: usize, now: Tick) -> bool {
        let Some(peer) = self.group.peers.get(index) else { return false };
        peer.state.failures.add(1);
        let Some(failure) = self.accounted(index).map(|peer| peer.count_failure(now)) else { return false };
        let mut view = self.view.borrow_mut();
        if let Some(changed) = failure.changed {
            view.note_own_change(changed);
        }
        view.each(&self.group, index, |rotation, member| rotation.failed(member, now));
        failure.over
    }

    pub(super) fn released(&self, index: usize) {
        let Some(peer) = self.group.peers.get(index) else { return };
        peer.release();
        if self.group.only().is_none() {
            self.view.borrow_mut().each(&self.group, index, Rotation::released);
        }
        if let Some(queue) = &self.group.kept.queue {
            queue.freed();
        }
    }

    /// Matches played and members looked at so far.
    #[cfg(test)]
    fn steps(&self) -> u64 {
        let view = self.view.borrow();
        let all = [Some(&view.primary), view.backup.as_ref()].into_iter().flatten();
        all.chain(&view.servers).map(|rotation| rotation.looks + rotation.tournament.steps).sum()
    }

    /// A peer whose failures count: the only one of a group is never held unavailable.
    fn accounted(&self, index: usize) -> Option<&Peer> {
        if self.group.only().is_some() { None } else { self.group.peers.get(index).map(Arc::as_ref) }
    }
}

impl View {
    fn pick(&mut self, group: &Group, choice: &Choice<'_>, tried: &mut Tried) -> Option<usize> {
        self.primary.catch_up(choice.now);
        let found = self.pick_known(group, choice, tried);
        // Nobody, and something has changed within this tick: it may be the one.
        if found.is_none() && self.resync(choice.now) {
            return self.pick_known(group, choice, tried);
        }
        found
    }

    fn pick_known(&mut self, group: &Group, choice: &Choice<'_>, tried: &mut Tried) -> Option<usize> {
        if !tried.on_backup {
            if let Some(index) = self.pick_sticky(group, choice, tried) {
                return Some(index);
            }
            if let Some(index) = self.pick_primary(group, choice, tried) {
                return Some(index);
            }
        }
        let backup = self.backup.as_mut()?;
        backup.catch_up(choice.now);
        let base = group.primaries();
        if tried.on_backup || choice.sid.is_some() {
            let mut sticky = group.with_sid(choice.sid).filter(|index| *index >= base);
            if let Some(index) = sticky.find(|index| backup.pick_sticky(index - base, choice.now, tried)) {
                tried.on_backup = true;
                return Some(index);
            }
        }
        let member = backup.pick(choice.now, tried)?;
        tried.on_backup = true;
        Some(base + member)
    }

    fn pick_sticky(&mut self, group: &Group, choice: &Choice<'_>, tried: &Tried) -> Option<usize> {
        let primaries = group.primaries();
        let mut asked_for = group.with_sid(choice.sid).filter(|index| *index < primaries);
        let pays = matches!(group.method, Method::RoundRobin);
        let primary = &mut self.primary;
        asked_for.find(|index| {
            if pays {
                primary.pick_sticky(*index, choice.now, tried)
            } else {
                primary.take_bound(*index, choice.now, tried)
            }
        })
    }

    fn pick_primary(&mut self, group: &Group, choice: &Choice<'_>, tried: &mut Tried) -> Option<usize> {
        let now = choice.now;
        let search = Search { rotation: &mut self.primary, weights: group.weights(), now, tried };
        let found = match &group.method {
            Method::RoundRobin | Method::LeastConn | Method::LeastTime(_) => None,
            Method::Hash { .. } if choice.key.is_empty() => None,
            Method::Hash { table: Hashing::Ring, .. } => {
                group.ring().and_then(|ring| ketama::pick(search, &mut self.servers, ring, choice.key))
            }
            // One primary peer leaves nothing to choose by hash or by chance.
            _ if group.primaries() < 2 => None,
            Method::Hash { table: Hashing::Modulo, .. } => hash::pick(search, choice.key),
            Method::Hash { table: Hashing::Maglev, .. } => {
                group.maglev().and_then(|table| maglev::pick(search, table, choice.key))
            }
            Method::IpHash => ip_hash::pick(search, choice.client),
            Method::Random { two: None } => random::pick(search, &mut self.dice),
            Method::Random { two: Some(by) } => random::pick_two(search, &mut self.dice, *by),
        };
        found.or_else(|| self.primary.pick(now, tried))
    }

    fn resync(&mut self, now: Tick) -> bool {
        let primary = self.primary.resync(now);
        self.backup.as_mut().is_some_and(|backup| backup.resync(now)) || primary
    }

    fn look_again(&mut self) {
        let all = [Some(&mut self.primary), self.backup.as_mut()].into_iter().flatten();
        all.chain(&mut self.servers).for_each(Rotation::look_again);
    }

    fn note_own_change(&mut self, changed: u64) {
        self.primary.note_own_change(changed);
        if let Some(backup) = &mut self.backup {
            backup.note_own_change(changed);
        }
    }

    /// Every rotation that peer `index` is in, with its number there.
    fn each(&mut self, group: &Group, index: usize, mut act: impl FnMut(&mut Rotation, usize)) {
        match index.checked_sub(group.primaries()) {
            None => act(&mut self.primary, index),
            Some(member) => {
                if let Some(backup) = &mut self.backup {
                    act(backup, member);
                }
            }
        }
        if let Some((rotation, place)) = group.ring().and_then(|ring| ring.place_of(index))
            && let Some(addresses) = self.servers.get_mut(rotation)
        {
            act(addresses, place);
        }
    }
}
