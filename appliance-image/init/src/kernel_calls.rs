//! The ioctl that no library wraps: how long a watchdog waits.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `WDIOC_SETTIMEOUT`: `_IOWR('W', 6, int)`.
const SET_TIMEOUT: libc::c_ulong = 0xc004_5706;

/// Sets the time, in seconds; what the hardware made of it.
///
/// # Errors
/// When the driver cannot change its time.
#[allow(unsafe_code)]
pub fn set_watchdog_timeout(watchdog: &File, seconds: i32) -> io::Result<i32> {
    let mut seconds = seconds;
    // SAFETY: this request reads and writes one int, which `seconds` is, and nothing else of ours.
    let done = unsafe { libc::ioctl(watchdog.as_raw_fd(), SET_TIMEOUT, &raw mut seconds) };
    if done == 0 { Ok(seconds) } else { Err(io::Error::last_os_error()) }
}
