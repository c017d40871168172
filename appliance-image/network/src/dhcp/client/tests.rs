use super::*;
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 256;
const CLIENTS: usize = 3;
const HOUR: u64 = 3_600_000;
const DAYS: u64 = 3;

/// A server, a wire that loses, delays and repeats, and clients; all in virtual time.
struct World {
    dice: Dice,
    now: u64,
    clients: Vec<Client>,
    /// What is told to whom it is used by: the address and its end.
    using: Vec<Option<Ipv4Addr>>,
    sent: Vec<u64>,
    server: Server,
    /// Of a hundred packets.
    lost: u64,
    wire: BTreeMap<(u64, u64), Packet>,
    serial: u64,
}

enum Packet {
    ToServer(Message),
    ToClient(usize, Message),
}

struct Server {
    awake: bool,
    network: u8,
    lease: u32,
    leases: BTreeMap<Ipv4Addr, (Mac, u64)>,
}

impl Server {
    fn id(&self) -> Ipv4Addr {
        [10, self.network, 0, 1].into()
    }

    fn address_for(&mut self, mac: Mac, now: u64) -> Option<Ipv4Addr> {
        let mut all = (2..20).map(|host| Ipv4Addr::from([10, self.network, 0, host]));
        let own = self.leases.iter().find(|(_, (other, end))| *other == mac && *end > now).map(|(ip, _)| *ip);
        own.or_else(|| all.find(|ip| self.leases.get(ip).is_none_or(|(_, end)| *end <= now)))
    }

    fn answer(&mut self, message: &Message, now: u64) -> Option<Message> {
        let options =
            Options { server: Some(self.id()), lease: Some(self.lease), prefix: Some(24), ..Options::default() };
        let reply = |kind, yours| Some(Message { kind, yours, options: options.clone(), ..message.clone() });
        let refuse = || {
            Some(Message {
                kind: Kind::Nak,
                options: Options { server: options.server, ..Options::default() },
                ..message.clone()
            })
        };
        match message.kind {
            Kind::Discover => reply(Kind::Offer, self.address_for(message.mac, now)?),
            Kind::Request => {
                if message.options.server.is_some_and(|server| server != self.id()) {
                    return None;
                }
                let wanted = message.options.requested.unwrap_or(message.client);
                let known = self.leases.get(&wanted).is_some_and(|(mac, _)| *mac == message.mac);
                let free = self.leases.get(&wanted).is_none_or(|(_, end)| *end <= now);
                let fresh = message.options.server.is_some() && free;
                if wanted.octets()[1] != self.network || !(known || fresh) {
                    return refuse();
                }
                self.leases.insert(wanted, (message.mac, now + u64::from(self.lease) * 1000));
                reply(Kind::Ack, wanted)
            }
            Kind::Release => {
                self.leases.remove(&message.client);
                None
            }
            _ => None,
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let mac = |number: usize| Mac([2, 0, 0, 0, 0, number as u8]);
        let clients = (0..CLIENTS).map(|number| Client::new("eth0", mac(number), None, seed)).collect();
        let lease = [600, 3600, 86_400][dice.roll(3) as usize];
        let server = Server { awake: true, network: 0, lease, leases: BTreeMap::new() };
        let (using, sent) = (vec![None; CLIENTS], vec![0; CLIENTS]);
        let lost = dice.roll(40);
        World { dice, now: 5_000, clients, using, sent, server, lost, wire: BTreeMap::new(), serial: 0 }
    }

    fn put(&mut self, packet: impl Fn() -> Packet) {
        let copies = if self.dice.roll(100) < self.lost { 0 } else { 1 + u64::from(self.dice.roll(20) == 0) };
        for _ in 0..copies {
            self.serial += 1;
            let delay = 1 + self.dice.roll([5, 5, 5, 3_000][self.dice.clone().roll(4) as usize]);
            self.wire.insert((self.now + delay, self.serial), packet());
        }
    }

    fn run(&mut self, number: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { message, to } => {
                    self.sent[number] += 1;
                    let renewing = message.client != Ipv4Addr::UNSPECIFIED;
                    assert_eq!(renewing, to != To::Everyone, "an address is spoken from when one is held");
                    self.put(|| Packet::ToServer(message.clone()));
                }
                Action::Leased(lease) => self.using[number] = Some(lease.address.addr()),
                Action::Lost => {
                    assert!(self.using[number].take().is_some(), "only what was leased is lost");
                }
            }
        }
    }

    /// Until the next thing happens, or `end`.
    fn step(&mut self, end: u64) {
        let wire = self.wire.keys().next().map(|(at, _)| *at);
        let due = self.clients.iter().filter_map(|client| client.deadline().map(|deadline| deadline.0)).min();
        let next = [wire, due].into_iter().flatten().min().unwrap_or(end).min(end);
        self.now = next.max(self.now + 1);
        let now = Tick(self.now);
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now.0) {
            match entry.remove() {
                Packet::ToServer(message) if self.server.awake => {
                    let Some(reply) = self.server.answer(&message, now.0) else { continue };
                    let number = usize::from(message.mac.0[5]);
                    self.put(|| Packet::ToClient(number, reply.clone()));
                }
                Packet::ToServer(_) => {}
                Packet::ToClient(number, message) => {
                    let actions = self.clients[number].hear(&message, now);
                    self.run(number, actions);
                }
            }
        }
        for number in 0..CLIENTS {
            if self.clients[number].deadline().is_some_and(|deadline| deadline <= now) {
                let actions = self.clients[number].wake(now);
                self.run(number, actions);
            }
        }
    }

    fn check(&self, seed: u64) {
        let used: Vec<Ipv4Addr> = self.using.iter().flatten().copied().collect();
        assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len(), "seed {seed}: one address, two clients");
        for (number, client) in self.clients.iter().enumerate() {
            assert_eq!(client.lease().map(|lease| lease.address.addr()), self.using[number], "seed {seed}");
            let Some(held) = &client.held else { continue };
            let end = held.end.map_or(0, |end| end.0);
            assert!(end > self.now, "seed {seed}: used past its end");
            if let Some((mac, until)) = self.server.leases.get(&held.lease.address.addr()) {
                assert!(*mac == client.mac && *until >= end, "seed {seed}: used longer than the server knows");
            }
        }
    }

    fn play(&mut self, duration: u64, seed: u64) {
        let end = self.now + duration;
        while self.now < end {
            self.step(end);
            self.check(seed);
        }
    }
}

