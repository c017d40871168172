//! A binary upgrade (USR2): the new master inherits the listening sockets and
//! finds their descriptors in its environment.

use crate::messages::{key_text, parse_key};
use fairlead_core::net::ListenerKey;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockaddrStorage, getsockname};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Child, Command};

/// One line for each address: `tcp 127.0.0.1:80`, a tab, its descriptors.
const LISTENERS: &str = "FAIRLEAD_LISTENERS";

/// Starts the new binary as this one was started, with the sockets left open for it.
///
/// # Errors
/// Those of `fcntl`, `fork` and `exec`.
pub fn start(program: &OsString, sockets: &[(&ListenerKey, Vec<BorrowedFd<'_>>)]) -> io::Result<Child> {
    let open = |flags| sockets.iter().flat_map(|(_, fds)| fds).try_for_each(|fd| set_flags(*fd, flags));
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(LISTENERS, describe(sockets));
    // Nobody else is started meanwhile: the master has one thread that does.
    let started = open(FdFlag::empty()).and_then(|()| command.spawn());
    open(FdFlag::FD_CLOEXEC)?;
    started
}

fn set_flags(fd: BorrowedFd<'_>, flags: FdFlag) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

fn describe(sockets: &[(&ListenerKey, Vec<BorrowedFd<'_>>)]) -> String {
    let line = |(key, fds): &(&ListenerKey, Vec<BorrowedFd<'_>>)| {
        let fds: Vec<String> = fds.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        format!("{}\t{}", key_text(key), fds.join(" "))
    };
    sockets.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether a master before us left sockets for us.
pub fn is_upgrade() -> bool {
    std::env::var_os(LISTENERS).is_some()
}

/// The sockets the master before us left open. Call once.
///
/// # Errors
/// `InvalidData` when the description is broken or names what is no socket of ours.
pub fn inherited() -> io::Result<Vec<(ListenerKey, Vec<OwnedFd>)>> {
    let text = std::env::var(LISTENERS).unwrap_or_default();
    let broken = || io::Error::new(io::ErrorKind::InvalidData, format!("invalid {LISTENERS} in the environment"));
    let described = parse(&text).ok_or_else(broken)?;
    described.into_iter().map(|(key, fds)| Ok((key, fds.into_iter().map(adopt).collect::<io::Result<_>>()?))).collect()
}

fn parse(text: &str) -> Option<Vec<(ListenerKey, Vec<RawFd>)>> {
    let mut seen = HashSet::new();
    let mut listeners = Vec::new();
    for line in text.lines() {
        let (key, fds) = line.split_once('\t')?;
        let fds: Vec<RawFd> = fds.split(' ').map(|fd| fd.parse().ok()).collect::<Option<_>>()?;
        // The first three are the terminal's, and each belongs to one socket only.
        if !fds.iter().all(|fd| *fd > 2 && seen.insert(*fd)) {
            return None;
        }
        listeners.push((parse_key(key)?, fds));
    }
    Some(listeners)
}

#[allow(unsafe_code)]
fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for two calls that fail on a descriptor that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    getsockname::<SockaddrStorage>(fd)?;
    set_flags(borrowed, FdFlag::FD_CLOEXEC)?;
    // SAFETY: it is open, a socket, and was left for us by the master before; each number is taken
    // once, before this process has opened anything of its own.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_described_is_found_again() {
        let sockets = [(); 3].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let [a, b, c] = sockets.each_ref().map(|socket| socket.as_fd());
        let (tcp, unix) = (parse_key("tcp [::]:80").unwrap(), parse_key("udp unix:/run/a b.sock").unwrap());
        let text = describe(&[(&tcp, vec![a, b]), (&unix, vec![c])]);
        let numbers = |fds: &[BorrowedFd<'_>]| fds.iter().map(|fd| fd.as_raw_fd()).collect::<Vec<_>>();
        assert_eq!(parse(&text).unwrap(), [(tcp, numbers(&[a, b])), (unix, numbers(&[c]))]);
    }

    #[test]
    fn a_broken_description_is_refused() {
        for text in ["x", "tcp 1.2.3.4:80", "tcp 1.2.3.4:80\t", "tcp 1.2.3.4:80\t2", "tcp 1.2.3.4:80\t7 7", "tcp x\t7"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(""), Some(Vec::new()));
    }
}
