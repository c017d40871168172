use super::*;
use crate::upstream::balancer::tests::{at, hash as method, server};
use crate::upstream::{Balancer, Choice, Group, Hashing, Tried};

fn peers(numbers: impl IntoIterator<Item = usize>) -> Vec<Arc<Peer>> {
    numbers.into_iter().map(|number| Arc::new(server(number))).collect()
}

/// The peers' words by slot.
fn owners<'a>(table: &Maglev, peers: &'a [Arc<Peer>]) -> Vec<&'a str> {
    table.slots.iter().map(|rank| &*peers[table.positions[usize::from(*rank)]].server).collect()
}

fn shares(table: &Maglev, peers: usize) -> Vec<usize> {
    let mut shares = vec![0; peers];
    for rank in &*table.slots {
        shares[table.positions[usize::from(*rank)]] += 1;
    }
    shares
}

#[test]
fn equal_peers_have_equal_shares_to_the_slot() {
    for count in [1, 2, 3, 7, 12, 40] {
        let shares = shares(&Maglev::new(&peers(0..count), None), count);
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 1, "{count} peers: {shares:?}");
    }
}

#[test]
fn weights_are_shares() {
    let weights = [1, 2, 3, 10, 100];
    let peers: Vec<Arc<Peer>> = (0..5).map(|at| Arc::new(Peer { weight: weights[at], ..server(at) })).collect();
    let shares = shares(&Maglev::new(&peers, None), 5);
    for (share, weight) in shares.iter().zip(weights) {
        let expected = 65_537 * weight as usize / 116;
        assert!(share.abs_diff(expected) <= 1 + expected / 100, "{shares:?}");
    }
}

#[test]
fn the_order_of_the_servers_does_not_matter() {
    let listed = peers(0..9);
    let mut other = listed.clone();
    other.reverse();
    other.swap(2, 5);
    let (one, two) = (Maglev::new(&listed, None), Maglev::new(&other, None));
    assert_eq!(owners(&one, &listed), owners(&two, &other));
}

#[test]
fn a_peer_out_of_the_configuration_takes_few_other_keys_along() {
    for (count, gone) in [(2, 0), (3, 2), (5, 1), (10, 0), (10, 9), (20, 7), (40, 0), (40, 39), (100, 33)] {
        let all = peers(0..count);
        let left = peers((0..count).filter(|number| *number != gone));
        let (before, after) = (Maglev::new(&all, None), Maglev::new(&left, None));
        assert_eq!(before.slots.len(), after.slots.len());
        let pairs = owners(&before, &all).into_iter().zip(owners(&after, &left));
        let moved = pairs.filter(|(before, after)| before != after).count();
        let fair = before.slots.len().div_ceil(count);
        assert!(moved * 100 <= fair * 105, "{count} peers: {moved} slots moved, {fair} were the peer's");
    }
}

#[test]
fn while_a_peer_is_unavailable_its_keys_alone_move() {
    for seed in 0..256_u64 {
        let count = 2 + seed as usize % 14;
        let group = |off: Option<usize>| {
            let peers = (0..count).map(|at| Peer { down: off == Some(at), ..server(at) }).collect();
            let balancer = Balancer::new(Arc::new(Group::new("test", peers, method(Hashing::Maglev))), seed);
            move |key: u64| {
                let key = key.to_string();
                let choice = Choice { key: key.as_bytes(), ..at(1) };
                balancer.pick(&choice, &mut Tried::default()).unwrap().index
            }
        };
        let off = (seed / 14) as usize % count;
        let (all, without) = (group(None), group(Some(off)));
        for key in (0..300).map(|key| mix(seed << 32 | key)) {
            let (before, after) = (all(key), without(key));
            assert!(if before == off { after != off } else { after == before }, "seed {seed}, key {key}");
        }
    }
}

#[test]
fn a_table_of_the_same_servers_is_kept() {
    let first = Maglev::new(&peers(0..5), None);
    let again = Maglev::new(&peers([4, 3, 2, 1, 0]), Some(&first));
    assert!(Arc::ptr_eq(&first.slots, &again.slots));
    assert_eq!(owners(&first, &peers(0..5)), owners(&again, &peers([4, 3, 2, 1, 0])));
    let heavier: Vec<Arc<Peer>> =
        (0..5).map(|at| Arc::new(Peer { weight: 2 - (at as u32 & 1), ..server(at) })).collect();
    assert!(!Arc::ptr_eq(&first.slots, &Maglev::new(&heavier, Some(&first)).slots));
}

#[test]
fn servers_with_several_addresses_and_servers_written_twice_are_told_apart() {
    let named = |number: usize, words: &str| Arc::new(Peer { server: words.into(), ..server(number) });
    let peers = [named(0, "a:1"), named(1, "a:1"), named(2, "b:1"), named(2, "b:1"), named(3, "c:1")];
    let words = words(&peers);
    assert_eq!(words.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    assert_eq!(words[4], "c:1");
    assert_eq!(shares(&Maglev::new(&peers, None), 5).iter().min(), Some(&(65_537 / 5)));
}

#[test]
fn every_peer_may_be_in_the_table() {
    let made_of: Vec<(String, u32)> = (0..MAX_PEERS).map(|at| (at.to_string(), 1)).collect();
    assert_eq!(size(MAX_PEERS), 6_553_621);
    let slots = fill(&made_of, SIZES[0]);
    assert_eq!(slots.iter().copied().max(), Some(u16::MAX));
    assert!(fill(&[], SIZES[0]).is_empty());
}
