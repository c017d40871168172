//! What is known of names, and until when. Pure: `now` is an argument.
//!
//! Names can come from clients (`proxy_pass http://$host`), so the number of
//! entries is bounded and making room costs a logarithm, not a walk.

use super::{ResolveError, Settings};
use crate::clock::Tick;
use ahash::AHashMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

pub(super) type Outcome = Result<Rc<[IpAddr]>, ResolveError>;

/// Bounds of what a server may say; `valid=` is not bounded.
const MIN_TTL: Duration = Duration::from_secs(1);
pub(super) const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// A name that is created shall be seen soon, whatever its zone says.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60);

/// How long an outcome is believed, from the TTL in seconds that came with it.
pub(super) fn lifetime<T>(outcome: &Result<T, ResolveError>, ttl: Option<u32>, settings: &Settings) -> Duration {
    let told = Duration::from_secs(ttl.unwrap_or(0).into());
    match outcome {
        Ok(_) => settings.valid.unwrap_or(told.clamp(MIN_TTL, MAX_TTL)),
        Err(ResolveError::NotFound) => told.clamp(MIN_TTL, MAX_NEGATIVE_TTL).min(settings.valid.unwrap_or(MAX_TTL)),
        // The next one who asks may have more luck.
        Err(ResolveError::TimedOut | ResolveError::ServerFailure) => Duration::ZERO,
    }
}

pub(super) struct Cache {
    entries: AHashMap<Rc<str>, Entry>,
    /// The same entries, those that end first first.
    by_end: BTreeSet<(Tick, Rc<str>)>,
    capacity: usize,
}

struct Entry {
    outcome: Outcome,
    end: Tick,
}

impl Cache {
    pub fn new(capacity: usize) -> Cache {
        Cache { entries: AHashMap::new(), by_end: BTreeSet::new(), capacity }
    }

    pub fn find(&self, name: &str, now: Tick) -> Option<&Outcome> {
        self.entries.get(name).filter(|entry| now < entry.end).map(|entry| &entry.outcome)
    }

    /// How long what is known of a name holds from now on.
    pub fn left(&self, name: &str, now: Tick) -> Duration {
        self.entries.get(name).map_or(Duration::ZERO, |entry| entry.end.since(now))
    }

    /// Keeps an outcome for `lifetime`; returns how many names that were still good had to go.
    pub fn insert(&mut self, name: Rc<str>, outcome: Outcome, lifetime: Duration, now: Tick) -> u64 {
        self.remove(&name);
        if lifetime.is_zero() {
            return 0;
        }
        let mut evicted = 0;
        while let Some((end, _)) = self.by_end.first() {
            if now < *end && self.entries.len() < self.capacity {
                break;
            }
            evicted += u64::from(now < *end);
            self.remove_first();
        }
        let end = now.after(lifetime);
        self.by_end.insert((end, name.clone()));
        self.entries.insert(name, Entry { outcome, end });
        evicted
    }

    fn remove(&mut self, name: &str) {
        if let Some((name, entry)) = self.entries.remove_entry(name) {
            self.by_end.remove(&(entry.end, name));
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, name)) = self.by_end.pop_first() {
            self.entries.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use std::collections::HashMap;

    fn settings(valid: Option<u64>) -> Settings {
        Settings { valid: valid.map(Duration::from_secs), ..Settings::default() }
    }

    fn found(last: u8) -> Outcome {
        Ok(Rc::from([IpAddr::from([192, 0, 2, last])]))
    }

    #[test]
    fn entries_end_with_their_ttl() {
        let mut cache = Cache::new(8);
        let lifetime = lifetime(&found(1), Some(30), &settings(None));
        cache.insert("a.test".into(), found(1), lifetime, Tick(1000));
        assert_eq!(cache.find("a.test", Tick(30_999)), Some(&found(1)));
        assert_eq!(cache.find("a.test", Tick(31_000)), None);
        assert_eq!(cache.find("b.test", Tick(1000)), None);
    }

    #[test]
    fn ttls_are_bounded_and_overridden() {
        let seconds = |outcome: &Outcome, ttl, valid| lifetime(outcome, ttl, &settings(valid)).as_secs();
        assert_eq!(seconds(&found(1), Some(0), None), 1);
        assert_eq!(seconds(&found(1), Some(u32::MAX), None), 24 * 3600);
        assert_eq!(seconds(&found(1), Some(5), Some(300)), 300);
        let nothing = Err(ResolveError::NotFound);
        assert_eq!(seconds(&nothing, None, None), 1);
        assert_eq!(seconds(&nothing, Some(3600), None), 60);
        assert_eq!(seconds(&nothing, Some(3600), Some(10)), 10);
        assert_eq!(seconds(&Err(ResolveError::ServerFailure), Some(3600), Some(10)), 0);
        assert_eq!(seconds(&Err(ResolveError::TimedOut), None, None), 0);
    }

    #[test]
    fn it_never_lies_never_outgrows_its_bound_and_evicts_what_ends_first() {
        for seed in 0..256 {
            simulate(seed);
        }
    }

    fn simulate(seed: u64) {
        let mut dice = Dice::new(seed);
        let capacity = 1 + dice.roll(12) as usize;
        let mut cache = Cache::new(capacity);
        let mut model: HashMap<String, (u8, u64)> = HashMap::new();
        let mut now = 0;
        for step in 0..400u64 {
            now += dice.roll(200);
            let name = format!("{}.test", dice.roll(16));
            if dice.roll(2) == 0 {
                let (value, lifetime) = (step as u8, dice.roll(3000));
                let evicted =
                    cache.insert(name.as_str().into(), found(value), Duration::from_millis(lifetime), Tick(now));
                model.remove(&name);
                model.retain(|_, (_, end)| now < *end);
                let had_to_go = u64::from(lifetime > 0 && model.len() == capacity);
                assert_eq!(evicted, had_to_go, "seed {seed} step {step}");
                if had_to_go > 0 {
                    let first = model.iter().map(|(name, (_, end))| (*end, name.clone())).min().unwrap();
                    model.remove(&first.1);
                }
                if lifetime > 0 {
                    model.insert(name.clone(), (value, now + lifetime));
                }
            }
            let expected = model.get(&name).filter(|(_, end)| now < *end).map(|(value, _)| found(*value));
            assert_eq!(cache.find(&name, Tick(now)), expected.as_ref(), "seed {seed} step {step}");
            assert!(cache.entries.len() <= capacity, "seed {seed} step {step}");
            assert_eq!(cache.entries.len(), cache.by_end.len(), "seed {seed} step {step}");
        }
    }
}
