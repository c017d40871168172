//! Accepts connections of one listener and starts a session for each.
//! Survives running out of descriptors; never waits for a session.

use crate::session::{self, Accepted, Passage};
use crate::worker::Worker;
use fairlead_core::log::{ErrorLog, Level, OsError};
use fairlead_core::net::{Acceptor, ListenerKey, Stream, spawn};
use fairlead_core::worker::{Current, Passed};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

pub(crate) async fn serve(socket: OwnedFd, key: ListenerKey, current: Rc<Current<Worker>>) {
    let listener = match Acceptor::new(socket) {
        Ok(listener) => listener,
        Err(error) => {
            log(&key, &current, Level::Alert, format_args!("epoll_ctl() failed {}", OsError(&error)));
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((client, address)) => start(client, address, &key, &current),
            Err(failed) => {
                log(&key, &current, failed.level(), format_args!("{failed}"));
                if let Some(pause) = failed.pause() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// Hands a connection to its session, or closes it when the worker is full.
fn start(client: Stream, address: Option<SocketAddr>, key: &ListenerKey, current: &Current<Worker>) {
    let worker = current.load();
    // A listener that the newest generation does not have is about to be dropped.
    let Some(entry) = worker.entry(key) else { return };
    let Some(ticket) = worker.context.admit() else {
        entry.server.outcomes.overflows.add(1);
        let limit = worker.context.connections.active();
        entry.server.error_log.write(Level::Alert, 0, format_args!("{limit} worker_connections are not enough"));
        return;
    };
    spawn(session::run(Accepted { client, address, worker, entry, ticket, passed: None }));
}

/// Serves a connection that another listener has accepted and passed to this one.
pub fn take_over(key: &ListenerKey, passed: Passed, current: &Current<Worker>) {
    let worker = current.load();
    let Some(entry) = worker.entry(key) else { return };
    let Passed { stream: client, client: address, local, early, number, passes, ticket } = passed;
    let passed = Some(Box::new(Passage { local, early, number, passes }));
    spawn(session::run(Accepted { client, address, worker, entry, ticket, passed }));
}

fn log(key: &ListenerKey, current: &Current<Worker>, level: Level, message: std::fmt::Arguments<'_>) {
    let none = ErrorLog::default();
    let entry = current.load().entry(key);
    entry.as_ref().map_or(&none, |entry| &entry.server.error_log).write(level, 0, message);
}