#[test]
fn leases_are_held_for_days_over_a_bad_wire() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for number in 0..CLIENTS {
            let actions = world.clients[number].begin(Tick(world.now));
            world.run(number, actions);
        }
        for _ in 0..DAYS * 4 {
            world.play(6 * HOUR, seed);
            match world.dice.roll(4) {
                // The server sleeps.
                0 => {
                    world.server.awake = false;
                    let nap = world.dice.roll(6 * HOUR);
                    world.play(nap, seed);
                    world.server.awake = true;
                }
                // It comes back with another network, and knows nothing.
                1 => {
                    world.server.network += 1;
                    world.server.leases.clear();
                }
                // The cable of one was out.
                2 => {
                    let number = world.dice.roll(CLIENTS as u64) as usize;
                    let actions = world.clients[number].begin(Tick(world.now));
                    world.run(number, actions);
                }
                _ => {}
            }
        }
        world.play(25 * HOUR, seed);
        for (number, used) in world.using.iter().enumerate() {
            let network = used.map(|used| used.octets()[1]);
            assert_eq!(network, Some(world.server.network), "seed {seed}: client {number} has {used:?}");
        }
        let most = world.now / 1000 / 10;
        assert!(world.sent.iter().all(|sent| *sent < most), "seed {seed}: {:?} messages", world.sent);
    }
}

#[test]
fn an_answer_in_time_is_a_lease_at_once() {
    let mut world = World::new(1);
    (world.lost, world.server.lease) = (0, 3600);
    let actions = world.clients[0].begin(Tick(world.now));
    world.run(0, actions);
    world.play(20_000, 1);
    assert_eq!((world.using[0], world.sent[0]), (Some([10, 0, 0, 2].into()), 2), "discover, request");
    // One renewal about every half hour.
    world.play(10 * HOUR, 1);
    assert!((20..24).contains(&world.sent[0]), "{} messages", world.sent[0]);
    let actions = world.clients[0].release(Tick(world.now));
    world.run(0, actions);
    world.play(10_000, 1);
    assert!(world.using[0].is_none() && world.server.leases.is_empty());
    assert_eq!(world.clients[0].deadline(), None, "it is quiet now");
}

#[test]
fn strangers_are_not_heard() {
    let mut client = Client::new("eth0", Mac([2, 0, 0, 0, 0, 0]), None, 9);
    let actions = client.begin(Tick(1));
    let [Action::Send { message: discover, .. }] = &actions[..] else { panic!("{actions:?}") };
    let options = Options { server: Some([10, 0, 0, 1].into()), lease: Some(600), ..Options::default() };
    let offer =
        Message { kind: Kind::Offer, yours: [10, 0, 0, 9].into(), options: options.clone(), ..discover.clone() };
    let none = |client: &Client, message: Message| assert_eq!(client.clone().hear(&message, Tick(2)), []);
    none(&client, Message { xid: discover.xid ^ 1, ..offer.clone() });
    none(&client, Message { mac: Mac([2, 0, 0, 0, 0, 7]), ..offer.clone() });
    none(&client, Message { yours: [255; 4].into(), ..offer.clone() });
    none(&client, Message { kind: Kind::Ack, ..offer.clone() });
    none(&client, Message { options: Options::default(), ..offer.clone() });
    assert_eq!(client.hear(&offer, Tick(2)).len(), 1);
    let other = Options { server: Some([10, 0, 0, 2].into()), ..options.clone() };
    none(&client, Message { kind: Kind::Nak, options: other.clone(), ..offer.clone() });
    none(&client, Message { kind: Kind::Ack, options: other, ..offer.clone() });
    let ack = Message { kind: Kind::Ack, ..offer };
    assert!(matches!(client.hear(&ack, Tick(3))[..], [Action::Leased(_)]));
    none(&client, ack);
}
