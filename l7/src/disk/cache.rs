//! `open_file_cache`: descriptors, what is known of files, and failures, kept by path for a while.
//!
//! Each worker thread has its own, so that nobody waits for anybody. It is bounded: the path that was
//! not asked for the longest makes room. It asks no clock and opens nothing; `disk` does.

use super::{Failure, Found};
use ahash::AHashMap;
use fairlead_core::clock::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

/// The five directives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// 0 keeps nothing.
    pub most: usize,
    pub inactive: Duration,
    pub valid: Duration,
    pub min_uses: u64,
    pub errors: bool,
}

#[derive(Debug)]
struct Entry {
    /// `None` of a file that was not asked for often enough to be kept open.
    found: Option<Result<Found, Failure>>,
    /// When it was last seen to be so.
    seen: Tick,
    used: Tick,
    uses: u64,
    /// Its place in the order of use.
    turn: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: AHashMap<Box<[u8]>, Entry>,
    order: BTreeMap<u64, Box<[u8]>>,
    turns: u64,
}

impl Cache {
    /// What is known of a path. `None` when it has to be opened: it is not known, or not kept open, or
    /// not to be trusted any more.
    pub fn find(&mut self, path: &[u8], settings: &Settings, now: Tick) -> Option<Result<Found, Failure>> {
        let entry = self.entries.get_mut(path)?;
        entry.uses += 1;
        entry.used = now;
        self.turns += 1;
        if let Some(path) = self.order.remove(&entry.turn) {
            self.order.insert(self.turns, path);
        }
        entry.turn = self.turns;
        entry.found.clone().filter(|_| now.since(entry.seen) < settings.valid)
    }

    /// Keeps what was found at a path.
    pub fn keep(&mut self, path: &[u8], found: &Result<Found, Failure>, settings: &Settings, now: Tick) {
        if found.is_err() && !settings.errors {
            self.forget(path);
            return;
        }
        let uses = self.entries.get(path).map_or(1, |entry| entry.uses);
        self.forget(path);
        // As nginx: two that nobody asks for go with each that comes.
        for _ in 0..2 {
            self.drop_oldest(|entry| now.since(entry.used) >= settings.inactive);
        }
        while self.entries.len() >= settings.most {
            if !self.drop_oldest(|_| true) {
                return;
            }
        }
        self.turns += 1;
        let rare = matches!(found, Ok(Found::File(..))) && uses < settings.min_uses;
        let entry = Entry { found: (!rare).then(|| found.clone()), seen: now, used: now, uses, turn: self.turns };
        self.order.insert(self.turns, path.into());
        self.entries.insert(path.into(), entry);
    }

    fn forget(&mut self, path: &[u8]) {
        if let Some(entry) = self.entries.remove(path) {
            self.order.remove(&entry.turn);
        }
    }

    fn drop_oldest(&mut self, if_it: impl FnOnce(&Entry) -> bool) -> bool {
        let Some((_, path)) = self.order.first_key_value() else { return false };
        let goes = self.entries.get(path).is_none_or(if_it);
        if goes && let Some((_, path)) = self.order.pop_first() {
            self.entries.remove(&path);
        }
        goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    const SETTINGS: Settings = Settings {
        most: 8,
        inactive: Duration::from_secs(20),
        valid: Duration::from_secs(60),
        min_uses: 1,
        errors: false,
    };

    #[test]
    fn it_stays_bounded_and_tells_only_what_is_fresh() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let (mut cache, mut now) = (Cache::default(), Tick(0));
            let mut told: AHashMap<Vec<u8>, Tick> = AHashMap::new();
            for _ in 0..400 {
                now = now.after(Duration::from_secs(dice.roll(20)));
                let path = vec![b'a' + dice.roll(16) as u8];
                match cache.find(&path, &SETTINGS, now) {
                    Some(found) => {
                        assert!(found.is_ok(), "seed {seed}");
                        assert!(now.since(told[&path]) < SETTINGS.valid, "seed {seed}");
                    }
                    None => {
                        cache.keep(&path, &Ok(Found::Folder), &SETTINGS, now);
                        told.insert(path, now);
                    }
                }
                assert!(cache.entries.len() <= SETTINGS.most, "seed {seed}");
                assert_eq!(cache.entries.len(), cache.order.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn failures_are_kept_only_when_asked() {
        let absent = Err(Failure { errno: rustix::io::Errno::NOENT, call: "open()" });
        let mut cache = Cache::default();
        cache.keep(b"/x", &absent, &SETTINGS, Tick(0));
        assert!(cache.find(b"/x", &SETTINGS, Tick(1)).is_none());
        cache.keep(b"/x", &absent, &Settings { errors: true, ..SETTINGS }, Tick(0));
        assert!(cache.find(b"/x", &SETTINGS, Tick(1)).is_some_and(|found| found.is_err()));
    }
}
