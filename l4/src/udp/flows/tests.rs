use super::*;
use crate::udp::wheel::GRAIN;

/// xorshift64*: the same seed replays the same day.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn key(client: u64) -> Key {
    let client = SocketAddr::from(([127, 0, 0, 1], 1000 + client as u16));
    Key { client, local: None }
}

fn limits(requests: u32, responses: Option<u32>, timeout: u64) -> Limits {
    Limits { requests, responses, timeout: Duration::from_millis(timeout) }
}

/// A session as nginx's rules describe it, kept in the plainest way.
struct Plain {
    number: u64,
    client: u64,
    limits: Limits,
    requests: u64,
    responses: u64,
    touched: u64,
    attached: bool,
    /// Its client has sent something after a reply.
    proven: bool,
    id: Id,
}

impl Plain {
    fn may_go(&self, now: u64) -> bool {
        let patience = if self.responses == 0 { UNANSWERED } else { ANSWERED };
        !self.proven && Duration::from_millis(now - self.touched) >= patience
    }

    fn done(&mut self) -> bool {
        let wanted = u64::from(self.limits.requests);
        if wanted > 0 && self.requests < wanted {
            return false;
        }
        if wanted > 0 {
            self.attached = false;
        }
        self.limits.responses.is_some_and(|each| self.responses >= u64::from(each) * self.requests)
    }
}

/// A day of clients, peers and silence, played to the table and to the plain model at once.
struct Day {
    random: Random,
    now: u64,
    flows: Flows<u64>,
    model: Vec<Plain>,
    opened: u64,
    refused: u64,
    evicted: u64,
    limit: usize,
}

impl Day {
    fn new(seed: u64) -> Day {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let now = random.below(1 << 40);
        let limit = 4 + random.below(24) as usize;
        Day {
            random,
            now,
            flows: Flows::new(limit, Tick(now)),
            model: vec![],
            opened: 0,
            refused: 0,
            evicted: 0,
            limit,
        }
    }

    fn client_sends(&mut self) {
        let client = self.random.below(16);
        let now = Tick(self.now);
        let known = self.model.iter().position(|plain| plain.attached && plain.client == client);
        assert_eq!(self.flows.find(&key(client)), known.map(|at| self.model[at].id), "finds the client's session");
        let at = match known {
            Some(at) => at,
            None => match self.open(client, now) {
                Some(at) => at,
                None => return,
            },
        };
        let plain = &mut self.model[at];
        plain.requests += 1;
        plain.proven |= plain.responses > 0;
        plain.touched = self.now;
        let done = plain.done();
        let verdict = self.flows.request(plain.id, 1, now);
        self.settle(at, done, verdict);
    }

    fn open(&mut self, client: u64, now: Tick) -> Option<usize> {
        let responses = match self.random.below(4) {
            0 => None,
            each => Some(each as u32 - 1),
        };
        let timeout = [20, 100, 3_000, 600_000][self.random.below(4) as usize];
        let limits = limits(self.random.below(4) as u32, responses, timeout);
        if self.model.len() == self.limit {
            self.make_room(now);
        }
        let full = self.model.len() == self.limit;
        match self.flows.open(key(client), limits, self.opened, now) {
            Ok(id) => {
                assert!(!full, "the bound holds");
                let number = self.opened;
                self.opened += 1;
                self.model.push(Plain {
                    number,
                    client,
                    limits,
                    requests: 0,
                    responses: 0,
                    touched: self.now,
                    attached: true,
                    proven: false,
                    id,
                });
                Some(self.model.len() - 1)
            }
            Err((Full, session)) => {
                assert!(full, "refuses only when full");
                assert_eq!(session, self.opened, "a refused session comes back");
                self.refused += 1;
                None
            }
        }
    }

    /// Half of the time as the engine does it, or nothing else would ever be refused.
    fn make_room(&mut self, now: Tick) {
        if self.random.below(2) == 0 {
            return;
        }
        let victim = self.flows.victim(now);
        let may_go = self.model.iter().filter(|plain| plain.may_go(self.now)).count();
        let unproven = self.model.iter().filter(|plain| !plain.proven).count();
        match victim.map(|id| self.model.iter().position(|plain| plain.id == id).expect("is there")) {
            Some(at) => {
                assert!(self.model[at].may_go(self.now), "nobody is put out who may be waited for");
                self.evicted += 1;
                self.close(at);
            }
            None => assert!(may_go == 0 || unproven > LOOKS, "whoever may go is found"),
        }
    }

    fn peer_leaves(&mut self) {
        if self.model.is_empty() {
            return;
        }
        let at = self.random.below(self.model.len() as u64) as usize;
        let plain = &mut self.model[at];
        plain.attached = false;
        plain.limits.timeout = plain.limits.timeout.min(Duration::from_millis(500));
        plain.touched = self.now;
        self.flows.retire(plain.id, Duration::from_millis(500), Tick(self.now));
    }

    fn peer_answers(&mut self) {
        if self.model.is_empty() {
            return;
        }
        let at = self.random.below(self.model.len() as u64) as usize;
        let plain = &mut self.model[at];
        plain.responses += 1;
        plain.touched = self.now;
        let done = plain.done();
        let verdict = self.flows.response(plain.id, 1, Tick(self.now));
        self.settle(at, done, verdict);
    }

