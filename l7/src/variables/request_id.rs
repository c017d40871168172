//! `$request_id`: random, and made only when somebody asks for it.

use std::cell::{Cell, OnceCell};
use std::hash::{BuildHasher, RandomState};

/// The id of one request.
#[derive(Clone, Debug, Default)]
pub struct RequestId(OnceCell<u128>);

impl RequestId {
    /// The same number each time.
    pub fn number(&self) -> u128 {
        *self.0.get_or_init(random)
    }
}

/// SipHash of a counter, keyed from the kernel's random numbers: once per thread, so
/// that a request costs no system call.
fn random() -> u128 {
    thread_local! {
        static KEYS: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.get();
    COUNT.set(count.wrapping_add(1));
    KEYS.with(|keys| u128::from(keys.hash_one((count, 0u8))) << 64 | u128::from(keys.hash_one((count, 1u8))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_the_same_and_differs_from_others() {
        let ids: Vec<RequestId> = (0..256).map(|_| RequestId::default()).collect();
        let numbers: std::collections::HashSet<u128> = ids.iter().map(RequestId::number).collect();
        assert_eq!(numbers.len(), ids.len());
        assert!(ids.iter().all(|id| id.number() == id.number()));
    }
}
