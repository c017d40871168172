//! Whether the kernel has random numbers to give: keys and cookies wait for it.

use rustix::rand::{GetRandomFlags, getrandom};
use std::thread::sleep;
use std::time::Duration;

/// Rounds of 50 ms.
const ROUNDS: usize = 100;

/// Waits until it has, 5 seconds at most.
pub fn wait() -> bool {
    (0..ROUNDS).any(|_| {
        let ready = is_ready();
        if !ready {
            sleep(Duration::from_millis(50));
        }
        ready
    })
}

fn is_ready() -> bool {
    let mut byte = [0u8; 1];
    getrandom(&mut byte, GetRandomFlags::NONBLOCK).is_ok()
}

/// Random bytes; `None` when the kernel has none.
pub fn bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    (got == N).then_some(bytes)
}
