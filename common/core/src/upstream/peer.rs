//! One member of a group: its address, what its `server` line says and what
//! all workers share about it.
//!
//! Decides whether the peer may be used now and counts its uses and failures,
//! as nginx does but in milliseconds. Does not choose among peers: the
//! [`crate::upstream::Balancer`] does, and gives out what it takes here as a
//! [`crate::upstream::Lease`].

use crate::clock::Tick;
use crate::net::Address;
use crate::stats::Counter;
use crate::upstream::bindings::Sid;
use crate::upstream::{Measure, Times, times};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// Steps in which a weight recovers over `slow_start`.
pub(crate) const RECOVERY_STEPS: u64 = 64;

/// A peer of one generation's group. What must outlive a reload is in `state`.
#[derive(Debug)]
pub struct Peer {
    pub address: Address,
    /// The address as nginx prints it in `$upstream_addr`.
    pub name: Box<str>,
    /// `server`'s own words: what `hash … consistent` places on the ring.
    pub server: Box<str>,
    /// What sticky sessions know it by: its `route`, or the lowercase hex MD5 of `name`.
    pub sid: Box<str>,
    /// The same in tables of sessions.
    pub(crate) id: Sid,
    pub weight: u32,
    pub max_conns: u32,
    pub max_fails: u32,
    /// Milliseconds.
    pub fail_timeout: u64,
    pub backup: bool,
    pub down: bool,
    /// Takes only what a sticky session binds to it.
    pub drain: bool,
    /// Milliseconds that its weight takes to recover; 0, none.
    pub slow_start: u64,
    pub state: Arc<State>,
}

/// What reloads carry over and all threads share.
#[derive(Debug, Default)]
pub struct State {
    /// Connections or requests in progress.
    pub active: AtomicU32,
    pub fails: AtomicU32,
    /// Ticks of the last failure and of the last time the peer was tried after one.
    pub accessed: AtomicU64,
    pub checked: AtomicU64,
    /// Tick of its last return from being unavailable; 0, never.
    returned: AtomicU64,
    pub times: Times,
    /// An [`Availability`] as active health checks set it.
    pub health: AtomicU8,
    pub picks: Counter,
    pub failures: Counter,
    pub bytes_sent: Counter,
    pub bytes_received: Counter,
    /// No group has it any more; never taken back.
    removed: AtomicBool,
    /// The newest generation marks it `down`.
    down: AtomicBool,
    version: OnceLock<Version>,
}

/// Counts the changes of availability in a group, so that every worker's
/// balancer can tell at the price of a load that it must look again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    changes: AtomicU64,
    /// Woken by each of them.
    moved: Notify,
}

/// What active health checks say about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Availability {
    /// No active checks, or they pass.
    #[default]
    Up = 0,
    /// `mandatory`, and not yet passed once.
    Checking = 1,
    Unhealthy = 2,
}

/// Why a peer may not be picked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// `down`, or active health checks say so.
    Off,
    /// `max_conns` uses are in progress.
    Full,
    /// `max_fails` was reached; may be tried at this tick.
    Failed(u64),
}

impl Version {
    pub(crate) fn load(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Waits until it is another one than `seen`.
    pub(crate) async fn moved_from(&self, seen: u64) {
        while self.load() == seen {
            // Registered before it looks again: a change in between is not missed.
            let mut moved = std::pin::pin!(self.0.moved.notified());
            moved.as_mut().enable();
            if self.load() != seen {
                return;
            }
            moved.await;
        }
    }

    /// What it was before.
    pub(crate) fn bump(&self) -> u64 {
        let before = self.0.changes.fetch_add(1, Ordering::AcqRel);
        self.0.moved.notify_waiters();
        before
    }
}

impl State {
    /// What active health checks say; every worker sees it within a tick.
    pub fn set_health(&self, health: Availability, now: Tick) {
        if self.health() == health {
            return;
        }
        if health == Availability::Up {
            self.begin_slow_start(now);
        }
        if self.health.swap(health as u8, Ordering::AcqRel) != health as u8 {
            self.changed();
        }
    }

    /// The peer is there (again) from now on: `slow_start` counts from here. For peers that join a
    /// running group; the others have it by themselves.
    pub fn begin_slow_start(&self, now: Tick) {
        self.returned.store(now.0.max(1), Ordering::Release);
    }

    pub fn health(&self) -> Availability {
        match self.health.load(Ordering::Acquire) {
            0 => Availability::Up,
            1 => Availability::Checking,
            _ => Availability::Unhealthy,
        }
    }

