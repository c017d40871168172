//! The peers of the stories, each with a way of its own, and what they were sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use fairlead_harness::{Port, TcpPeer, UdpPeer, eventually, reset};

use super::shown;

/// Name of the peer and what one connection brought it; `None` while it lasts.
type Seen = Arc<Mutex<Vec<(&'static str, Vec<u8>, bool)>>>;

type Named<T> = (&'static str, T);

/// The replies to a datagram.
type Answer = fn(&[u8]) -> Vec<Vec<u8>>;

pub struct Peers {
    tcp: Vec<(&'static str, TcpPeer)>,
    udp: Vec<(&'static str, UdpPeer)>,
    nobody: Vec<(&'static str, Port)>,
    seen: Seen,
    datagrams: Mutex<Vec<usize>>,
}

impl Peers {
    pub fn start() -> Peers {
        let seen = Seen::default();
        let tcp: [Named<fn(&mut Recorded)>; 7] = [
            // Sends back what it gets; finishes when the other side has.
            ("echo", |it| while it.read() && it.write_back() {}),
            ("greet", |it| {
                let _ = it.stream.write_all(b"220 ready\r\n");
                while it.read() {}
            }),
            ("close", |_| {}),
            ("reset_mid", |it| {
                it.read();
                let _ = it.stream.write_all(b"half an ans");
                it.reset();
            }),
            // Answers when the other side has finished.
            ("linger", |it| {
                while it.read() {}
                let _ = it.stream.write_all(b"and good bye");
            }),
            ("silent", |it| while it.read() {}),
            // Finishes first, and reads on.
            ("half", |it| {
                let _ = it.stream.write_all(b"all I have");
                let _ = it.stream.shutdown(Shutdown::Write);
                while it.read() {}
            }),
        ];
        let tcp = tcp.into_iter().map(|(name, serve)| {
            let seen = seen.clone();
            (name, TcpPeer::start(move |stream| serve(&mut Recorded::new(name, stream, seen.clone()))))
        });
        let udp: [Named<Answer>; 3] = [
            ("udp_echo", |datagram| vec![datagram.to_vec()]),
            ("udp_twice", |datagram| vec![datagram.to_vec(), b"again".to_vec()]),
            ("udp_silent", |_| Vec::new()),
        ];
        let udp = udp.map(|(name, answer)| (name, UdpPeer::start(answer))).into();
        let nobody = vec![("dead", Port::reserve()), ("dead2", Port::reserve())];
        Peers { tcp: tcp.collect(), udp, nobody, seen, datagrams: Mutex::new(vec![0; 3]) }
    }

    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let tcp = self.tcp.iter().map(|(name, peer)| (*name, peer.address()));
        let udp = self.udp.iter().map(|(name, peer)| (*name, peer.address()));
        tcp.chain(udp).chain(self.nobody.iter().map(|(name, port)| (*name, port.address())))
    }

    /// The text with the peers' names for their addresses.
    pub fn name(&self, text: &str) -> String {
        self.addresses().fold(text.to_owned(), |text, (name, address)| text.replace(&address.to_string(), name))
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.seen.lock().expect("not poisoned").clear();
        let counts = self.udp.iter().map(|(_, peer)| peer.seen().len()).collect();
        *self.datagrams.lock().expect("not poisoned") = counts;
    }

    /// What came since, once every connection is over.
    pub fn seen(&self) -> Vec<String> {
        eventually("the peers' connections are over", || {
            self.seen.lock().expect("not poisoned").iter().all(|(_, _, over)| *over)
        });
        let seen = self.seen.lock().expect("not poisoned").clone();
        let mut all: Vec<String> = seen.iter().map(|(name, bytes, _)| format!("{name} got {}", shown(bytes))).collect();
        let counts = self.datagrams.lock().expect("not poisoned").clone();
        for ((name, peer), known) in self.udp.iter().zip(counts) {
            all.extend(peer.seen().iter().skip(known).map(|(_, bytes)| format!("{name} got {}", shown(bytes))));
        }
        all.sort();
        all
    }
}

/// A connection that remembers what came.
struct Recorded {
    stream: TcpStream,
    place: usize,
    seen: Seen,
    bytes: Vec<u8>,
    read: usize,
}

impl Recorded {
    fn new(name: &'static str, stream: TcpStream, seen: Seen) -> Recorded {
        let mut all = seen.lock().expect("not poisoned");
        all.push((name, Vec::new(), false));
        let place = all.len() - 1;
        drop(all);
        Recorded { stream, place, seen, bytes: vec![0; 65536], read: 0 }
    }

    /// False at the end.
    fn read(&mut self) -> bool {
        self.read = self.stream.read(&mut self.bytes).unwrap_or(0);
        let mut all = self.seen.lock().expect("not poisoned");
        if let Some((_, bytes, _)) = all.get_mut(self.place) {
            bytes.extend_from_slice(&self.bytes[..self.read]);
        }
        self.read > 0
    }

    fn write_back(&mut self) -> bool {
        self.stream.write_all(&self.bytes[..self.read]).is_ok()
    }

    fn reset(&mut self) {
        reset(&self.stream);
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(row) = self.seen.lock().expect("not poisoned").get_mut(self.place) {
            row.2 = true;
        }
    }
}
