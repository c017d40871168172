//! The accept loop of one listening socket on one worker.

use crate::connection::{self, Arrival};
use crate::stats;
use crate::worker::Worker;
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{Acceptor, Address, ListenerKey, Stream};
use fairlead_core::worker::{Current, Passed, next_connection_number};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Accepts connections on `socket` for ever, each served by the newest generation.
/// Dropping this future stops accepting and closes the socket; connections go on.
pub async fn serve(socket: OwnedFd, key: ListenerKey, current: Rc<Current<Worker>>) {
    let key = Rc::new(key);
    let listener = match Acceptor::new(socket) {
        Ok(listener) => listener,
        Err(error) => {
            return log(&current, &key, Level::Alert, format_args!("epoll_ctl() failed {}", OsError(&error)));
        }
    };
    listener.acknowledge_with_answers();
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let client = client.map_or_else(|| Address::Unix(std::path::PathBuf::new()), Address::Ip);
                admit(stream, client, &key, &current);
            }
            Err(failed) => {
                log(&current, &key, failed.level(), format_args!("{failed}"));
                if let Some(pause) = failed.pause() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

fn admit(stream: Stream, client: Address, key: &Rc<ListenerKey>, current: &Rc<Current<Worker>>) {
    let worker = current.load();
    match worker.context.admit() {
        Some(ticket) => {
            let arrival = Arrival { peer: client, local: None, early: Vec::new(), number: next_connection_number() };
            connection::serve(stream, arrival, key.clone(), current.clone(), ticket);
        }
        None => {
            stats::turned_away();
            log(current, key, Level::Alert, format_args!("worker_connections are not enough"));
        }
    }
}

/// Serves a connection that a listener of the stream plane has accepted and passed to this one.
pub fn take_over(key: &ListenerKey, passed: Passed, current: &Rc<Current<Worker>>) {
    let peer = passed.client.map_or_else(|| Address::Unix(std::path::PathBuf::new()), Address::Ip);
    let arrival = Arrival { peer, local: Some(passed.local), early: passed.early, number: passed.number };
    let key = Rc::new(key.clone());
    connection::serve(passed.stream, arrival, key, current.clone(), passed.ticket);
}

fn log(current: &Rc<Current<Worker>>, key: &ListenerKey, level: Level, message: std::fmt::Arguments<'_>) {
    if let Some(servers) = current.load().plan.listener(key) {
        servers.default.root.error_log.write(level, 0, message);
    }
}