    /// Whether the peer has left its group while the process runs: the configuration that serves
    /// now does not name it, or its name has another address. Never becomes false again: a peer
    /// that comes back has a new state.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Takes the peer out for good; every worker sees it within a tick.
    pub(crate) fn remove(&self) {
        if !self.removed.swap(true, Ordering::AcqRel) {
            self.changed();
        }
    }

    /// What the newest generation's `server` line says of `down`.
    pub(crate) fn set_down(&self, down: bool) {
        if self.down.swap(down, Ordering::AcqRel) != down {
            self.changed();
        }
    }

    /// Changes so far in what may be picked from this peer's group: its peers' health, failures and
    /// removals. Who remembers it can tell at the price of a load that it must look again.
    pub fn changes(&self) -> u64 {
        self.version.get().map_or(0, Version::load)
    }

    /// Ties this state to the group whose workers must hear of its changes. A state that was
    /// carried over a reload stays with the group's own line.
    pub(crate) fn join(&self, version: &Version) {
        self.version.get_or_init(|| version.clone());
    }

    pub(crate) fn version(&self) -> Option<&Version> {
        self.version.get()
    }

    /// Tells all workers of the group; the version before that, if there is a group.
    fn changed(&self) -> Option<u64> {
        self.version.get().map(Version::bump)
    }
}

impl Peer {
    /// A primary peer with what nginx gives a `server` line without parameters.
    pub fn new(address: Address, server: &str) -> Peer {
        let name = address.to_string().into_boxed_str();
        let id = Sid::of_address(&name);
        Peer {
            sid: id.text(),
            id,
            name,
            address,
            server: server.into(),
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: 10_000,
            backup: false,
            down: false,
            drain: false,
            slow_start: 0,
            state: Arc::default(),
        }
    }

    /// With a name for sticky sessions.
    pub(super) fn routed(self, route: &str) -> Peer {
        Peer { sid: route.into(), id: Sid::of_route(route), ..self }
    }

    pub fn set_health(&self, health: Availability, now: Tick) {
        self.state.set_health(health, now);
    }

    /// Whether sessions to this peer are to end or to move to another one: it was removed from its
    /// group, or is out of it for as long as nobody says otherwise (`down`, or its active health
    /// checks fail). Failed connections (`max_fails`) and `max_conns` do not count.
    pub fn is_lost(&self) -> bool {
        let state = &self.state;
        state.is_removed() || state.down.load(Ordering::Acquire) || state.health() == Availability::Unhealthy
    }

    /// Waits until the peer [is lost](Peer::is_lost). Costs nothing until something changes in
    /// its group; dropping the future is how to stop waiting.
    pub async fn lost(&self) {
        let Some(version) = self.state.version() else { return std::future::pending().await };
        while !self.is_lost() {
            // Registered before it looks again: a change in between is not missed.
            let mut moved = std::pin::pin!(version.0.moved.notified());
            moved.as_mut().enable();
            if self.is_lost() {
                return;
            }
            moved.await;
        }
    }

    /// Whether a pick could take this peer now.
    pub fn is_available(&self, now: Tick) -> bool {
        self.fitness(now).is_ok()
    }

