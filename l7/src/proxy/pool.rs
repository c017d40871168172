//! Idle connections to peers, per worker: the one used last is used first.

use ahash::AHashMap;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::net::Stream;
use fairlead_core::upstream::{Group, Keepalive, Peer, State};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

/// A connection to a peer and what it has been through.
pub(crate) struct PeerConnection {
    pub stream: Stream,
    pub opened: Tick,
    /// Requests it has carried, the present one included.
    pub requests: u64,
    idle_since: Tick,
}

/// The idle connections of all groups of a generation.
pub(crate) struct Pool {
    groups: Vec<Idle>,
    sweeping: Cell<bool>,
}

struct Idle {
    limits: Keepalive,
    /// By the peer's state, whose place stays its own for as long as it is held here.
    peers: RefCell<AHashMap<usize, Shelf>>,
    count: Cell<usize>,
}

/// The idle connections to one peer, the newest last.
struct Shelf {
    state: Arc<State>,
    connections: Vec<PeerConnection>,
}

fn place(peer: &Peer) -> usize {
    Arc::as_ptr(&peer.state).addr()
}

/// How often connections that timed out or that their peer closed are let go.
const SWEEP: Duration = Duration::from_secs(1);

impl PeerConnection {
    pub fn new(stream: Stream) -> PeerConnection {
        let now = tick();
        PeerConnection { stream, opened: now, requests: 1, idle_since: now }
    }

    /// Nothing has come from the peer while it was idle: neither its end nor bytes nobody asked for.
    fn is_quiet(&self) -> bool {
        self.stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

impl Pool {
    pub fn new(groups: &[Arc<Group>]) -> Rc<Pool> {
        let idle = |group: &Arc<Group>| Idle {
            limits: group.keepalive.clone(),
            peers: RefCell::default(),
            count: Cell::new(0),
        };
        Rc::new(Pool { groups: groups.iter().map(idle).collect(), sweeping: Cell::new(false) })
    }

    /// An idle connection to this peer that is still good.
    pub fn take(&self, group: usize, peer: &Peer) -> Option<PeerConnection> {
        let idle = self.groups.get(group)?;
        let mut peers = idle.peers.borrow_mut();
        let connections = &mut peers.get_mut(&place(peer))?.connections;
        while let Some(mut connection) = connections.pop() {
            idle.count.set(idle.count.get() - 1);
            if connection.is_quiet() {
                connection.requests += 1;
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last response is complete, within the group's `keepalive*` limits.
    pub fn give(self: &Rc<Self>, group: usize, peer: &Peer, mut connection: PeerConnection) {
        let Some(idle) = self.groups.get(group) else {
            return;
        };
        let limits = &idle.limits;
        let now = tick();
        if limits.connections == 0
            || connection.requests >= limits.requests
            || now.since(connection.opened) >= limits.time
            || peer.state.is_removed()
            || !connection.is_quiet()
        {
            return;
        }
        if idle.count.get() >= limits.connections {
            idle.drop_oldest();
        }
        connection.idle_since = now;
        let mut peers = idle.peers.borrow_mut();
        let shelf = peers.entry(place(peer));
        let shelf = shelf.or_insert_with(|| Shelf { state: peer.state.clone(), connections: Vec::new() });
        shelf.connections.push(connection);
        idle.count.set(idle.count.get() + 1);
        if !self.sweeping.replace(true) {
            fairlead_core::net::spawn(sweep(Rc::downgrade(self)));
        }
    }
}

impl Idle {
    fn drop_oldest(&self) {
        let mut peers = self.peers.borrow_mut();
        let oldest = peers
            .iter()
            .filter_map(|(peer, shelf)| shelf.connections.first().map(|first| (first.idle_since, *peer)))
            .min();
        if let Some(shelf) = oldest.and_then(|(_, peer)| peers.get_mut(&peer)) {
            shelf.connections.remove(0);
            self.count.set(self.count.get() - 1);
        }
    }

    /// Lets go of what timed out, was closed or leads to a peer that is gone; true while any are left.
    fn sweep(&self, now: Tick) -> bool {
        let mut left = 0;
        self.peers.borrow_mut().retain(|_, shelf| {
            let in_time = |connection: &PeerConnection| now.since(connection.idle_since) < self.limits.timeout;
            let member = !shelf.state.is_removed();
            shelf.connections.retain(|connection| member && in_time(connection) && connection.is_quiet());
            left += shelf.connections.len();
            !shelf.connections.is_empty()
        });
        self.count.set(left);
        left > 0
    }
}

/// Runs while the pool holds connections.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let now = tick();
        let left = pool.groups.iter().fold(false, |left, idle| idle.sweep(now) | left);
        if !left {
            pool.sweeping.set(false);
            return;
        }
    }
}
