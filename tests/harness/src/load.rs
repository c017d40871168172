//! Background HTTP load that counts what went wrong. Each client waits a moment between requests:
//! the load is there to be hit by what the test does, not to fill the machine.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Client, eventually};

const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct LoadReport {
    pub requests: usize,
    /// One sentence for each request that had no good answer.
    pub errors: Vec<String>,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    errors: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// `clients` connections, each used for request after request.
    pub fn keepalive(address: SocketAddr, path: &str, clients: usize) -> Load {
        Load::start(clients, address, path, false)
    }

    /// `clients` loops that open a connection for every request.
    pub fn new_connections(address: SocketAddr, path: &str, clients: usize) -> Load {
        Load::start(clients, address, path, true)
    }

    /// Answers so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Wait until this many more requests were answered.
    #[track_caller]
    pub fn advance(&self, count: usize) {
        let goal = self.requests() + count;
        eventually(&format!("{count} more requests under load"), || self.requests() >= goal);
    }

    pub fn stop(mut self) -> LoadReport {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let errors = std::mem::take(&mut *self.errors.lock().expect("not poisoned"));
        LoadReport { requests: self.requests(), errors }
    }

    fn start(clients: usize, address: SocketAddr, path: &str, close: bool) -> Load {
        let (stop, requests, errors) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let mut load = Load { stop, requests, errors, threads: Vec::new() };
        let connection = if close { "close" } else { "keep-alive" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
        for _ in 0..clients {
            let (stop, requests, errors) = (load.stop.clone(), load.requests.clone(), load.errors.clone());
            let request = request.clone();
            load.threads.push(std::thread::spawn(move || {
                let mut client = None;
                while !stop.load(Ordering::SeqCst) {
                    match one(&mut client, address, &request) {
                        Ok(()) => drop(requests.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => errors.lock().expect("not poisoned").push(error),
                    }
                    std::thread::sleep(PAUSE);
                }
            }));
        }
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// One request; the connection stays in `slot` unless the answer says that it ends.
fn one(slot: &mut Option<Client>, address: SocketAddr, request: &str) -> Result<(), String> {
    let mut client = match slot.take() {
        Some(client) => client,
        None => Client::try_connect(address).map_err(|error| format!("connect: {error}"))?,
    };
    client.send(request);
    let response = client.try_response()?;
    if response.status() != 200 {
        return Err(response.status_line().to_owned());
    }
    if response.header("connection") != Some("close") {
        *slot = Some(client);
    }
    Ok(())
}
