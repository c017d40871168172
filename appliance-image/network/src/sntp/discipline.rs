//! The kernel's clock told to step or to be led. What leads it is the kernel itself, which also
//! learns the drift of its crystal, and keeps the hardware's clock near.

use crate::sntp::decide::Adjust;
use std::io;

/// # Errors
/// The process may not set the clock.
#[allow(unsafe_code)]
pub fn kernel(adjust: Adjust) -> io::Result<()> {
    let mut wish = wish(adjust);
    // SAFETY: `wish` is a whole `timex` of numbers, which the call reads and fills.
    let state = unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &mut wish) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[allow(unsafe_code)]
fn wish(adjust: Adjust) -> libc::timex {
    // SAFETY: `timex` is made of numbers, for which all bits zero is a value.
    let mut wish: libc::timex = unsafe { std::mem::zeroed() };
    match adjust {
        Adjust::Step(by) => {
            wish.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO | libc::ADJ_STATUS;
            wish.status = 0;
            wish.time.tv_sec = by.div_euclid(1_000_000_000);
            wish.time.tv_usec = by.rem_euclid(1_000_000_000);
        }
        Adjust::Lead { offset, interval } => {
            wish.modes = libc::ADJ_OFFSET
                | libc::ADJ_NANO
                | libc::ADJ_STATUS
                | libc::ADJ_TIMECONST
                | libc::ADJ_MAXERROR
                | libc::ADJ_ESTERROR;
            wish.status = libc::STA_PLL;
            wish.offset = offset;
            // The logarithm of the interval, from 16 seconds on.
            wish.constant = i64::from(interval.as_secs().max(16).ilog2()) - 4;
        }
    }
    wish
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_step_back_has_a_fraction_that_counts_forward() {
        let back = wish(Adjust::Step(-1_500_000_000));
        assert_eq!((back.time.tv_sec, back.time.tv_usec), (-2, 500_000_000));
        let lead = wish(Adjust::Lead { offset: -7, interval: Duration::from_secs(1024) });
        assert_eq!((lead.offset, lead.constant, lead.status), (-7, 6, libc::STA_PLL));
    }
}
