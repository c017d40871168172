//! The hardware's dead man's handle: once armed, it resets the machine unless it is told again and
//! again that all is well. It stays armed on the way down, in case that hangs.

use crate::kernel_calls::set_watchdog_timeout;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::Duration;

const DEVICES: &[&str] = &["/dev/watchdog0", "/dev/watchdog"];
/// Signs of life within one period of the hardware.
const SIGNS: u32 = 4;

pub struct Watchdog {
    device: File,
    wanted: Duration,
    period: Duration,
    next: u64,
}

impl Watchdog {
    /// Whether the machine has one.
    pub fn is_there() -> bool {
        DEVICES.iter().any(|path| fs::metadata(path).is_ok())
    }

    /// Arms it; the name of the driver. `None` without one.
    pub fn arm(period: Duration, now: u64) -> Option<(Watchdog, String)> {
        let device = DEVICES.iter().find_map(|path| OpenOptions::new().write(true).open(path).ok())?;
        let mut watchdog = Watchdog { device, wanted: period, period, next: now };
        watchdog.wait_for(period);
        watchdog.sign(now);
        let name = fs::read_to_string("/sys/class/watchdog/watchdog0/identity").unwrap_or_default();
        Some((watchdog, name.trim().to_owned()))
    }

    pub fn wanted(&self) -> Duration {
        self.wanted
    }

    /// What the hardware made of it.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Changes its time. One that cannot be changed keeps what it has.
    pub fn wait_for(&mut self, period: Duration) {
        self.wanted = period;
        let seconds = i32::try_from(period.as_secs().max(1)).unwrap_or(i32::MAX);
        let kept = set_watchdog_timeout(&self.device, seconds).ok().and_then(|seconds| u64::try_from(seconds).ok());
        let kept = kept.or_else(|| {
            let text = fs::read_to_string("/sys/class/watchdog/watchdog0/timeout").ok()?;
            text.trim().parse().ok()
        });
        self.period = Duration::from_secs(kept.unwrap_or(10).max(1));
    }

    /// A sign of life, if one is due.
    pub fn sign(&mut self, now: u64) {
        if now >= self.next {
            // Any byte but `V`, which would disarm it.
            let _ = self.device.write_all(b"\0");
            self.next = now + u64::try_from((self.period / SIGNS).as_millis()).unwrap_or(1000);
        }
    }

    /// Disarms it: somebody configured it off.
    pub fn disarm(mut self) {
        let _ = self.device.write_all(b"V");
    }
}
