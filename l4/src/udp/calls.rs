//! System calls on one socket that the standard library and socket2 lack.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Takes its peer from a connected socket, and with it the port that the kernel gave it: whatever
/// still comes to that port is refused as if the socket were closed.
///
/// # Errors
/// Those of `connect`.
#[allow(unsafe_code)]
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: sockaddr is plain numbers, for which all zeroes is a value.
    let mut nobody: libc::sockaddr = unsafe { mem::zeroed() };
    nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: the address lives until connect returns and is as long as is said.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &nobody, size_of_val(&nobody) as libc::socklen_t) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
