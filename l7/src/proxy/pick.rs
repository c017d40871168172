//! Which peer is tried next: what the balancer goes by, the wait for one that has room (`queue`),
//! and the element that the try becomes in the `$upstream_*` lists.

use super::run::Run;
use super::sticky::{Asked, Bound, Sticky};
use crate::client::Client;
use crate::exchange::{Attempt as Record, Exchange};
use fairlead_core::clock::{Tick, tick};
use fairlead_core::log::Level;
use fairlead_core::upstream::{Balancer, Choice, Lease, Place};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Who was found.
pub(super) enum Picked {
    Peer(Lease),
    /// No peer can be used, or none had room in time.
    Nobody,
    /// The client did not wait.
    ClientGone,
}

/// How often peers that seem to have no room and seem not to be full are looked at again.
const MOST_LOOKS: u32 = 8;

/// How a wait came to its end, or a turn of it.
enum Woken {
    /// Something may be free.
    Called,
    /// The deadline that was set has passed.
    Late,
    ClientGone,
}

impl Run<'_> {
    pub(super) async fn pick(&mut self, client: &mut Client, exchange: &mut Exchange) -> Picked {
        exchange.response.status = 0;
        // The first try begins with the run.
        let now = if self.tries == 0 { self.started } else { tick() };
        if self.tries > 0 {
            self.renew(exchange);
        }
        let sticky = self.destination.group.and_then(|group| exchange.worker.plan.sticky.get(group));
        if let (Some(Some(sticky)), None) = (sticky, &self.session) {
            self.session = Some(sticky.session(exchange));
        }
        let queue = self.destination.balancer.group.kept.queue.clone();
        let Some((queue, patience)) = queue.and_then(|queue| Some((queue.clone(), queue.patience()?))) else {
            let (lease, bound) = self.choose(exchange, now);
            return self.picked(exchange, lease, (bound, now, None));
        };
        // Those who wait come first.
        if queue.is_empty()
            && let Some((lease, bound)) = self.choose_now(exchange, now)
        {
            return self.picked(exchange, lease, (bound, now, None));
        }
        let Some(place) = queue.join(!self.tried.is_empty()) else {
            let name = &self.destination.balancer.group.name;
            exchange.log(Level::Error, format_args!("upstream queue of \"{name}\" is full"));
            self.note(exchange, None, (None, now, Some(Duration::ZERO)));
            return Picked::Nobody;
        };
        let name = &self.destination.balancer.group.name;
        exchange.log(Level::Info, format_args!("request waits in the queue of upstream \"{name}\""));
        Box::pin(self.wait(client, exchange, place, now.after(patience))).await
    }

    /// Waits in line until a peer can be picked, nobody is left to wait for, or time is over.
    async fn wait(&mut self, client: &mut Client, exchange: &mut Exchange, place: Place, until: Tick) -> Picked {
        let began = tick();
        loop {
            let woken = self.next_call(client, exchange, &place, until).await;
            let now = tick();
            let waited = Some(now.since(began));
            match woken {
                Woken::ClientGone => {
                    self.note(exchange, None, (None, now, waited));
                    exchange.attempts.last_mut().into_iter().for_each(|record| record.status = 0);
                    return Picked::ClientGone;
                }
                Woken::Late if now >= until => {
                    let message = "upstream queue timed out (110: Connection timed out) while waiting for upstream";
                    exchange.log(Level::Error, format_args!("{message}"));
                    self.note(exchange, None, (None, now, waited));
                    return Picked::Nobody;
                }
                Woken::Called | Woken::Late => {}
            }
            self.renew(exchange);
            self.destination.balancer.look_again();
            if let Some((lease, bound)) = self.choose_now(exchange, now) {
                return self.picked(exchange, lease, (bound, now, waited));
            }
            if !self.tried.is_empty() {
                place.pass_on();
            }
        }
    }

    /// Until this one is called; the first in line also hears what changes in the group.
    async fn next_call(&self, client: &mut Client, exchange: &Exchange, place: &Place, until: Tick) -> Woken {
        let balancer: Rc<Balancer> = self.destination.balancer.clone();
        let (group, now) = (&balancer.group, tick());
        let until = group.recovers_at(now).map_or(until, |at| at.min(until));
        client.deadline.set(until.since(now));
        let mut changed = pin!(group.changed(group.changes()));
        let mut watching = !self.proxy.ignore_client_abort;
        poll_fn(|cx| {
            if place.poll_called(cx).is_ready() {
                return Poll::Ready(Woken::Called);
            }
            if changed.as_mut().poll(cx).is_ready() && place.is_first() {
                return Poll::Ready(Woken::Called);
            }
            if watching && client.stream.poll_read_ready(cx).is_ready() {
                if client.stream.is_ended() {
                    let message = "client prematurely closed connection while waiting for upstream";
                    exchange.log(Level::Info, format_args!("{message}"));
                    return Poll::Ready(Woken::ClientGone);
                }
                // It sends more already: it is there.
                watching = false;
            }
            client.deadline.poll(cx).map(|_| Woken::Late)
        })
        .await
    }

    /// The group may have other members by now.
    fn renew(&mut self, exchange: &Exchange) {
        let group = self.destination.group;
        if let Some(slot) = group.and_then(|group| exchange.worker.balancers.get(group)) {
            self.destination.balancer = slot.balancer();
        }
    }

    /// A peer, or nobody when none is to be had; `None` when there are some that only have no room.
    fn choose_now(&mut self, exchange: &Exchange, now: Tick) -> Option<(Option<Lease>, Option<Bound>)> {
        for _ in 0..MOST_LOOKS {
            let (lease, bound) = self.choose(exchange, now);
            if lease.is_some() {
                return Some((lease, bound));
            }
            if self.destination.balancer.group.has_full(&self.tried, now) {
                return None;
            }
            // Nobody is full any longer: one may have come free in between, on another worker.
            self.destination.balancer.look_again();
        }
        Some((None, None))
    }

    fn choose(&mut self, exchange: &Exchange, now: Tick) -> (Option<Lease>, Option<Bound>) {
        let plan = &exchange.worker.plan;
        let group = self.destination.group;
        let mut key = Vec::new();
        if let Some(template) = group.and_then(|group| plan.keys.get(group)).and_then(Option::as_ref) {
            exchange.render(template, &mut key);
        }
        let sticky: Option<&Sticky> = group.and_then(|group| plan.sticky.get(group)).and_then(Option::as_ref);
        let balancer = &self.destination.balancer;
        let session = self.session.as_deref().unwrap_or_default();
        let asked = sticky.map(|sticky| sticky.asked(exchange, &balancer.group, session));
        let client = exchange.connection.client.ip();
        let own = match group.filter(|_| balancer.group.ntlm) {
            Some(group) => exchange.worker.pool.own_peer(group, exchange.connection.number),
            None => None,
        };
        self.own.set(own.is_some());
        let sid = own.as_deref().map(str::as_bytes).or(asked.as_ref().and_then(Asked::id));
        let choice = Choice { now, client, key: &key, sid };
        let lease = balancer.pick(&choice, &mut self.tried).ok();
        let bound = asked.map(|asked| asked.outcome(lease.as_ref().map(|lease| &*lease.peer)));
        (lease, bound)
    }

    fn picked(
        &self,
        exchange: &mut Exchange,
        lease: Option<Lease>,
        (bound, now, waited): (Option<Bound>, Tick, Option<Duration>),
    ) -> Picked {
        self.note(exchange, lease.as_ref(), (bound, now, waited));
        match lease {
            Some(lease) => Picked::Peer(lease),
            None => {
                exchange.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
                Picked::Nobody
            }
        }
    }

    /// The try's element of the lists. Its times begin when a peer was found, not when it was asked for.
    fn note(
        &self,
        exchange: &mut Exchange,
        lease: Option<&Lease>,
        (bound, now, waited): (Option<Bound>, Tick, Option<Duration>),
    ) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        exchange.attempts.push(Record {
            peer: lease.map(|lease| lease.peer.clone()),
            group: match lease {
                Some(_) => Box::default(),
                None => self.destination.balancer.group.name.clone(),
            },
            from: self.destination.group,
            bound,
            status: if lease.is_some() { 0 } else { 502 },
            anew: self.tries == 0 && !exchange.attempts.is_empty(),
            started: now,
            queue_time: waited.map(millis),
            connect_time: None,
            header_time: None,
            // As nginx: it took no time to find nobody.
            response_time: lease.is_none().then_some(0),
            bytes_sent: 0,
            bytes_received: 0,
            response_length: 0,
        });
    }
}
