//! Lines that say what is being done, with the seconds since the build began.

use std::fmt::Display;
use std::time::Instant;

pub struct Progress {
    began: Instant,
}

impl Progress {
    pub fn begin() -> Progress {
        Progress { began: Instant::now() }
    }

    pub fn say(&self, line: impl Display) {
        println!("{:7.1} s  {line}", self.began.elapsed().as_secs_f64());
    }
}

/// `21.5 MB`, as disks and downloads are counted.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
