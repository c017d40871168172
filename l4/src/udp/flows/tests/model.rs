//! The plainest description of nginx's rules, a list that is searched from end to end, and a game that plays the
//! same events to it and to the table. The tests beside it play seeds, the fuzzer of the workspace plays bytes.

use super::*;
use fairlead_core::clock::Tick;
use std::net::SocketAddr;
use std::time::Duration;

/// Milliseconds that a rest lasts at most before the table may ask early.
const LONG: u64 = 16_000;

/// What the table should know of a session.
struct Plain {
    id: Id,
    number: u64,
    client: u8,
    limits: Limits,
    requests: u64,
    responses: u64,
    touched: u64,
    attached: bool,
    /// Its client has sent something after a reply.
    proven: bool,
    /// When the rest that goes on began, and when it ends.
    rest: Option<(u64, u64)>,
    /// When the last rest ended or will end.
    rested: u64,
    /// Until when it lives on for that, once it had been silent for too long.
    prolonged: u64,
}

impl Plain {
    fn counted(&mut self, now: u64) -> Verdict {
        self.touched = now;
        let wanted = u64::from(self.limits.requests);
        if self.requests < wanted {
            return Verdict::Open;
        }
        self.attached &= wanted == 0;
        let done = self.limits.responses.is_some_and(|each| self.responses >= u64::from(each) * self.requests);
        if done { Verdict::Done } else { Verdict::Open }
    }

    fn due(&self) -> u64 {
        self.prolonged.max(self.touched + self.timeout())
    }

    fn timeout(&self) -> u64 {
        self.limits.timeout.as_millis() as u64
    }

    fn may_go(&self, now: u64) -> bool {
        let patience = if self.responses == 0 { UNANSWERED } else { ANSWERED };
        !self.proven && Duration::from_millis(now.saturating_sub(self.touched)) >= patience
    }
}

pub struct Game {
    now: u64,
    bound: usize,
    flows: Flows<u64>,
    model: Vec<Plain>,
    /// Sessions that began, that found no room, that made room, and that lived on for a rest.
    pub opened: u64,
    pub refused: u64,
    pub evicted: u64,
    pub prolonged: u64,
}

/// The first byte is the bound; then every two bytes are an event and what it is about.
pub fn run(data: &[u8]) -> Game {
    let (first, events) = data.split_first().unwrap_or((&0, &[]));
    let mut game = Game::new(*first);
    for event in events.chunks_exact(2) {
        let (kind, about) = (event[0], event[1]);
        match kind % 8 {
            0..3 => game.client_sends(about, kind >> 3),
            3..5 => game.peer_answers(about),
            5 => game.time_passes(1 << (about % 24)),
            6 if kind & 8 == 0 => game.peer_leaves(about),
            6 => game.rests(about, u64::from(kind >> 4)),
            _ => game.time_passes(u64::from(about)),
        }
        assert_eq!(game.flows.len(), game.model.len());
        assert!(game.flows.len() <= game.bound, "the bound holds");
    }
    for plain in game.model.drain(..) {
        assert_eq!(game.flows.close(plain.id).map(|flow| flow.session), Some(plain.number));
    }
    assert!(game.flows.is_empty() && game.flows.next_expiry().is_none());
    game
}

fn key(client: u8) -> Key {
    // Clients differ by address, by port, or by the address they used.
    let address = SocketAddr::from(([127, 0, 0, client % 4], 1000 + u16::from(client / 4)));
    Key { client: address, local: (client % 2 == 1).then(|| [10, 0, 0, client].into()) }
}

impl Game {
    fn new(first: u8) -> Game {
        let (bound, now) = (usize::from(first % 32) + 1, 77 + (u64::from(first) << 32));
        let (flows, model) = (Flows::new(bound, Tick(now)), Vec::new());
        Game { now, bound, flows, model, opened: 0, refused: 0, evicted: 0, prolonged: 0 }
    }

    fn client_sends(&mut self, about: u8, limits: u8) {
        let client = about % 48;
        let known = self.model.iter().position(|plain| plain.attached && plain.client == client);
        assert_eq!(self.flows.find(&key(client)), known.map(|at| self.model[at].id), "finds the client's session");
        // Half of the time as the engine does it, or nothing else would ever be refused.
        if known.is_none() && self.model.len() == self.bound && (about / 48).is_multiple_of(2) {
            self.make_room();
        }
        let Some(at) = known.or_else(|| self.begin(client, limits)) else { return };
        let (plain, now) = (&mut self.model[at], Tick(self.now));
        plain.requests += 1;
        plain.proven |= plain.responses > 0;
        let verdict = plain.counted(self.now);
        assert_eq!(self.flows.request(plain.id, 1, now), verdict, "ends when nginx ends it");
        self.end_if(verdict, at);
    }

