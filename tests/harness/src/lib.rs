//! What black-box tests stand on: the real program on an inline configuration, mock peers, raw
//! clients and load. It knows nothing of the product's crates: everything it learns, it learns over
//! sockets, signals, exit codes and log files, so that the same test also runs against nginx
//! (`FAIRLEAD_UNDER_TEST=/usr/sbin/nginx`).
//!
//! It waits for conditions with a deadline, never for a fixed time.

pub mod client;
pub mod client_hello;
pub mod directory;
pub mod dns_server;
pub mod hostile;
pub mod http_peer;
pub mod load;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod setup;
pub mod strict;
pub mod tcp_peer;
pub mod udp_peer;
pub mod wait;
pub mod websocket;

pub use client::{Client, Response, get};
pub use client_hello::client_hello;
pub use directory::Directory;
pub use dns_server::{DnsServer, Records};
pub use http_peer::{Answer, HttpPeer, Request};
pub use load::{Load, LoadReport};
pub use ports::Port;
pub use proxy::Proxy;
pub use setup::Setup;
pub use strict::{NotStrict, StrictRequest};
pub use tcp_peer::{TcpPeer, connect, connect_from, read_exactly, read_line, read_to_end, reset};
pub use udp_peer::{UdpClient, UdpPeer};
pub use wait::{PATIENCE, eventually, eventually_within};
pub use websocket::WebSocket;

pub use nix::sys::signal::Signal;
