//! `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`: whom a trusted
//! proxy speaks for. Everything behind it (limits, access, variables, logs) sees
//! the new client, for this request alone.

use crate::directives::ALL;
use crate::exchange::{Connection, Exchange};
use crate::forwarded;
use fairlead_conf::{Args, Directive, Repeat, Value};
use fairlead_core::access::Networks;
use fairlead_core::net::Address;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

#[derive(Clone, Default)]
pub(crate) struct Settings {
    from: Source,
    recursive: bool,
}

/// Where the client's address is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    RealIp,
    ForwardedFor,
    ProxyProtocol,
    /// In lower case.
    Field(Box<str>),
}

pub(super) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "real_ip_header",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "field | X-Real-IP | X-Forwarded-For | proxy_protocol"),
        repeat: Repeat::Once,
        default: Some("X-Real-IP"),
        doc: "The field in which the clients of `set_real_ip_from` say whom they speak for: of several addresses the \
              last counts, a port behind it is the client's. `proxy_protocol` takes the address of the PROXY header.",
        set: |realip, given| {
            realip.from = match given.text(0).to_ascii_lowercase().as_str() {
                "x-real-ip" => Source::RealIp,
                "x-forwarded-for" => Source::ForwardedFor,
                "proxy_protocol" => Source::ProxyProtocol,
                field => Source::Field(field.into()),
            };
            Ok(())
        },
    },
    Directive {
        name: "real_ip_recursive",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Goes through the addresses of the field from the last to the first one that is not trusted, rather than \
              take the last.",
        set: |realip, given| given.flag(0).map(|on| realip.recursive = on),
    },
];

pub(super) struct RealIp {
    trusted: Networks,
    settings: Settings,
}

impl RealIp {
    pub fn build(settings: &Settings, trusted: Networks) -> Option<RealIp> {
        (!trusted.is_empty()).then(|| RealIp { trusted, settings: settings.clone() })
    }

    /// Once for each request, whichever level asks first.
    pub fn apply(&self, exchange: &mut Exchange) {
        if exchange.connection.connected.is_some() {
            return;
        }
        if let Some(client) = self.client(exchange) {
            let connection = &exchange.connection;
            exchange.connection = Rc::new(Connection {
                client: Address::Ip(client),
                connected: Some(connection.client.clone()),
                local: connection.local.clone(),
                proxy_header: connection.proxy_header.clone(),
                ..**connection
            });
        }
    }

    fn client(&self, exchange: &Exchange) -> Option<SocketAddr> {
        let connected = &exchange.connection.client;
        if !self.trusted.contains(connected.ip()) {
            return None;
        }
        let field = |name: &[u8]| -> Vec<&[u8]> {
            let fields = exchange.request.fields().filter(|(field, _)| field.eq_ignore_ascii_case(name));
            fields.map(|(_, value)| value).collect()
        };
        let values = match &self.settings.from {
            Source::ProxyProtocol => {
                return exchange.connection.proxy_header.as_ref()?.addresses.map(|(client, _)| client);
            }
            // Of several of these nginx takes the first.
            Source::RealIp => field(b"x-real-ip").into_iter().take(1).collect(),
            Source::ForwardedFor => field(b"x-forwarded-for"),
            Source::Field(name) => field(name.as_bytes()),
        };
        let from = match connected {
            Address::Ip(address) => *address,
            // Trusted, which no address of the field is by this.
            Address::Unix(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        };
        let trusted = |ip: IpAddr| ip == from.ip() || self.trusted.contains(Some(ip));
        forwarded::client(from, &values, &trusted, self.settings.recursive)
    }
}
