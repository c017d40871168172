use super::*;
use crate::dice::Dice;
use fairlead_conf::{Contexts, Cx, Level, Tree};
use std::collections::HashMap;
use std::path::Path;

/// What a zone should be: every connection with its key, counted by looking at all of them.
#[derive(Default)]
struct Model {
    held: Vec<(Vec<u8>, Held)>,
}

impl Model {
    fn count(&self, key: &[u8]) -> u32 {
        self.held.iter().filter(|(other, _)| other == key).count() as u32
    }

    fn used(&self) -> u64 {
        let keys: HashMap<&[u8], ()> = self.held.iter().map(|(key, _)| (&**key, ())).collect();
        keys.keys().map(|key| (36 + key.len() as u64).next_power_of_two()).sum()
    }

    fn expected(&self, key: &[u8], limit: u32, size: u64) -> Result<(), Refusal> {
        let cost = (36 + key.len() as u64).next_power_of_two();
        match self.count(key) {
            0 if self.used() + cost > size => Err(Refusal::Full),
            count if count > 0 && count >= limit => Err(Refusal::Limit),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_zone_counts_as_a_list_of_connections_does() {
    for seed in 1..=256 {
        let mut dice = Dice::new(seed);
        let size = 64 * (2 + dice.roll(20));
        let mut zone = Zone::new(size);
        let mut model = Model::default();
        let mut overflows = 0;
        for step in 0..400 {
            if dice.roll(10) < 6 {
                let mut key = vec![dice.roll(12) as u8];
                // Some keys are too long to be kept in place.
                key.resize(1 + (usize::from(key[0]) % 4) * 17, 7);
                let limit = 1 + dice.roll(4) as u32;
                let expected = model.expected(&key, limit, zone.size());
                let taken = zone.take(&key, limit);
                let result = taken.as_ref().map(drop).map_err(|refusal| *refusal);
                assert_eq!(result, expected, "seed {seed}, step {step}");
                overflows += u64::from(expected == Err(Refusal::Full));
                model.held.extend(taken.ok().map(|held| (key, held)));
            } else if !model.held.is_empty() {
                let place = dice.roll(model.held.len() as u64) as usize;
                model.held.swap_remove(place);
            }
            if dice.roll(100) == 0 {
                zone = zone.resized(64 * (1 + dice.roll(30)));
            }
            assert_eq!(zone.used(), model.used(), "seed {seed}, step {step}");
        }
        assert_eq!(zone.overflows(), overflows, "seed {seed}");
        model.held.clear();
        assert_eq!(zone.used(), 0, "seed {seed}: everything is given back");
    }
}

#[test]
fn threads_share_one_count() {
    let zone = Zone::new(1 << 20);
    let most = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut most = 0;
                    for round in 0..2000_u32 {
                        let held: Vec<Held> = (0..6).filter_map(|_| zone.take(b"key", 10).ok()).collect();
                        let other = zone.take(&round.to_le_bytes(), 1);
                        most = most.max(held.len());
                        drop(other);
                    }
                    most
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).max()
    });
    assert!(most <= Some(10));
    assert_eq!(zone.used(), 0);
    let all: Vec<Held> = (0..20).filter_map(|_| zone.take(b"key", 10).ok()).collect();
    assert_eq!(all.len(), 10, "no place was lost");
}

#[test]
fn a_megabyte_holds_as_many_addresses_as_in_nginx() {
    let zone = Zone::new(1 << 20);
    let held: Vec<Held> = (0..20_000_u32).filter_map(|number| zone.take(&number.to_be_bytes(), 1).ok()).collect();
    assert_eq!(held.len(), 16_384);
    assert_eq!(zone.overflows(), 20_000 - 16_384);
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    #[derive(Default)]
    struct Scope {
        zones: Zones,
        conn: Conn,
    }
    let level: Level<Scope> = Level::new(Contexts::STREAM)
        .with(ZONE_DIRECTIVES, |scope: &mut Scope| &mut scope.zones)
        .with(CONN_DIRECTIVES, |scope| &mut scope.conn);
    for (text, expected) in [
        ("limit_conn_zone $a zone=x;", "invalid zone size \"zone=x\""),
        ("limit_conn_zone $a zone=x:y;", "invalid zone size \"zone=x:y\""),
        ("limit_conn_zone $a zone=x:1k;", "zone \"zone=x:1k\" is too small"),
        ("limit_conn_zone $a x:32k;", "invalid parameter \"x:32k\""),
        ("limit_conn_zone $a zone=:32k;", "\"limit_conn_zone\" must have \"zone\" parameter"),
        (
            "limit_conn_zone $a zone=x:32k; limit_conn_zone $a zone=x:64k;",
            "the size 65536 of shared memory zone \"x\" conflicts with already declared size 32768",
        ),
        (
            "limit_conn_zone $a zone=x:32k; limit_conn_zone $b zone=x:32k;",
            "limit_conn_zone \"x\" is already bound to key \"$a\"",
        ),
        ("limit_conn x 0;", "invalid number of connections \"0\""),
        ("limit_conn x many;", "invalid number of connections \"many\""),
        ("limit_conn x 65536;", "connection limit must be less 65536"),
        ("limit_conn x 1; limit_conn x 2;", "\"limit_conn\" directive is duplicate"),
        ("limit_conn x 1; limit_conn y 65535;", ""),
    ] {
        let cx = Cx::new(Path::new("/"), Path::new("/"));
        level.eval(&Tree::parse(Path::new("test.conf"), text).root, &mut Scope::default(), &cx);
        let found: Vec<String> = cx.diagnostics.borrow().iter().map(|found| found.message.clone()).collect();
        assert_eq!(found.join("; "), expected, "{text}");
    }
}
