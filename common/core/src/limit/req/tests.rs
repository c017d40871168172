//! Buckets against nginx's arithmetic, and what a full zone forgets.

use super::*;

/// xorshift64*: the simulation needs numbers that a seed gives again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}

#[test]
fn buckets_leak_as_in_nginx() {
    for seed in 0..256 {
        let mut random = Random(seed * 2 + 1);
        let (rate, burst) = (1 + random.below(20_000), random.below(6) * 1000);
        let zone = Buckets::new(1 << 20, rate);
        let mut model: AHashMap<u64, (i64, i64)> = AHashMap::new();
        let mut now = random.below(1_000_000);
        for step in 0..400 {
            now += random.below(300);
            let key = random.below(5);
            let expected = match model.get_mut(&key) {
                None => {
                    model.insert(key, (0, now as i64));
                    Ok(0)
                }
                Some((excess, last)) => {
                    let millis = now as i64 - *last;
                    let new = (*excess - rate as i64 * millis / 1000 + 1000).max(0);
                    if new > burst as i64 {
                        Err(TooMuch::Excess(new as u64))
                    } else {
                        (*excess, *last) = (new, now as i64);
                        Ok(new as u64)
                    }
                }
            };
            let looked = zone.look(&key.to_be_bytes(), burst, Tick(now));
            assert_eq!(looked.is_err(), expected.is_err(), "seed {seed}, step {step}");
            assert_eq!(zone.take(&key.to_be_bytes(), burst, Tick(now)), expected, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn waits_are_what_the_excess_beyond_the_delay_takes() {
    let zone = Buckets::new(1 << 20, 2000);
    assert_eq!(
        [zone.wait(1000, 0), zone.wait(500, 0), zone.wait(3000, 1000), zone.wait(900, 1000)],
        [500, 250, 1000, 0]
    );
}

#[test]
fn a_full_zone_forgets_who_was_away_longest() {
    // One key and its length take 128 bytes.
    let zone = Buckets::new(16 * 128, 1);
    for seed in 0..256 {
        let mut random = Random(seed * 2 + 1);
        for step in 0..50 {
            let key = random.below(100).to_be_bytes();
            assert!(zone.take(&key, u64::MAX, Tick(seed * 50 + step)).is_ok());
            assert!(zone.used() <= zone.size(), "seed {seed}, step {step}");
            assert!(zone.look(&key, 0, Tick(seed * 50 + step)).is_err(), "seed {seed}: the newest is known");
        }
    }
    assert!(zone.overflows() > 0);
    assert_eq!(Buckets::new(100, 1).take(b"key", 0, Tick(1)), Err(TooMuch::Full));
}

#[test]
fn silent_keys_make_room_by_themselves() {
    let zone = Buckets::new(1 << 20, 1000);
    for key in 0..1000_u64 {
        zone.take(&key.to_be_bytes(), 0, Tick(1000)).unwrap();
    }
    let full = zone.used();
    for key in 5000..9000_u64 {
        zone.take(&key.to_be_bytes(), 0, Tick(100_000)).unwrap();
    }
    assert_eq!(full, 1000 * 128);
    assert!(zone.used() <= 4000 * 128 + 20 * 128, "{}", zone.used());
    let anew = zone.renewed(1 << 10, 5);
    assert!(anew.is_same(&zone) && anew.size() == 1 << 10);
}

#[test]
fn threads_count_together_and_never_more_than_the_room() {
    let zone = Buckets::new(64 * 128, 1);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let zone = &zone;
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                for step in 0..5000 {
                    let _ = zone.take(&random.below(200).to_be_bytes(), u64::MAX, Tick(step));
                }
            });
        }
    });
    let kept: u64 = (0..SHARDS).map(|place| zone.table.at(place).by_key.len() as u64 * 128).sum();
    assert_eq!(zone.used(), kept);
    assert!(kept <= zone.size());
}
