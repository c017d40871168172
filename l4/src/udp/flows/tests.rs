use super::*;
use fairlead_core::dice::Dice;

mod model;

fn key(client: u64) -> Key {
    let client = SocketAddr::from(([127, 0, 0, 1], 1000 + client as u16));
    Key { client, local: None }
}

fn limits(requests: u32, responses: Option<u32>, timeout: u64) -> Limits {
    Limits { requests, responses, timeout: Duration::from_millis(timeout) }
}

/// Events in the proportion in which they come: mostly datagrams, some silence, now and then a rest or a lost peer.
fn day(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = vec![dice.roll(256) as u8];
    for _ in 0..600 {
        let kind = [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 3, 4, 3, 6, 5, 7, 7, 7][dice.roll(19) as usize];
        bytes.push(kind | (dice.roll(32) << 3) as u8);
        bytes.push(dice.roll(256) as u8);
    }
    bytes
}

#[test]
fn sessions_begin_and_end_as_nginx_says() {
    let mut total = (0, 0, 0);
    for seed in 0..256 {
        let game = std::panic::catch_unwind(|| model::run(&day(seed))).unwrap_or_else(|_| panic!("seed {seed}"));
        assert!(game.opened > 10, "seed {seed}: something happened");
        total = (total.0 + game.refused, total.1 + game.evicted, total.2 + game.prolonged);
    }
    let (refused, evicted, prolonged) = total;
    assert!(refused > 100 && evicted > 100, "tables were full, and some made room: {refused}, {evicted}");
    assert!(prolonged > 100, "sessions rested: {prolonged}");
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