    fn make_room(&mut self) {
        let may_go = self.model.iter().filter(|plain| plain.may_go(self.now)).count();
        let unproven = self.model.iter().filter(|plain| !plain.proven).count();
        let Some(victim) = self.flows.victim(Tick(self.now)) else {
            assert!(may_go == 0 || unproven > LOOKS, "whoever may go is found");
            return;
        };
        let at = self.at(victim);
        assert!(self.model[at].may_go(self.now), "nobody is put out who may be waited for");
        self.evicted += 1;
        self.close(at);
    }

    fn begin(&mut self, client: u8, limits: u8) -> Option<usize> {
        let limits = Limits {
            requests: u32::from(limits % 3),
            responses: [None, Some(0), Some(1), Some(2)][usize::from(limits / 3 % 4)],
            timeout: Duration::from_millis([1, 60, 5_000, 600_000][usize::from(limits / 8 % 4)]),
        };
        self.opened += 1;
        let (number, full) = (self.opened, self.model.len() == self.bound);
        match self.flows.open(key(client), limits, number, Tick(self.now)) {
            Ok(id) => {
                let plain = Plain {
                    id,
                    number,
                    client,
                    limits,
                    requests: 0,
                    responses: 0,
                    touched: self.now,
                    attached: true,
                    proven: false,
                    rest: None,
                    rested: 0,
                    prolonged: 0,
                };
                self.model.push(plain);
                Some(self.model.len() - 1)
            }
            Err((_, session)) => {
                assert!(full, "refuses only when full");
                assert_eq!(session, number, "a refused session comes back");
                self.refused += 1;
                None
            }
        }
    }

    fn peer_answers(&mut self, which: u8) {
        let Some(at) = self.which(which) else { return };
        let plain = &mut self.model[at];
        plain.responses += 1;
        let verdict = plain.counted(self.now);
        assert_eq!(self.flows.response(plain.id, 1, Tick(self.now)), verdict, "ends when nginx ends it");
        self.end_if(verdict, at);
    }

    fn peer_leaves(&mut self, which: u8) {
        let Some(at) = self.which(which) else { return };
        let plain = &mut self.model[at];
        plain.attached = false;
        (plain.touched, plain.prolonged) = (self.now, 0);
        plain.limits.timeout = plain.limits.timeout.min(Duration::from_secs(1));
        self.flows.retire(plain.id, Duration::from_secs(1), Tick(self.now));
    }

    fn rests(&mut self, which: u8, time: u64) {
        let Some(at) = self.which(which) else { return };
        let until = self.now + [1, 5, 40, 700, 9_000, 40_000][time as usize % 6];
        let plain = &mut self.model[at];
        (plain.rest, plain.rested) = (Some((self.now, until)), until);
        self.flows.rest(plain.id, Tick(until), Tick(self.now));
    }

    fn which(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.model.len())
    }

    fn at(&self, id: Id) -> usize {
        self.model.iter().position(|plain| plain.id == id).expect("whom the table names is there")
    }

    fn time_passes(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.end_rests();
        while let Some(id) = self.flows.expired(Tick(self.now)) {
            let at = self.at(id);
            let plain = &mut self.model[at];
            assert!(plain.touched + plain.timeout() <= self.now, "not before its time");
            let goes_on = plain.rested + plain.timeout() > self.now;
            assert_eq!(self.flows.prolong(id, Tick(plain.rested), Tick(self.now)), goes_on);
            match goes_on {
                true => {
                    plain.prolonged = plain.rested + plain.timeout();
                    self.prolonged += 1;
                }
                false => self.close(at),
            }
        }
        let next = self.flows.next_expiry().map_or(u64::MAX, |next| next.0);
        for plain in &self.model {
            for due in [Some(plain.due()), plain.rest.map(|(_, until)| until)].into_iter().flatten() {
                assert!(due + GRAIN > self.now, "nor much later");
                assert!(next <= due + GRAIN, "wakes in time");
            }
        }
    }

    fn end_rests(&mut self) {
        while let Some(id) = self.flows.rested(Tick(self.now)) {
            let at = self.at(id);
            let plain = &mut self.model[at];
            let (since, until) = plain.rest.take().expect("who is named rests");
            if until > self.now {
                assert!(until - since > LONG, "a rest is not cut short");
                plain.rest = Some((since, until));
                self.flows.rest(id, Tick(until), Tick(self.now));
            }
        }
    }

    fn end_if(&mut self, verdict: Verdict, at: usize) {
        if verdict == Verdict::Done {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        let plain = self.model.swap_remove(at);
        let flow = self.flows.close(plain.id).expect("is there until it is closed");
        let counts = (flow.session, flow.requests, flow.responses);
        assert_eq!(counts, (plain.number, plain.requests, plain.responses), "its own counts");
        assert!(self.flows.flow(plain.id).is_none() && self.flows.close(plain.id).is_none(), "an old id is dead");
    }
}
