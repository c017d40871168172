//! The process: start, stop, reload, supervision and upgrade, as a person at a terminal sees them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod command_line;
mod confined;
mod demo;
mod reload;
mod start;
mod supervise;
mod upgrade;

use fairlead_harness::{Proxy, Setup, TcpPeer, connect, read_line};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const FAIRLEAD: &str = env!("CARGO_BIN_EXE_fairlead");

fn setup() -> Setup {
    Setup::new(FAIRLEAD)
}

/// A balancer before one peer, on `{port}`.
fn before(peer: &TcpPeer) -> Proxy {
    setup().set("peer", peer.address()).stream(SERVER)
}

const SERVER: &str = "server { listen 127.0.0.1:{port}; proxy_pass {peer}; }";

/// One line there and back on a connection of its own.
fn ask(address: SocketAddr) -> io::Result<String> {
    say(&TcpStream::connect(address)?)
}

/// One line there and back; an end without an answer is an error.
fn say(stream: &TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    (&*stream).write_all(b"hi\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.ends_with('\n') { Ok(line.trim_end().to_owned()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Clients that open a connection for every question, until they are stopped.
struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(address: SocketAddr, count: usize) -> Clients {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (over, answered) = (over.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut errors = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    match ask(address) {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => errors.push(error.to_string()),
                    }
                }
                errors
            })
        };
        let threads = (0..count).map(client).collect();
        Clients { over, answered, threads }
    }

    /// Waits until this many more questions have been answered.
    #[track_caller]
    fn advance(&self, count: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + count;
        fairlead_harness::eventually("clients are answered", || self.answered.load(Ordering::SeqCst) >= goal);
    }

    /// What went wrong.
    fn stop(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a client does not panic")).collect()
    }
}

/// A connection that has been answered once, so that it is known to be served.
fn session(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(b"hi\n").expect("sent");
    assert!(!read_line(&stream).is_empty());
    stream
}
