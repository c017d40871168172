//! UDP peers and clients. A peer keeps every datagram with its sender, so that a test can tell
//! flows apart by their source.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{PATIENCE, Port};

type Seen = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

pub struct UdpPeer {
    address: SocketAddr,
    seen: Seen,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    port: Option<Port>,
}

impl UdpPeer {
    /// `answer` gets a datagram and returns the replies to it.
    pub fn start(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> UdpPeer {
        let port = Port::reserve();
        let mut peer = UdpPeer::start_at(port.address(), answer);
        peer.port = Some(port);
        peer
    }

    pub fn start_at(address: SocketAddr, answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> UdpPeer {
        let socket = crate::ports::patiently(|| UdpSocket::bind(address));
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a limit can be set");
        let seen: Seen = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (record, end) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while !end.load(Ordering::SeqCst) {
                let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
                record.lock().expect("not poisoned").push((from, buffer[..count].to_vec()));
                for reply in answer(&buffer[..count]) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        UdpPeer { address, seen, stop, thread: Some(thread), port: None }
    }

    /// Answers each datagram with `NAME: datagram`.
    pub fn named(name: &str) -> UdpPeer {
        let name = name.to_owned();
        UdpPeer::start(move |datagram| vec![[name.as_bytes(), b": ", datagram].concat()])
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every datagram so far, with who sent it.
    pub fn seen(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// The different sources so far: the proxy's flows.
    pub fn flows(&self) -> usize {
        let mut sources: Vec<SocketAddr> = self.seen().into_iter().map(|(from, _)| from).collect();
        sources.sort_unstable();
        sources.dedup();
        sources.len()
    }

    pub fn stop(mut self) -> Option<Port> {
        self.close();
        self.port.take()
    }

    fn close(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for UdpPeer {
    fn drop(&mut self) {
        self.close();
    }
}

/// A client bound to one source, connected to one address: it hears replies from that address only.
pub struct UdpClient(UdpSocket);

impl UdpClient {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> UdpClient {
        UdpClient::connect_from(&Ipv4Addr::LOCALHOST.to_string(), address)
    }

    #[track_caller]
    pub fn connect_from(source: &str, address: SocketAddr) -> UdpClient {
        let socket = UdpSocket::bind((source, 0)).expect("loopback addresses can be bound");
        socket.connect(address).expect("UDP connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
        UdpClient(socket)
    }

    pub fn send(&self, datagram: impl AsRef<[u8]>) {
        let _ = self.0.send(datagram.as_ref());
    }

    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let count = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("no datagram came: {error}"));
        buffer.truncate(count);
        buffer
    }

    #[track_caller]
    pub fn ask(&self, datagram: impl AsRef<[u8]>) -> String {
        self.send(datagram);
        String::from_utf8_lossy(&self.receive()).into_owned()
    }

    /// Does anything come within this time?
    pub fn hears_within(&self, limit: Duration) -> bool {
        self.receive_within(limit).is_some()
    }

    pub fn receive_within(&self, limit: Duration) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(limit)).expect("a limit can be set");
        let mut buffer = vec![0; 65536];
        let count = self.0.recv(&mut buffer);
        self.0.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
        buffer.truncate(count.ok()?);
        Some(buffer)
    }
}
