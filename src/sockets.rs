//! The listening sockets the master holds: bound once, kept while any
//! generation listens on their address, handed to every worker process.

use crate::messages::Socket;
use crate::pidfile::reason;
use fairlead_core::net::{self, Address, Listener, ListenerKey};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// All sockets of one address.
#[derive(Debug)]
struct Bound {
    listener: Listener,
    sockets: Vec<(u64, OwnedFd)>,
}

#[derive(Debug, Default)]
pub struct Sockets {
    bound: Vec<Bound>,
    next_id: u64,
}

/// What a new generation needs beyond what is held; nothing has changed yet.
#[derive(Debug)]
pub struct Prepared {
    listeners: Vec<Listener>,
    new: Vec<New>,
}

#[derive(Debug)]
struct New {
    key: ListenerKey,
    sockets: Vec<(u64, OwnedFd)>,
    /// They take the place of those that are held, which cannot be what is asked for now.
    instead: bool,
}

impl Sockets {
    /// Takes over the sockets of the process before us.
    pub fn adopt(&mut self, inherited: Vec<(ListenerKey, Vec<OwnedFd>)>) {
        for (key, fds) in inherited {
            let sockets = fds.into_iter().map(|fd| (self.number(), fd)).collect();
            self.bound.push(Bound { listener: Listener { key, options: Default::default() }, sockets });
        }
    }

    /// Binds what `listeners` need and is not held: one socket per thread for each address.
    ///
    /// # Errors
    /// One message for each address that cannot be had.
    pub fn prepare(&mut self, listeners: Vec<Listener>, threads: usize) -> Result<Prepared, Vec<String>> {
        let mut errors = Vec::new();
        for listener in listeners.iter().filter(|listener| !self.holds_port(&listener.key)) {
            if let Err(error) = net::bind(listener, 0, true) {
                errors.push(bind_failed(&listener.key, &error));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut new = Vec::new();
        for listener in &listeners {
            let (missing, instead) = self.missing(listener, threads);
            match net::bind(listener, missing, false) {
                Ok(fds) => {
                    let sockets = fds.into_iter().map(|fd| (self.number(), fd)).collect();
                    new.push(New { key: listener.key.clone(), sockets, instead });
                }
                Err(error) => errors.push(bind_failed(&listener.key, &error)),
            }
        }
        let prepared = Prepared { listeners, new };
        if errors.is_empty() {
            return Ok(prepared);
        }
        prepared.abandon();
        Err(errors)
    }

    /// Makes the prepared set the one that is held. What no generation listens on any more is closed.
    pub fn commit(&mut self, prepared: Prepared) {
        let mut old = std::mem::take(&mut self.bound);
        for New { key, sockets, instead } in prepared.new {
            match old.iter_mut().find(|bound| bound.listener.key == key) {
                Some(bound) if instead => bound.sockets = sockets,
                Some(bound) => bound.sockets.extend(sockets),
                None => old.push(Bound { listener: Listener { key, options: Default::default() }, sockets }),
            }
        }
        for listener in prepared.listeners {
            let Some(at) = old.iter().position(|bound| bound.listener.key == listener.key) else { continue };
            let bound = old.swap_remove(at);
            if bound.listener.options != listener.options {
                for (_, socket) in &bound.sockets {
                    // The socket listens all the same, with the options it had.
                    let _ = net::reapply(&listener, socket);
                }
            }
            self.bound.push(Bound { listener, sockets: bound.sockets });
        }
        unlink(old.iter().map(|bound| &bound.listener.key));
    }

    /// Every socket of the held set and of `prepared`, for a worker process that has none of them.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn all(&self) -> io::Result<Vec<Socket>> {
        let sockets = self.bound.iter().flat_map(|bound| bound.sockets.iter().map(|held| (&bound.listener.key, held)));
        sockets.map(|(key, (id, fd))| Ok(Socket { id: *id, key: key.clone(), fd: Some(fd.try_clone()?) })).collect()
    }

    /// The sockets of `prepared` for a worker process that holds the current ones.
    ///
    /// # Errors
    /// Those of `dup`.
    pub fn with(&self, prepared: &Prepared) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        let replaced = |key: &ListenerKey| prepared.new.iter().any(|new| new.instead && new.key == *key);
        for key in prepared.listeners.iter().map(|listener| &listener.key).filter(|key| !replaced(key)) {
            let held = self.bound.iter().filter(|bound| bound.listener.key == *key);
            for (id, _) in held.flat_map(|bound| &bound.sockets) {
                sockets.push(Socket { id: *id, key: key.clone(), fd: None });
            }
        }
        for New { key, sockets: new, .. } in &prepared.new {
            for (id, fd) in new {
                sockets.push(Socket { id: *id, key: key.clone(), fd: Some(fd.try_clone()?) });
            }
        }
        Ok(sockets)
    }

