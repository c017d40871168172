//! Addresses, listeners and streams.

mod accept;
mod address;
mod client_hello;
mod deadline;
mod listen;
mod listen_address;
mod listen_options;
mod origin;
mod proxy_protocol;
mod reactor;
mod relay;
mod stream;
mod tcp_info;
mod tlv;

pub use accept::{Acceptor, NotAccepted};
pub use address::Address;
pub use client_hello::{ClientHello, ClientHelloError, parse_client_hello};
pub use deadline::{Deadline, Timeout};
pub use listen::{Keepalive, ListenOptions, Listener, ListenerKey, Protocol, bind, fits, reapply};
pub use listen_address::listen_addresses;
pub use origin::{NotConnected, Origin};
pub use proxy_protocol::{
    PROXY_V1_MAX, ProxyHeader, ProxyProtocolError, parse_proxy_header, write_proxy_v1, write_proxy_v2,
};
pub use reactor::spawn;
pub use relay::{Conduit, Direction, End, Limits, Passed, Pipes, Rate, Relay, Relayed, Tunnel, pipes_refused};
pub use stream::{Push, Stream};
pub use tcp_info::TcpInfo;
pub use tlv::Tlv;