    pub(crate) fn fitness(&self, now: Tick) -> Result<(), Unfit> {
        self.check_on(false)?;
        if let Some(until) = self.failed_until(now) {
            return Err(Unfit::Failed(until));
        }
        if self.is_full() { Err(Unfit::Full) } else { Ok(()) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.max_conns > 0 && self.state.active.load(Ordering::Relaxed) >= self.max_conns
    }

    /// Whether it would be picked if it were not full.
    pub(super) fn waits_for_room(&self, now: Tick) -> bool {
        self.is_full() && self.check_on(false).is_ok() && self.failed_until(now).is_none()
    }

    /// Whether `max_fails` was reached and `fail_timeout` has not passed since.
    pub fn has_failed(&self, now: Tick) -> bool {
        self.failed_until(now).is_some()
    }

    /// The tick at which a failed peer may be tried again, while that is in the future.
    pub(super) fn failed_until(&self, now: Tick) -> Option<u64> {
        if !self.is_over_max_fails() {
            return None;
        }
        let checked = self.state.checked.load(Ordering::Acquire);
        let waited = now.0.saturating_sub(checked);
        (waited <= self.fail_timeout).then(|| checked.saturating_add(self.fail_timeout).saturating_add(1))
    }

    fn is_over_max_fails(&self) -> bool {
        self.max_fails > 0 && self.state.fails.load(Ordering::Acquire) >= self.max_fails
    }

    fn check_on(&self, bound: bool) -> Result<(), Unfit> {
        let off = self.down || (self.drain && !bound) || self.state.health() != Availability::Up;
        if off { Err(Unfit::Off) } else { Ok(()) }
    }

    /// How many 64ths of its weight a peer has that starts slowly, and the tick that brings the next
    /// one; `None` once it has them all.
    pub(crate) fn recovery(&self, now: Tick) -> Option<(u64, u64)> {
        let returned = self.state.returned.load(Ordering::Acquire);
        let waited = now.0.saturating_sub(returned);
        if self.slow_start == 0 || returned == 0 || waited >= self.slow_start {
            return None;
        }
        let share = |part: u64, of: u64, whole: u64| u128::from(part) * u128::from(of) / u128::from(whole);
        let parts = share(waited, RECOVERY_STEPS, self.slow_start) as u64;
        let next = share(parts + 1, self.slow_start, RECOVERY_STEPS) as u64;
        Some((parts, returned.saturating_add(next).max(now.0 + 1)))
    }

    /// What the peer is compared by, the less the better; its weight is not in it.
    pub(crate) fn burden(&self, by: Measure, now: Tick) -> u32 {
        let active = self.state.active.load(Ordering::Relaxed);
        match by {
            Measure::Conns => active,
            Measure::Time { metric, inflight } => {
                let times = &self.state.times;
                let heard = self.state.checked.load(Ordering::Relaxed).max(times.sampled(metric).0);
                let halvings = times::halvings(now.since(Tick(heard)), self.aging());
                let steps = times.steps(metric, halvings, inflight.then_some(now));
                steps.saturating_mul(active.saturating_add(1))
            }
        }
    }

    /// In how many milliseconds half of what is known of its times is forgotten while nothing is heard
    /// of it: nobody would come back to a peer for one bad time otherwise.
    pub(crate) fn aging(&self) -> u64 {
        const MOST: u64 = 10_000;
        if self.fail_timeout == 0 { MOST } else { self.fail_timeout.min(MOST) }
    }

    /// Counts one use if the peer may be used now; `bound` says that a sticky session asks for it.
    /// `Ok(true)` is the trial of a failed peer: of all workers only this one may try it until
    /// `fail_timeout` has passed again.
    pub(crate) fn acquire(&self, now: Tick, bound: bool) -> Result<bool, Unfit> {
        self.check_on(bound)?;
        if let Some(until) = self.failed_until(now) {
            return Err(Unfit::Failed(until));
        }
        self.count_in()?;
        let trial = self.is_over_max_fails();
        let checked = self.state.checked.load(Ordering::Acquire);
        if now.0.saturating_sub(checked) > self.fail_timeout {
            let won = self.state.checked.compare_exchange(checked, now.0, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if trial && !won {
                self.state.active.fetch_sub(1, Ordering::Relaxed);
                return Err(Unfit::Failed(now.0.saturating_add(self.fail_timeout).saturating_add(1)));
            }
        }
        self.state.picks.add(1);
        Ok(trial)
    }

    /// Counts one use of a group's only peer, whose failures nobody looks at.
    pub(crate) fn acquire_only(&self, bound: bool) -> Result<(), Unfit> {
        self.check_on(bound)?;
        self.count_in()?;
        self.state.picks.add(1);
        Ok(())
    }

    fn count_in(&self) -> Result<(), Unfit> {
        let active = &self.state.active;
        if self.max_conns == 0 {
            active.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let below = |uses| (uses < self.max_conns).then_some(uses + 1);
        active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).map_or(Err(Unfit::Full), |_| Ok(()))
    }

    /// Ends one use.
    pub(crate) fn release(&self) {
        self.state.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a failure.
    pub(crate) fn count_failure(&self, now: Tick) -> Failure {
        let fails = self.state.fails.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.state.accessed.store(now.0, Ordering::Release);
        self.state.checked.store(now.0, Ordering::Release);
        let crossed = self.max_fails > 0 && fails == self.max_fails;
        Failure {
            over: self.max_fails > 0 && fails >= self.max_fails,
            changed: if crossed { self.state.changed() } else { None },
        }
    }

    /// A use went well: a peer that was tried after its last failure is live again. The version that
    /// this has changed, when the peer was unavailable before.
    pub(crate) fn count_success(&self, now: Tick) -> Option<u64> {
        let state = &self.state;
        if state.fails.load(Ordering::Acquire) == 0
            || state.accessed.load(Ordering::Acquire) >= state.checked.load(Ordering::Acquire)
        {
            return None;
        }
        let fails = state.fails.swap(0, Ordering::AcqRel);
        let was_over = self.max_fails > 0 && fails >= self.max_fails;
        if !was_over {
            return None;
        }
        state.begin_slow_start(now);
        state.changed()
    }
}

/// What a failure has done to a peer.
pub(crate) struct Failure {
    /// It is over `max_fails`.
    pub over: bool,
    /// The group's version before, when this failure was the one that made it so.
    pub changed: Option<u64>,
}