    /// Every descriptor by its address, for the process that follows us.
    pub fn descriptors(&self) -> Vec<(&ListenerKey, Vec<BorrowedFd<'_>>)> {
        let fds = |bound: &'_ Bound| -> Vec<_> { Vec::with_capacity(bound.sockets.len()) };
        self.bound
            .iter()
            .map(|bound| {
                let mut list = fds(bound);
                list.extend(bound.sockets.iter().map(|(_, fd)| fd.as_fd()));
                (&bound.listener.key, list)
            })
            .collect()
    }

    /// Removes the files of Unix sockets: nobody follows us.
    pub fn unlink(&self) {
        unlink(self.bound.iter().map(|bound| &bound.listener.key));
    }

    fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether we hold this port already, on this address or one that overlaps it, so that looking
    /// for somebody else would find us.
    fn holds_port(&self, key: &ListenerKey) -> bool {
        self.bound.iter().map(|bound| &bound.listener.key).any(|held| {
            held.protocol == key.protocol
                && match (&held.address, &key.address) {
                    (Address::Ip(held), Address::Ip(wanted)) => held.port() == wanted.port(),
                    (held, wanted) => held == wanted,
                }
        })
    }

    /// How many sockets a listener needs beyond those that are held, or in their place. A Unix socket
    /// is one for all threads; of the others each thread has its own.
    fn missing(&self, listener: &Listener, threads: usize) -> (usize, bool) {
        let wanted = if matches!(listener.key.address, Address::Unix(_)) { 1 } else { threads };
        let held = self.bound.iter().find(|bound| bound.listener.key == listener.key);
        let held = held.map_or(&[][..], |bound| &bound.sockets);
        let fit = held.iter().all(|(_, socket)| net::fits(listener, socket));
        if fit { (wanted.saturating_sub(held.len()), false) } else { (wanted, true) }
    }
}

impl Prepared {
    /// Closes what was bound for a generation that will not be.
    pub fn abandon(self) {
        unlink(self.new.iter().filter(|new| !new.sockets.is_empty()).map(|new| &new.key));
    }
}

