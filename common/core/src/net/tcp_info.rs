//! What the kernel knows of a TCP connection: `$tcpinfo_rtt` and its like.
//!
//! One system call each time: only connections whose configuration asks pay for it.

use crate::net::Stream;
use std::os::fd::{AsFd, AsRawFd};

/// The four numbers that nginx has variables for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// Microseconds.
    pub rtt: u32,
    /// Microseconds.
    pub rttvar: u32,
    /// Segments.
    pub snd_cwnd: u32,
    /// Bytes.
    pub rcv_space: u32,
}

impl TcpInfo {
    /// `None` for what is no TCP connection.
    #[allow(unsafe_code)]
    pub fn of(stream: &Stream) -> Option<TcpInfo> {
        // SAFETY: a `tcp_info` is integers, so all zeroes is a valid one.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut size = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
        // SAFETY: the descriptor is open while `stream` lives; the kernel writes at most `size` bytes,
        // which is the size of `info`, and any bytes make valid integers.
        let asked = unsafe {
            libc::getsockopt(
                stream.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut size,
            )
        };
        (asked == 0).then_some(TcpInfo {
            rtt: info.tcpi_rtt,
            rttvar: info.tcpi_rttvar,
            snd_cwnd: info.tcpi_snd_cwnd,
            rcv_space: info.tcpi_rcv_space,
        })
    }
}
