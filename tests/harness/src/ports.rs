//! Ports that no other test of this machine uses at the same time.
//!
//! A port taken from the kernel and released can be handed to someone else before the program
//! binds it. So each reserved port is a locked file, held for as long as the test lives, and the
//! numbers lie below the kernel's range for outgoing connections.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{Flock, FlockArg};

const FIRST: u32 = 18_000;
const COUNT: u32 = 13_000;

#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: Flock<fs::File>,
}

impl Port {
    /// A free port that is nobody else's until this value is dropped.
    pub fn reserve() -> Port {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let start = std::process::id().wrapping_mul(211);
        for _ in 0..COUNT {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            if let Some(port) = Port::try_reserve((FIRST + offset) as u16) {
                return port;
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    fn try_reserve(number: u16) -> Option<Port> {
        let folder = std::env::temp_dir().join(format!("fairlead-ports-{}", nix::unistd::getuid()));
        fs::create_dir_all(&folder).expect("a folder for port locks can be made");
        let file = OpenOptions::new().create(true).append(true).open(folder.join(number.to_string())).ok()?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok();
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok();
        (tcp && udp).then_some(Port { number, _lock: lock })
    }
}

/// Binds a reserved port. A child that a test on another thread has just forked holds a copy of the
/// probing socket until it runs its own program, so the port may be taken for a moment longer.
pub(crate) fn patiently<T>(bind: impl Fn() -> std::io::Result<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        match bind() {
            Ok(bound) => return bound,
            Err(error) => assert!(start.elapsed() < crate::PATIENCE, "a reserved port cannot be bound: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
