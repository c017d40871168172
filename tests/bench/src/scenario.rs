//! The scenarios: what each loads, through what, and how its operations are counted.

use std::net::{SocketAddr, SocketAddrV4};

use crate::engine::Load;
use crate::load_http::{HttpLoad, Manner};
use crate::load_tcp::{Exchange, TcpLoad};
use crate::load_udp::{Manner as Datagrams, UdpLoad};
use crate::namespace;
use crate::peer::{FIRST_ADDRESS, Service};

pub struct Scenario {
    pub name: &'static str,
    pub service: Service,
    /// Servers in the group; all are the one peer under different loopback addresses.
    pub servers: usize,
    pub balance: Balance,
    pub site: Site,
    /// Whether buffers are sized to what is carried; else every product's own default stands.
    pub sized_buffers: bool,
    pub kind: Kind,
    /// Of the seconds of a round; the second half of the list is about one figure only.
    pub share: f64,
    /// Run when no scenario is named.
    pub by_default: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Http(Manner),
    Tcp(Exchange),
    Udp(Datagrams),
    /// Memory of idle connections.
    Idle(Plane),
    /// What clients see of reloads.
    Reload,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Plane {
    Http,
    Tcp,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Balance {
    RoundRobin,
    LeastConn,
    HashUri,
}

/// What the HTTP configurations do with a request.
#[derive(Clone, Copy, PartialEq)]
pub enum Site {
    /// One location, passed on.
    Pass,
    /// A thousand names and locations, and a hundred patterns that fit no request; passed on.
    Routes,
    /// Passed on to the server the client's cookie names.
    Sticky,
    /// Files of 1 KiB.
    Files,
}

pub const CLIENTS: usize = 64;
const IDLE_HTTP: usize = 10_000;
const IDLE_TCP: usize = 20_000;
/// Descriptors of the proxy and the load beside those of the idle sessions.
const OTHER_DESCRIPTORS: usize = 2_000;
/// The load under which nginx is held against itself.
pub const CONTROL: &Scenario = &Scenario { name: "control", ..HTTP_SMALL };

const HTTP_SMALL: Scenario = Scenario {
    name: "http_small",
    service: Service::HttpSmall,
    servers: 1,
    balance: Balance::RoundRobin,
    site: Site::Pass,
    sized_buffers: false,
    kind: Kind::Http(Manner::Keepalive),
    share: 1.0,
    by_default: true,
};

const TCP_BULK: Scenario =
    Scenario { name: "tcp_bulk", service: Service::Stream, kind: Kind::Tcp(Exchange::Stream), ..HTTP_SMALL };

const TCP_CONN: Scenario =
    Scenario { name: "tcp_conn", service: Service::EchoOnce, kind: Kind::Tcp(Exchange::Once), ..HTTP_SMALL };

pub static ALL: [Scenario; 27] = [
    HTTP_SMALL,
    Scenario { name: "http_64k", service: Service::HttpLarge, sized_buffers: true, ..HTTP_SMALL },
    Scenario { name: "http_64k_plain", service: Service::HttpLarge, by_default: false, ..HTTP_SMALL },
    Scenario { name: "http_conn", kind: Kind::Http(Manner::Close), ..HTTP_SMALL },
    Scenario { name: "http_post", service: Service::HttpPost, kind: Kind::Http(Manner::Post), ..HTTP_SMALL },
    Scenario { name: "http_sticky", servers: 2, site: Site::Sticky, kind: Kind::Http(Manner::Cookie), ..HTTP_SMALL },
    Scenario { name: "http_static", site: Site::Files, ..HTTP_SMALL },
    Scenario { name: "http_routes", site: Site::Routes, kind: Kind::Http(Manner::Hosts), ..HTTP_SMALL },
    Scenario { name: "tcp_rr", service: Service::Echo, kind: Kind::Tcp(Exchange::Session), ..HTTP_SMALL },
    TCP_BULK,
    Scenario { name: "tcp_bulk_tuned", sized_buffers: true, ..TCP_BULK },
    TCP_CONN,
    Scenario { name: "udp_rr", service: Service::Datagrams, kind: Kind::Udp(Datagrams::Once), ..HTTP_SMALL },
    Scenario { name: "udp_sessions", service: Service::Datagrams, kind: Kind::Udp(Datagrams::Session), ..HTTP_SMALL },
    // Four clients with 16 datagrams of 1200 bytes on their way, in bursts (`UDP_SEGMENT`, `UDP_GRO`) on both sides.
    Scenario { name: "udp_window", service: Service::Bursts, kind: Kind::Udp(Datagrams::Bursts), ..HTTP_SMALL },
    // Twelve clients with 16 datagrams of 128 bytes, each sent and read by itself.
    Scenario {
        name: "udp_window_plain",
        service: Service::Datagrams,
        kind: Kind::Udp(Datagrams::Window),
        by_default: false,
        ..HTTP_SMALL
    },
    Scenario { name: "tcp_peers_2", servers: 2, share: 0.5, ..TCP_CONN },
    Scenario { name: "tcp_peers_10000", servers: 10_000, share: 0.5, ..TCP_CONN },
    Scenario { name: "peers_2", servers: 2, share: 0.5, ..HTTP_SMALL },
    Scenario { name: "peers_10", servers: 10, share: 0.5, ..HTTP_SMALL },
    Scenario { name: "peers_1000", servers: 1000, share: 0.5, ..HTTP_SMALL },
    Scenario { name: "peers_10000", servers: 10_000, share: 0.5, ..HTTP_SMALL },
    Scenario {
        name: "least_conn_1000",
        servers: 1000,
        share: 0.5,
        balance: Balance::LeastConn,
        by_default: false,
        ..HTTP_SMALL
    },
    Scenario {
        name: "hash_1000",
        servers: 1000,
        share: 0.5,
        balance: Balance::HashUri,
        by_default: false,
        ..HTTP_SMALL
    },
    Scenario { name: "idle", kind: Kind::Idle(Plane::Http), ..HTTP_SMALL },
    Scenario { name: "tcp_idle", service: Service::Echo, kind: Kind::Idle(Plane::Tcp), ..HTTP_SMALL },
    Scenario { name: "reload", kind: Kind::Reload, ..HTTP_SMALL },
];

impl Scenario {
    pub fn load(&self, target: SocketAddr) -> Load {
        match self.kind {
            Kind::Http(manner) => Load::Http(HttpLoad::new(target, CLIENTS, manner)),
            Kind::Idle(Plane::Http) => Load::Http(HttpLoad::new(target, IDLE_HTTP, Manner::Idle)),
            Kind::Idle(Plane::Tcp) => Load::Tcp(TcpLoad::new(target, self.idle_clients(), Exchange::Idle)),
            Kind::Reload => Load::Http(HttpLoad::new(target, CLIENTS, Manner::Keepalive)),
            Kind::Tcp(Exchange::Stream) => Load::Tcp(TcpLoad::new(target, 1, Exchange::Stream)),
            Kind::Tcp(exchange) => Load::Tcp(TcpLoad::new(target, CLIENTS, exchange)),
            // Fewer datagrams on their way than the default receive buffer of one socket holds, which each costs
            // far more than its bytes.
            Kind::Udp(Datagrams::Bursts) => Load::Udp(UdpLoad::new(target, CLIENTS / 16, Datagrams::Bursts)),
            Kind::Udp(Datagrams::Window) => Load::Udp(UdpLoad::new(target, CLIENTS * 3 / 16, Datagrams::Window)),
            Kind::Udp(manner) => Load::Udp(UdpLoad::new(target, CLIENTS, manner)),
        }
    }

    /// The same as many times as it takes to know that a proxy works.
    pub fn warm_up(&self, target: SocketAddr) -> Load {
        match self.kind {
            Kind::Idle(Plane::Http) => Load::Http(HttpLoad::new(target, CLIENTS, Manner::Keepalive)),
            Kind::Idle(Plane::Tcp) => Load::Tcp(TcpLoad::new(target, CLIENTS, Exchange::Session)),
            _ => self.load(target),
        }
    }

    pub fn is_http(&self) -> bool {
        !matches!(self.kind, Kind::Tcp(_) | Kind::Udp(_) | Kind::Idle(Plane::Tcp))
    }

    /// How many connections an idle scenario holds. Both the proxy and the load have two descriptors for each TCP
    /// session, which are few where root may not raise its limit.
    pub fn idle_clients(&self) -> usize {
        match self.kind {
            Kind::Idle(Plane::Tcp) => IDLE_TCP.min(namespace::descriptors().saturating_sub(OTHER_DESCRIPTORS) / 2),
            _ => IDLE_HTTP,
        }
    }

    /// How many counted things make one operation: bulk is counted in bytes and told in megabytes.
    pub fn per_operation(&self) -> f64 {
        if self.kind == Kind::Tcp(Exchange::Stream) { 1e6 } else { 1.0 }
    }

    /// The group's addresses; all answer from the same sockets.
    pub fn peers(&self) -> impl Iterator<Item = SocketAddrV4> {
        let (first, port) = (u32::from(FIRST_ADDRESS), self.service.port());
        (first..).take(self.servers).map(move |address| SocketAddrV4::new(address.into(), port))
    }
}
