//! A name server whose zone the test changes while it answers, over UDP and TCP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Port;

/// What a name has. A name that has nothing does not exist.
#[derive(Clone, Debug)]
pub enum Records {
    /// IPv4 addresses answer A, IPv6 ones AAAA.
    Addresses(Vec<IpAddr>),
    /// Priority, weight, port and target of each.
    Services(Vec<(u16, u16, u16, String)>),
    /// SERVFAIL to every question.
    Failure,
}

pub struct DnsServer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    port: Port,
}

struct Shared {
    zone: Mutex<HashMap<String, Records>>,
    ttl: AtomicU32,
    /// UDP answers say no more than that they are truncated.
    truncates: AtomicBool,
    queries: AtomicUsize,
    over_tcp: AtomicUsize,
    stop: AtomicBool,
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const TICK: Duration = Duration::from_millis(20);

impl DnsServer {
    /// Answers carry a TTL of one second.
    pub fn start() -> DnsServer {
        let port = Port::reserve();
        let shared = Arc::new(Shared {
            zone: Mutex::default(),
            ttl: AtomicU32::new(1),
            truncates: AtomicBool::new(false),
            queries: AtomicUsize::new(0),
            over_tcp: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let udp = UdpSocket::bind(port.address()).expect("the port is ours");
        udp.set_read_timeout(Some(TICK)).expect("a limit can be set");
        let tcp = TcpListener::bind(port.address()).expect("the port is ours");
        tcp.set_nonblocking(true).expect("it can wait for nobody");
        let (one, other) = (shared.clone(), shared.clone());
        let threads =
            vec![std::thread::spawn(move || one.serve_udp(&udp)), std::thread::spawn(move || other.serve_tcp(&tcp))];
        DnsServer { shared, threads, port }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn set(&self, name: &str, records: Records) {
        self.shared.zone.lock().expect("not poisoned").insert(name.to_ascii_lowercase(), records);
    }

    /// The name has these addresses from now on.
    pub fn addresses(&self, name: &str, addresses: &[IpAddr]) {
        self.set(name, Records::Addresses(addresses.to_vec()));
    }

    /// The name has these SRV records from now on.
    pub fn services(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let own = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            (*priority, *weight, *port, (*target).to_owned())
        };
        self.set(name, Records::Services(records.iter().map(own).collect()));
    }

    /// The name does not exist from now on.
    pub fn remove(&self, name: &str) {
        self.shared.zone.lock().expect("not poisoned").remove(name);
    }

    /// TTL of answers, in seconds.
    pub fn ttl(&self, seconds: u32) {
        self.shared.ttl.store(seconds, Ordering::SeqCst);
    }

    pub fn truncate_udp(&self) {
        self.shared.truncates.store(true, Ordering::SeqCst);
    }

    /// Questions so far, and those of them that came over TCP.
    pub fn queries(&self) -> (usize, usize) {
        (self.shared.queries.load(Ordering::SeqCst), self.shared.over_tcp.load(Ordering::SeqCst))
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = self.answer(&buffer[..count], self.truncates.load(Ordering::SeqCst)) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(TICK * 50));
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            if stream.read_exact(&mut query).is_ok()
                && let Some(answer) = self.answer(&query, false)
            {
                self.over_tcp.fetch_add(1, Ordering::SeqCst);
                let length = (answer.len() as u16).to_be_bytes();
                let _ = stream.write_all(&[&length[..], &answer].concat());
            }
        }
    }

    fn answer(&self, query: &[u8], truncated: bool) -> Option<Vec<u8>> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        let (name, end) = read_name(query, 12)?;
        let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
        let question = query.get(12..end + 4)?;
        let (code, data) = self.look_up(&name, kind);
        let data = if truncated { Vec::new() } else { data };
        let flags: u16 = 0x8180 | if truncated { 0x0200 } else { 0 } | code;
        let mut out = query.get(..2)?.to_vec();
        for number in [flags, 1, data.len() as u16, 0, 0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(question);
        for data in data {
            // The name is the one at byte 12.
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&1u16.to_be_bytes());
            out.extend_from_slice(&self.ttl.load(Ordering::SeqCst).to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
        }
        Some(out)
    }

    /// The response code and the data of each record.
    fn look_up(&self, name: &str, kind: u16) -> (u16, Vec<Vec<u8>>) {
        let zone = self.zone.lock().expect("not poisoned");
        match zone.get(name) {
            None => (3, Vec::new()),
            Some(Records::Failure) => (2, Vec::new()),
            Some(Records::Addresses(addresses)) => {
                let data = addresses.iter().filter_map(|address| match (address, kind) {
                    (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
                    (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
                    _ => None,
                });
                (0, data.collect())
            }
            Some(Records::Services(services)) if kind == SRV => (0, services.iter().map(service).collect()),
            Some(Records::Services(_)) => (0, Vec::new()),
        }
    }
}

fn service((priority, weight, port, target): &(u16, u16, u16, String)) -> Vec<u8> {
    let mut data: Vec<u8> = [priority, weight, port].into_iter().flat_map(|number| number.to_be_bytes()).collect();
    for label in target.split('.') {
        data.push(label.len() as u8);
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    data
}

/// The uncompressed name at byte `at`, in lower case, and where it ends.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    // A message is finite.
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
}
