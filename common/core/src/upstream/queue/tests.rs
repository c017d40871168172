use super::*;
use crate::clock::Tick;
use crate::dice::Dice;
use crate::net::Address;
use crate::upstream::{Balancer, Choice, Group, Lease, Method, Peer, Tried};
use std::collections::VecDeque;
use std::rc::Rc;

#[test]
fn a_line_is_served_from_the_front_and_left_from_anywhere() {
    for seed in 0..256 {
        let mut dice = Dice::new(seed);
        let most = 1 + dice.roll(20) as usize;
        let (mut line, mut model) = (Line::default(), VecDeque::new());
        for step in 0..400 {
            let claim = |holds: bool| assert!(holds, "seed {seed}, step {step}");
            match dice.roll(4) {
                0 | 1 => {
                    let choosy = dice.roll(4) == 0;
                    let at = line.join(most, choosy);
                    claim(at.is_some() == (model.len() < most));
                    model.extend(at.map(|at| (at, choosy, false)));
                }
                2 if !model.is_empty() => {
                    let place = dice.roll(model.len() as u64) as usize;
                    let (at, _, called) = model.remove(place).unwrap();
                    let next = model.get(place).map(|(at, ..)| *at).filter(|_| place == 0 || called);
                    claim(line.leave(at) == next);
                }
                _ if !model.is_empty() => {
                    let place = dice.roll(model.len() as u64) as usize;
                    let behind = model.get(place + 1).map(|(at, ..)| *at);
                    let (at, _, called) = &mut model[place];
                    claim(line.behind(*at) == behind);
                    if dice.roll(2) == 0 {
                        line.call(*at);
                        *called = true;
                    } else {
                        claim(line.answer(*at) == std::mem::take(called));
                    }
                }
                _ => {}
            }
            claim(line.len() == model.len() && line.first() == model.front().map(|(at, ..)| *at));
            claim(line.has_choosy() == model.iter().any(|(_, choosy, _)| *choosy));
            claim(line.memory() <= most);
        }
    }
}

/// One who waits, on some worker.
struct Waiter {
    place: Place,
    number: u64,
    worker: usize,
    tried: Tried,
}

/// Several workers' balancers of one group with `max_conns`, and requests that come, wait, give up
/// and go, in an order that chance decides.
struct Play {
    workers: Vec<Rc<Balancer>>,
    queue: Arc<Queue>,
    waiting: Vec<Waiter>,
    leases: Vec<Lease>,
    now: u64,
    numbers: u64,
}

impl Play {
    fn new(dice: &mut Dice) -> Play {
        let queueing = Queueing { most: 1 + dice.roll(12) as usize, timeout: Duration::from_secs(60) };
        let queue = Queue::over(Some(queueing), None).unwrap();
        let peers = (0..1 + dice.roll(4)).map(|number| {
            let address = Address::Ip(([127, 0, 0, number as u8 + 1], 80).into());
            Peer { max_conns: 1 + dice.roll(3) as u32, backup: number > 1, ..Peer::new(address, "x") }
        });
        let mut group = Group::new("queued", peers.collect(), Method::RoundRobin);
        group.kept.queue = Some(queue.clone());
        let group = Arc::new(group);
        let workers = (0..3).map(|seed| Balancer::new(group.clone(), seed)).collect();
        Play { workers, queue, waiting: Vec::new(), leases: Vec::new(), now: 1, numbers: 0 }
    }

    fn pick(&self, worker: usize, tried: &mut Tried) -> Option<Lease> {
        let balancer = &self.workers[worker];
        balancer.look_again();
        balancer.pick(&Choice { now: Tick(self.now), client: None, key: b"", sid: None }, tried).ok()
    }

    fn arrive(&mut self, worker: usize, tried: Tried, claim: &dyn Fn(bool, &str)) {
        let mut tried = tried;
        if self.queue.is_empty()
            && let Some(lease) = self.pick(worker, &mut tried)
        {
            return self.leases.push(lease);
        }
        let full = self.queue.len() == self.queue.most();
        let before = self.queue.overflows().load();
        match self.queue.join(!tried.is_empty()) {
            Some(place) => {
                claim(!full, "has room for those it takes");
                self.waiting.push(Waiter { place, number: self.numbers, worker, tried });
                self.numbers += 1;
            }
            None => claim(full && self.queue.overflows().load() == before + 1, "is full and says so"),
        }
    }

