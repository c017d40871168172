//! How many connections the management holds: a stranger's are few and short, and those of one
//! address fewer still, so that nobody keeps those out whose key is known.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

const MOST_STRANGERS: usize = 24;
const MOST_STRANGERS_OF_ONE_ADDRESS: usize = 6;
const MOST_KNOWN: usize = 16;

#[derive(Debug, Default)]
pub struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    strangers: BTreeMap<IpAddr, usize>,
    known: usize,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// Until its key is known.
    stranger: Option<IpAddr>,
}

impl Places {
    /// For a connection whose key is not known yet.
    pub fn enter(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let entered = self.change(|taken| {
            let all: usize = taken.strangers.values().sum();
            let own = taken.strangers.entry(address).or_default();
            let free = all < MOST_STRANGERS && *own < MOST_STRANGERS_OF_ONE_ADDRESS;
            *own += usize::from(free);
            free
        });
        entered.then(|| Place { places: self.clone(), stranger: Some(address) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        // Counts are right whatever happened to the thread that changed them last.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Taken {
    fn leave(&mut self, stranger: Option<IpAddr>) {
        let Some(address) = stranger else {
            self.known = self.known.saturating_sub(1);
            return;
        };
        if let Some(own) = self.strangers.get_mut(&address) {
            *own = own.saturating_sub(1);
        }
        self.strangers.retain(|_, own| *own > 0);
    }
}

impl Place {
    /// The key is known: the place among the strangers is free again. `false` when there are too many.
    pub fn is_known(&mut self) -> bool {
        let stranger = self.stranger;
        let moved = self.places.change(|taken| {
            let free = stranger.is_some() && taken.known < MOST_KNOWN;
            if free {
                taken.leave(stranger);
                taken.known += 1;
            }
            free || stranger.is_none()
        });
        if moved {
            self.stranger = None;
        }
        moved
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let stranger = self.stranger;
        self.places.change(|taken| taken.leave(stranger));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_never_keep_out_who_is_known() {
        let places = Arc::new(Places::default());
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut of_one: Vec<Place> = std::iter::from_fn(|| places.enter(address(1))).collect();
        assert_eq!(of_one.len(), MOST_STRANGERS_OF_ONE_ADDRESS);
        let known = of_one.pop().map(|mut place| (place.is_known(), place)).unwrap();
        assert!(known.0);
        assert!(places.enter(address(1)).is_some(), "its place is free again");
        let others: Vec<Place> = (2..100).filter_map(|last| places.enter(address(last))).collect();
        assert_eq!(others.len() + of_one.len(), MOST_STRANGERS);
        drop((others, of_one, known));
        let left = std::mem::take(&mut *places.0.lock().unwrap());
        assert_eq!((left.strangers.len(), left.known), (0, 0));
    }

    #[test]
    fn those_who_are_known_are_bounded_too() {
        let places = Arc::new(Places::default());
        let enter =
            |_| places.enter(IpAddr::from([127, 0, 0, 1])).and_then(|mut place| place.is_known().then_some(place));
        let known: Vec<Place> = (0..100).filter_map(enter).collect();
        assert_eq!(known.len(), MOST_KNOWN);
    }
}
