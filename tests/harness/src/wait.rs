//! Waiting for a condition, with a deadline. Nothing in the tests waits for a fixed time.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once; long enough for a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Return as soon as `condition` holds; panic with `what` when it does not hold within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// The same with a limit of one's own. Returns how long it took.
#[track_caller]
pub fn eventually_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    loop {
        if condition() {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
