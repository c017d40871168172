//! Idle connections to peers, per worker: the one used last is used first.

use ahash::AHashMap;
use fairlead_core::clock::{Tick, tick};
use fairlead_core::net::Stream;
use fairlead_core::upstream::{Group, Keepalive, Peer, State};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

/// A connection to a peer and what it has been through.
pub(crate) struct PeerConnection {
    pub stream: Stream,
    pub opened: Tick,
    /// The last response had a long body that nothing looks at: the next one may have, too.
    pub long: bool,
    /// Requests it has carried, the present one included.
    pub requests: u64,
    idle_since: Tick,
    /// The location that used it last.
    tag: usize,
}

/// The idle connections of all groups of a generation.
pub(crate) struct Pool {
    groups: Vec<Idle>,
    /// Those of single clients, by group and by the client's connection.
    own: RefCell<AHashMap<(usize, u64), Own>>,
    sweeping: Cell<bool>,
}

/// The connection that a client's connection has for itself (`ntlm`).
struct Own {
    /// What sticky sessions know its peer by.
    sid: Box<str>,
    state: Arc<State>,
    connection: PeerConnection,
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
        PeerConnection { stream, opened: now, long: false, requests: 1, idle_since: now, tag: 0 }
    }

    /// Nothing has come from the peer while it was idle: neither its end nor bytes nobody asked for.
    fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }
}

impl Pool {
    pub fn new(groups: &[Arc<Group>]) -> Rc<Pool> {
        let idle = |group: &Arc<Group>| Idle {
            limits: group.keepalive.clone(),
            peers: RefCell::default(),
            count: Cell::new(0),
        };
        Rc::new(Pool { groups: groups.iter().map(idle).collect(), own: RefCell::default(), sweeping: Cell::new(false) })
    }

    /// The id of the peer that a client's connection has one of its own to.
    pub fn own_peer(&self, group: usize, client: u64) -> Option<Box<str>> {
        self.own.borrow().get(&(group, client)).map(|own| own.sid.clone())
    }

    /// That connection, if it leads to this peer and is still good.
    pub fn take_own(&self, group: usize, client: u64, peer: &Peer) -> Option<PeerConnection> {
        let own = self.own.borrow_mut().remove(&(group, client))?;
        let mut connection = Some(own.connection).filter(|it| Arc::ptr_eq(&own.state, &peer.state) && it.is_quiet())?;
        connection.requests += 1;
        Some(connection)
    }

    /// Keeps a connection for this client alone.
    pub fn give_own(self: &Rc<Self>, group: usize, client: u64, peer: &Peer, mut connection: PeerConnection) {
        connection.idle_since = tick();
        let own = Own { sid: peer.sid.clone(), state: peer.state.clone(), connection };
        self.own.borrow_mut().insert((group, client), own);
        self.begin_to_sweep();
    }

    /// The client's connection has ended.
    pub fn forget(&self, client: u64) {
        let mut own = self.own.borrow_mut();
        if !own.is_empty() {
            own.retain(|(_, known), _| *known != client);
        }
    }

    fn begin_to_sweep(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            fairlead_core::net::spawn(sweep(Rc::downgrade(self)));
        }
    }

    /// Lets go of clients' own that timed out or were closed; true while any are left.
    fn sweep_own(&self, now: Tick) -> bool {
        let mut own = self.own.borrow_mut();
        own.retain(|(group, _), own| {
            let timeout = self.groups.get(*group).map_or(Duration::ZERO, |idle| idle.limits.timeout);
            now.since(own.connection.idle_since) < timeout && own.connection.is_quiet() && !own.state.is_removed()
        });
        !own.is_empty()
    }

    /// An idle connection to this peer that is still good. `tag` names the location that asks.
    pub fn take(&self, group: usize, peer: &Peer, tag: usize) -> Option<PeerConnection> {
        let idle = self.groups.get(group)?;
        let mut peers = idle.peers.borrow_mut();
        let connections = &mut peers.get_mut(&place(peer))?.connections;
        let suits = |connection: &PeerConnection| !idle.limits.local || connection.tag == tag;
        while let Some(at) = connections.iter().rposition(suits) {
            let mut connection = connections.remove(at);
            idle.count.set(idle.count.get() - 1);
            if connection.is_quiet() {
                connection.requests += 1;
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last response is complete, within the group's `keepalive*` limits.
    pub fn give(self: &Rc<Self>, group: usize, (peer, tag): (&Peer, usize), mut connection: PeerConnection) {
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
        (connection.idle_since, connection.tag) = (now, tag);
        let mut peers = idle.peers.borrow_mut();
        let shelf = peers.entry(place(peer));
        let shelf = shelf.or_insert_with(|| Shelf { state: peer.state.clone(), connections: Vec::new() });
        shelf.connections.push(connection);
        idle.count.set(idle.count.get() + 1);
        self.begin_to_sweep();
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
        let left = pool.groups.iter().fold(pool.sweep_own(now), |left, idle| idle.sweep(now) | left);
        if !left {
            pool.sweeping.set(false);
            return;
        }
    }
}