    fn settle(&mut self, at: usize, done: bool, verdict: Verdict) {
        assert_eq!(verdict == Verdict::Done, done, "ends when nginx ends it");
        if done {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        let plain = self.model.swap_remove(at);
        let flow = self.flows.close(plain.id).expect("is there until it is closed");
        assert_eq!(
            (flow.session, flow.requests, flow.responses),
            (plain.number, plain.requests, plain.responses),
            "its own counts"
        );
        assert!(self.flows.flow(plain.id).is_none() && self.flows.close(plain.id).is_none(), "an old id is dead");
    }

    fn time_passes(&mut self) {
        self.now += [1, 7, 40, 300, 900, 20_000, 700_000][self.random.below(7) as usize];
        while let Some(id) = self.flows.expired(Tick(self.now)) {
            let at = self.model.iter().position(|plain| plain.id == id).expect("expires what is there");
            let silent = Duration::from_millis(self.now - self.model[at].touched);
            assert!(silent >= self.model[at].limits.timeout, "never early");
            self.close(at);
        }
        for plain in &self.model {
            let due = plain.touched + plain.limits.timeout.as_millis() as u64;
            assert!(self.now < due + GRAIN, "late by less than a grain");
            let next = self.flows.next_expiry().expect("somebody waits").0;
            assert!(next <= due + GRAIN, "wakes in time");
        }
    }
}

#[test]
fn sessions_begin_and_end_as_nginx_says() {
    let mut total = (0, 0);
    for seed in 0..256 {
        let outcome = std::panic::catch_unwind(|| {
            let mut day = Day::new(seed);
            for _ in 0..600 {
                match day.random.below(20) {
                    0..10 => day.client_sends(),
                    10..16 => day.peer_answers(),
                    16 => day.peer_leaves(),
                    _ => day.time_passes(),
                }
                assert_eq!(day.flows.len(), day.model.len());
            }
            assert!(day.opened > 10, "something happened");
            (day.refused, day.evicted)
        });
        let (refused, evicted) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        total = (total.0 + refused, total.1 + evicted);
    }
    assert!(total.0 > 100 && total.1 > 100, "tables were full, and some made room: {total:?}");
}

#[test]
fn no_reply_expected_ends_at_once() {
    let mut flows = Flows::new(8, Tick(0));
    let id = flows.open(key(1), limits(0, Some(0), 1000), (), Tick(0)).expect("room");
    assert_eq!(flows.request(id, 1, Tick(0)), Verdict::Done);
}

#[test]
fn the_next_session_begins_while_replies_are_outstanding() {
    let mut flows = Flows::new(8, Tick(0));
    let id = flows.open(key(1), limits(2, Some(1), 1000), (), Tick(0)).expect("room");
    assert_eq!(flows.request(id, 1, Tick(0)), Verdict::Open);
    assert_eq!(flows.response(id, 1, Tick(0)), Verdict::Open, "one of two requests: not done though answered");
    assert_eq!(flows.find(&key(1)), Some(id));
    assert_eq!(flows.request(id, 1, Tick(0)), Verdict::Open);
    assert_eq!(flows.find(&key(1)), None, "two requests were all");
    assert!(flows.flow(id).is_some_and(|flow| flow.unanswered()));
    assert_eq!(flows.response(id, 1, Tick(0)), Verdict::Done);
}

#[test]
fn a_deadline_far_away_is_not_forgotten() {
    let mut flows = Flows::new(8, Tick(5));
    let id = flows.open(key(1), limits(0, None, 86_400_000), (), Tick(5)).expect("room");
    let mut now = Tick(5);
    while let Some(next) = flows.next_expiry().filter(|_| flows.flow(id).is_some()) {
        assert!(next > now || now.0 >= 86_400_000, "time moves");
        now = next.max(now);
        if let Some(id) = flows.expired(now) {
            flows.close(id);
        }
    }
    assert!((86_400_005..86_400_005 + GRAIN).contains(&now.0), "expired at {now:?}");
}

#[test]
fn invented_addresses_do_not_put_out_sessions_that_both_sides_use() {
    let mut flows = Flows::new(100, Tick(0));
    let real: Vec<Id> = (0..50)
        .map(|client| {
            let id = flows.open(key(client), limits(0, None, 600_000), client, Tick(0)).expect("room");
            flows.request(id, 1, Tick(0));
            flows.response(id, 1, Tick(1));
            flows.request(id, 1, Tick(2));
            id
        })
        .collect();
    let mut evicted = 0;
    // A datagram a millisecond from as many addresses, none of them ever answered.
    for flood in 0..20_000 {
        let now = Tick(10 + flood);
        if !flows.has_room() {
            let Some(id) = flows.victim(now) else { continue };
            assert!(flows.close(id).is_some_and(|flow| flow.session >= 1000));
            evicted += 1;
        }
        let id = flows.open(key(1000 + flood), limits(0, None, 600_000), 1000 + flood, now).expect("room");
        flows.request(id, 1, now);
    }
    assert!(evicted > 3_000, "{evicted}");
    assert!(real.iter().all(|id| flows.flow(*id).is_some()));
}

#[test]
fn a_client_that_begins_again_takes_its_datagrams_along() {
    let mut flows = Flows::new(8, Tick(0));
    let old = flows.open(key(1), limits(0, None, 1000), 'a', Tick(0)).expect("room");
    let new = flows.open(key(1), limits(0, None, 1000), 'b', Tick(0)).expect("room");
    assert_eq!(flows.find(&key(1)), Some(new));
    flows.close(old);
    assert_eq!(flows.find(&key(1)), Some(new), "the end of the old one takes nothing away");
}