    /// Lets those who are called pick until nobody is.
    fn settle(&mut self, dice: &mut Dice, claim: &dyn Fn(bool, &str)) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let called: Vec<usize> =
                (0..self.waiting.len()).filter(|at| self.waiting[*at].place.poll_called(&mut cx).is_ready()).collect();
            if called.is_empty() {
                return;
            }
            // Workers run in any order.
            let start = dice.roll(called.len() as u64) as usize;
            let mut served = Vec::new();
            for at in called.iter().cycle().skip(start).take(called.len()) {
                let (worker, mut tried) = (self.waiting[*at].worker, self.waiting[*at].tried.clone());
                match self.pick(worker, &mut tried) {
                    Some(lease) => {
                        served.push(self.waiting[*at].number);
                        self.leases.push(lease);
                    }
                    None if !tried.is_empty() => self.waiting[*at].place.pass_on(),
                    None => {}
                }
            }
            for number in served {
                let at = self.waiting.iter().position(|waiter| waiter.number == number).unwrap();
                let before = self.waiting[..at].iter().filter(|waiter| waiter.tried.is_empty()).count();
                claim(before == 0, "serves those who take anything in their order");
                self.waiting.remove(at);
            }
        }
    }
}

#[test]
fn nobody_waits_while_a_peer_has_room_for_him_and_the_first_come_is_first_served() {
    for seed in 0..256 {
        let mut dice = Dice::new(seed);
        let mut play = Play::new(&mut dice);
        for step in 0..300 {
            let claim = |holds: bool, what: &str| assert!(holds, "seed {seed}, step {step}: {what}");
            play.now += dice.roll(3);
            let worker = dice.roll(3) as usize;
            match dice.roll(6) {
                0..=2 => play.arrive(worker, Tried::default(), &claim),
                // One that has failed somewhere wants another peer.
                3 => {
                    let mut tried = Tried::default();
                    if play.queue.is_empty() && play.pick(worker, &mut tried).is_some() {
                        play.settle(&mut dice, &claim);
                        play.arrive(worker, tried, &claim);
                    }
                }
                4 if !play.leases.is_empty() => {
                    let at = dice.roll(play.leases.len() as u64) as usize;
                    drop(play.leases.swap_remove(at));
                }
                // A client goes away.
                _ if !play.waiting.is_empty() => {
                    let at = dice.roll(play.waiting.len() as u64) as usize;
                    drop(play.waiting.remove(at));
                }
                _ => {}
            }
            play.settle(&mut dice, &claim);
            claim(play.queue.len() == play.waiting.len() && play.queue.len() <= play.queue.most(), "counts who waits");
            for waiter in &play.waiting {
                let mut tried = waiter.tried.clone();
                let could = play.pick(waiter.worker, &mut tried).is_some();
                claim(!could, "nobody waits for what is free");
            }
        }
        play.waiting.clear();
        play.leases.clear();
        assert!(play.queue.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_reload_keeps_the_line_and_its_new_length_counts() {
    let settings = |most| Some(Queueing { most, timeout: Duration::from_secs(1) });
    let old = Queue::over(settings(2), None).unwrap();
    let places = [old.join(false).unwrap(), old.join(false).unwrap()];
    assert!(old.join(false).is_none() && old.overflows().load() == 1);
    let new = Queue::over(settings(3), Some(&old)).unwrap();
    let third = new.join(false).unwrap();
    assert!(new.join(false).is_none() && new.overflows().load() == 2);
    let gone = Queue::over(None, Some(&new)).unwrap();
    assert!(gone.patience().is_none() && gone.len() == 3, "those who wait are still called");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(places[0].poll_called(&mut cx).is_ready() && places[0].poll_called(&mut cx).is_pending());
    gone.freed();
    assert!(places[0].poll_called(&mut cx).is_ready() && third.poll_called(&mut cx).is_pending());
    drop((places, third));
    assert!(Queue::over(None, Some(&gone)).is_none());
}