fn unlink<'a>(keys: impl Iterator<Item = &'a ListenerKey>) {
    for key in keys {
        if let Address::Unix(path) = &key.address {
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_failed(key: &ListenerKey, error: &io::Error) -> String {
    match error.raw_os_error() {
        // The kernel has no such protocol, or it is switched off: Multipath TCP, IPv6.
        Some(libc::EPROTONOSUPPORT | libc::ENOPROTOOPT | libc::EAFNOSUPPORT) => {
            format!("socket() {} failed ({})", key.address, reason(error))
        }
        _ => format!("bind() to {} failed ({})", key.address, reason(error)),
    }
}

/// Looks whether every address could be bound, without binding it for longer than a moment.
/// An address that is taken is none of a test's business: it may be the running fairlead.
pub fn test(listeners: &[Listener]) -> Vec<String> {
    let failures = listeners.iter().filter_map(|listener| {
        let error = net::bind(listener, 0, true).err()?;
        (error.kind() != io::ErrorKind::AddrInUse).then(|| bind_failed(&listener.key, &error))
    });
    failures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

    fn listener(port: u16) -> Listener {
        let address = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let key = ListenerKey { protocol: net::Protocol::Tcp, address };
        Listener { key, options: Default::default() }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn ids(sockets: &[Socket]) -> Vec<u64> {
        sockets.iter().map(|socket| socket.id).collect()
    }

    #[test]
    fn an_unchanged_listener_keeps_its_sockets_and_gets_more_for_more_threads() {
        let (a, b) = (free_port(), free_port());
        let mut sockets = Sockets::default();
        let prepared = sockets.prepare(vec![listener(a), listener(b)], 2).unwrap();
        sockets.commit(prepared);
        let before = ids(&sockets.all().unwrap());
        assert_eq!(before.len(), 4);

        let prepared = sockets.prepare(vec![listener(a)], 3).unwrap();
        let sent = sockets.with(&prepared).unwrap();
        assert_eq!(sent.iter().filter(|socket| socket.fd.is_some()).count(), 1);
        sockets.commit(prepared);
        assert!(before[..2].iter().all(|id| ids(&sockets.all().unwrap()).contains(id)));
        assert_eq!(sockets.all().unwrap().len(), 3);
        TcpListener::bind(("127.0.0.1", b)).expect("what went away is closed");
    }

    #[test]
    fn what_is_settled_when_a_socket_is_bound_takes_new_sockets_to_change() {
        let mut both = listener(free_port());
        both.key.address = Address::Ip(SocketAddr::from((Ipv6Addr::UNSPECIFIED, free_port())));
        let mut only = both.clone();
        both.options.ipv6only = false;
        let mut sockets = Sockets::default();
        let prepared = sockets.prepare(vec![both.clone()], 2).unwrap();
        sockets.commit(prepared);
        let before = ids(&sockets.all().unwrap());

        let prepared = sockets.prepare(vec![only.clone()], 3).unwrap();
        let sent = sockets.with(&prepared).unwrap();
        assert!(sent.len() == 3 && sent.iter().all(|socket| socket.fd.is_some() && !before.contains(&socket.id)));
        prepared.abandon();
        assert_eq!(ids(&sockets.all().unwrap()), before, "a generation that will not be changes nothing");

        // Whatever is said to hold, as after an upgrade: the sockets are asked.
        sockets.bound[0].listener.options = only.options.clone();
        only.options.backlog = 5;
        let prepared = sockets.prepare(vec![only.clone()], 2).unwrap();
        sockets.commit(prepared);
        let after = sockets.all().unwrap();
        assert!(after.len() == 2 && after.iter().all(|socket| net::fits(&only, socket.fd.as_ref().unwrap())));
        let prepared = sockets.prepare(vec![only], 2).unwrap();
        assert!(sockets.with(&prepared).unwrap().iter().all(|socket| socket.fd.is_none()));
    }

    #[test]
    fn fewer_threads_keep_every_socket() {
        let port = free_port();
        let mut sockets = Sockets::default();
        let prepared = sockets.prepare(vec![listener(port)], 4).unwrap();
        sockets.commit(prepared);
        let prepared = sockets.prepare(vec![listener(port)], 1).unwrap();
        assert_eq!(sockets.with(&prepared).unwrap().len(), 4);
    }

    #[test]
    fn every_taken_address_is_named_and_nothing_stays_bound() {
        let holders = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [a, b] = holders.each_ref().map(|holder| holder.local_addr().unwrap().port());
        let free = free_port();
        let mut sockets = Sockets::default();
        let errors = sockets.prepare(vec![listener(a), listener(free), listener(b)], 1).unwrap_err();
        let said = |port| format!("bind() to 127.0.0.1:{port} failed (98: Address already in use)");
        assert_eq!(errors, [said(a), said(b)]);
        assert!(sockets.all().unwrap().is_empty());
        TcpListener::bind(("127.0.0.1", free)).unwrap();
        drop(holders);
    }

    #[test]
    fn a_wildcard_and_one_of_its_addresses_can_both_be_listened_on() {
        let port = free_port();
        let mut any = listener(port);
        any.key.address = Address::Ip(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let mut sockets = Sockets::default();
        let prepared = sockets.prepare(vec![any.clone()], 1).unwrap();
        sockets.commit(prepared);
        let prepared = sockets.prepare(vec![any, listener(port)], 1).unwrap();
        sockets.commit(prepared);
        assert_eq!(sockets.all().unwrap().len(), 2);
    }

    #[test]
    fn the_file_of_a_unix_socket_goes_with_its_listener() {
        let path = std::env::temp_dir().join(format!("fairlead-sockets-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut unix = listener(1);
        unix.key.address = Address::Unix(path.clone());
        let mut sockets = Sockets::default();
        let prepared = sockets.prepare(vec![unix.clone()], 4).unwrap();
        sockets.commit(prepared);
        assert_eq!(sockets.all().unwrap().len(), 1, "one for all threads");
        let prepared = sockets.prepare(vec![unix], 4).unwrap();
        sockets.commit(prepared);
        assert!(path.exists());
        let prepared = sockets.prepare(vec![], 4).unwrap();
        sockets.commit(prepared);
        assert!(!path.exists());
    }
}
