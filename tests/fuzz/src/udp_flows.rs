//! The table of UDP sessions, held to the plainest description of nginx's rules: a list that is
//! searched from end to end.

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_core::clock::Tick;
use fairlead_l4::udp_flows::{ANSWERED, Flows, GRAIN, Id, Key, Limits, UNANSWERED, Verdict};

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
    proven: bool,
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
        self.touched + self.limits.timeout.as_millis() as u64
    }

    fn may_go(&self, now: u64) -> bool {
        let patience = if self.responses == 0 { UNANSWERED } else { ANSWERED };
        !self.proven && Duration::from_millis(now - self.touched) >= patience
    }
}

struct World {
    now: u64,
    flows: Flows<u64>,
    model: Vec<Plain>,
    opened: u64,
}

/// The first byte is the bound; then every two bytes are an event and what it is about.
pub fn run(data: &[u8]) {
    let Some((bound, events)) = data.split_first() else { return };
    let bound = usize::from(bound % 32) + 1;
    let mut world = World { now: 77, flows: Flows::new(bound, Tick(77)), model: Vec::new(), opened: 0 };
    for event in events.chunks_exact(2) {
        let (kind, about) = (event[0], event[1]);
        match kind % 8 {
            0..3 => world.client_sends(about, kind >> 3, bound),
            3..5 => world.peer_answers(about),
            5 => world.time_passes(1 << (about % 24)),
            6 => world.peer_leaves(about),
            _ => world.time_passes(u64::from(about)),
        }
        assert_eq!(world.flows.len(), world.model.len());
        assert!(world.flows.len() <= bound);
    }
    for plain in world.model.drain(..) {
        assert_eq!(world.flows.close(plain.id).map(|flow| flow.session), Some(plain.number));
    }
    assert!(world.flows.is_empty() && world.flows.next_expiry().is_none());
}

fn key(client: u8) -> Key {
    // Clients differ by address, by port, or by the address they used.
    let address = SocketAddr::from(([127, 0, 0, client % 4], 1000 + u16::from(client / 4)));
    Key { client: address, local: (client % 2 == 1).then(|| [10, 0, 0, client].into()) }
}

impl World {
    fn client_sends(&mut self, client: u8, limits: u8, bound: usize) {
        let client = client % 48;
        let known = self.model.iter().position(|plain| plain.attached && plain.client == client);
        assert_eq!(self.flows.find(&key(client)), known.map(|at| self.model[at].id));
        let Some(at) = known.or_else(|| self.begin(client, limits, bound)) else { return };
        let (plain, now) = (&mut self.model[at], Tick(self.now));
        plain.requests += 1;
        plain.proven |= plain.responses > 0;
        let verdict = plain.counted(self.now);
        assert_eq!(self.flows.request(plain.id, 1, now), verdict);
        self.end_if(verdict, at);
    }

    fn begin(&mut self, client: u8, limits: u8, bound: usize) -> Option<usize> {
        if self.model.len() == bound
            && let Some(victim) = self.flows.victim(Tick(self.now))
        {
            let at = self.model.iter().position(|plain| plain.id == victim).expect("a victim is there");
            assert!(self.model[at].may_go(self.now));
            self.close(at);
        }
        let limits = Limits {
            requests: u32::from(limits % 3),
            responses: [None, Some(0), Some(1), Some(2)][usize::from(limits / 3 % 4)],
            timeout: Duration::from_millis([1, 60, 5_000, 600_000][usize::from(limits / 12 % 4)]),
        };
        self.opened += 1;
        match self.flows.open(key(client), limits, self.opened, Tick(self.now)) {
            Ok(id) => self.model.push(Plain {
                id,
                number: self.opened,
                client,
                limits,
                requests: 0,
                responses: 0,
                touched: self.now,
                attached: true,
                proven: false,
            }),
            Err((_, session)) => {
                assert!(session == self.opened && self.model.len() == bound);
                return None;
            }
        }
        Some(self.model.len() - 1)
    }

    fn peer_answers(&mut self, which: u8) {
        let Some(at) = self.which(which) else { return };
        let plain = &mut self.model[at];
        plain.responses += 1;
        let verdict = plain.counted(self.now);
        assert_eq!(self.flows.response(plain.id, 1, Tick(self.now)), verdict);
        self.end_if(verdict, at);
    }

    fn peer_leaves(&mut self, which: u8) {
        let Some(at) = self.which(which) else { return };
        let plain = &mut self.model[at];
        plain.attached = false;
        plain.touched = self.now;
        plain.limits.timeout = plain.limits.timeout.min(Duration::from_secs(1));
        self.flows.retire(plain.id, Duration::from_secs(1), Tick(self.now));
    }

    fn which(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.model.len())
    }

    fn time_passes(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        while let Some(id) = self.flows.expired(Tick(self.now)) {
            let at = self.model.iter().position(|plain| plain.id == id).expect("what expires is there");
            assert!(self.model[at].due() <= self.now, "not before its time");
            self.close(at);
        }
        assert!(self.model.iter().all(|plain| plain.due() + GRAIN > self.now), "nor much later");
    }

    fn end_if(&mut self, verdict: Verdict, at: usize) {
        if verdict == Verdict::Done {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        let plain = self.model.swap_remove(at);
        let flow = self.flows.close(plain.id).expect("it is there until it is closed");
        assert_eq!((flow.session, flow.requests, flow.responses), (plain.number, plain.requests, plain.responses));
        assert!(self.flows.flow(plain.id).is_none() && self.flows.close(plain.id).is_none());
    }
}
