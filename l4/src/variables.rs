//! The stream plane's variables: one table from names to values. Those that the
//! configuration makes are `custom`'s.

use crate::record::{Attempt, Record};
use fairlead_conf::{Cx, Diagnostic, Template, Word};
use fairlead_core::clock::{Tick, push_time_iso8601, push_time_local, unix_millis};
use fairlead_core::net::{ClientHello, Protocol, Tlv};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    BinaryRemoteAddr,
    BytesReceived,
    BytesSent,
    Connection,
    /// Number of a variable that the configuration makes.
    Custom(usize),
    /// `$1` to `$9`: a group of the regular expression that matched last.
    Group(usize),
    Hostname,
    LimitConnStatus,
    Msec,
    NginxVersion,
    Pid,
    Protocol,
    ProxyProtocolAddr,
    ProxyProtocolPort,
    ProxyProtocolServerAddr,
    ProxyProtocolServerPort,
    ProxyProtocolTlv(Tlv),
    RealipRemoteAddr,
    RealipRemotePort,
    RemoteAddr,
    RemotePort,
    ServerAddr,
    ServerPort,
    SessionTime,
    SslPrereadAlpnProtocols,
    SslPrereadProtocol,
    SslPrereadServerName,
    Status,
    TimeIso8601,
    TimeIso8601Ms,
    TimeLocal,
    UpstreamAddr,
    UpstreamBytesReceived,
    UpstreamBytesSent,
    UpstreamConnectTime,
    UpstreamFirstByteTime,
    UpstreamLastAddr,
    UpstreamSessionTime,
}

use Variable as V;

pub(crate) const VARIABLES: &[(&str, Variable)] = &[
    ("binary_remote_addr", V::BinaryRemoteAddr),
    ("bytes_received", V::BytesReceived),
    ("bytes_sent", V::BytesSent),
    ("connection", V::Connection),
    ("hostname", V::Hostname),
    ("limit_conn_status", V::LimitConnStatus),
    ("msec", V::Msec),
    ("nginx_version", V::NginxVersion),
    ("pid", V::Pid),
    ("protocol", V::Protocol),
    ("proxy_protocol_addr", V::ProxyProtocolAddr),
    ("proxy_protocol_port", V::ProxyProtocolPort),
    ("proxy_protocol_server_addr", V::ProxyProtocolServerAddr),
    ("proxy_protocol_server_port", V::ProxyProtocolServerPort),
    ("realip_remote_addr", V::RealipRemoteAddr),
    ("realip_remote_port", V::RealipRemotePort),
    ("remote_addr", V::RemoteAddr),
    ("remote_port", V::RemotePort),
    ("server_addr", V::ServerAddr),
    ("server_port", V::ServerPort),
    ("session_time", V::SessionTime),
    ("ssl_preread_alpn_protocols", V::SslPrereadAlpnProtocols),
    ("ssl_preread_protocol", V::SslPrereadProtocol),
    ("ssl_preread_server_name", V::SslPrereadServerName),
    ("status", V::Status),
    ("time_iso8601", V::TimeIso8601),
    ("time_iso8601_ms", V::TimeIso8601Ms),
    ("time_local", V::TimeLocal),
    ("upstream_addr", V::UpstreamAddr),
    ("upstream_bytes_received", V::UpstreamBytesReceived),
    ("upstream_bytes_sent", V::UpstreamBytesSent),
    ("upstream_connect_time", V::UpstreamConnectTime),
    ("upstream_first_byte_time", V::UpstreamFirstByteTime),
    ("upstream_last_addr", V::UpstreamLastAddr),
    ("upstream_session_time", V::UpstreamSessionTime),
];

/// The nginx whose language and behaviour this is.
const NGINX_VERSION: &str = "1.31.5";

/// nginx's own variable of this name; case does not matter.
pub(crate) fn builtin(name: &str) -> Option<Variable> {
    let name = name.to_ascii_lowercase();
    if let Some(tlv) = name.strip_prefix("proxy_protocol_tlv_") {
        return Tlv::named(tlv).map(V::ProxyProtocolTlv);
    }
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
}

/// The variable called `name`, one of the configuration's own included.
pub(crate) fn resolve(name: &str, cx: &Cx) -> Option<Variable> {
    builtin(name).or_else(|| cx.defined.borrow().number(name).map(V::Custom))
}

/// Compiles one word of the configuration.
///
/// # Errors
/// An unknown variable, in nginx's words.
pub(crate) fn compile(word: &Word, cx: &Cx) -> Result<Template<Variable>, Diagnostic> {
    Template::compile(word, &|name| match name.as_bytes() {
        [digit @ b'1'..=b'9'] => Some(V::Group(usize::from(digit - b'0'))),
        _ => resolve(name, cx),
    })
}

/// The same for `log_format`, which knows no `$1`.
///
/// # Errors
/// An unknown variable, in nginx's words.
pub(crate) fn compile_line(word: &Word, cx: &Cx) -> Result<Template<Variable>, Diagnostic> {
    Template::compile(word, &|name| resolve(name, cx))
}

impl Variable {
    /// Whether its value needs the address the client used.
    pub fn wants_local(self) -> bool {
        matches!(self, V::ServerAddr | V::ServerPort)
    }
}

impl Record {
    /// Appends the value of `template`; variables that do not exist are empty.
    pub fn render(&self, template: &Template<Variable>, now: Tick, out: &mut Vec<u8>) {
        template.render(out, |variable, out| {
            self.push(*variable, now, out);
        });
    }

    /// Appends the value; false when it does not exist (`-` in logs).
    pub fn push(&self, variable: Variable, now: Tick, out: &mut Vec<u8>) -> bool {
        match variable {
            V::LimitConnStatus => match self.limit_status {
                Some(status) => out.extend_from_slice(status.name().as_bytes()),
                None => return false,
            },
            V::BinaryRemoteAddr => match self.client.map(|client| client.ip()) {
                Some(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
                Some(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
                None => {}
            },
            V::BytesReceived => text(out, self.received),
            V::BytesSent => text(out, self.sent),
            V::Connection => text(out, self.number),
            V::Custom(number) => return self.push_custom(number, now, out),
            V::Group(number) => return self.push_group(number, out),
            V::Hostname => out.extend_from_slice(self.worker.plan.hostname.as_bytes()),
            V::Msec => seconds(out, Duration::from_millis(unix_millis())),
            V::NginxVersion => out.extend_from_slice(NGINX_VERSION.as_bytes()),
            V::Pid => text(out, std::process::id()),
            V::Protocol => out.extend_from_slice(match self.entry.key.protocol {
                Protocol::Tcp => b"TCP",
                Protocol::Udp => b"UDP",
            }),
            V::ProxyProtocolAddr => return self.header_address(out, |(source, _)| *source, true),
            V::ProxyProtocolPort => return self.header_address(out, |(source, _)| *source, false),
            V::ProxyProtocolServerAddr => return self.header_address(out, |(_, server)| *server, true),
            V::ProxyProtocolServerPort => return self.header_address(out, |(_, server)| *server, false),
            V::ProxyProtocolTlv(tlv) => return self.header.as_ref().is_some_and(|header| tlv.push(header, out)),
            V::RealipRemoteAddr => address(out, self.connected(), self.client_path.as_deref()),
            V::RealipRemotePort => self.connected().iter().for_each(|client| text(out, client.port())),
            V::RemoteAddr => address(out, self.client, self.client_path.as_deref()),
            V::RemotePort => self.client.iter().for_each(|client| text(out, client.port())),
            V::ServerAddr => match self.local() {
                Some(local) => text(out, local.ip()),
                None => text(out, &self.entry.key.address),
            },
            V::ServerPort => self.local().iter().for_each(|local| text(out, local.port())),
            V::SessionTime => seconds(out, now.since(self.started)),
            V::SslPrereadAlpnProtocols => return self.hello(out, |hello| &hello.alpn),
            V::SslPrereadProtocol => return self.hello(out, |hello| hello.protocol().as_bytes()),
            V::SslPrereadServerName => return self.hello(out, |hello| &hello.server_name),
            V::Status => match self.status {
                Some(status) => text(out, status.code()),
                None => out.extend_from_slice(b"000"),
            },
            V::TimeIso8601 => push_time_iso8601(out),
            V::TimeIso8601Ms => iso8601_ms(out),
            V::TimeLocal => push_time_local(out),
            V::UpstreamAddr => {
                return self.list(out, |attempt, out| out.extend_from_slice(attempt.peer.as_str().as_bytes()));
            }
            V::UpstreamBytesReceived => return self.list(out, |attempt, out| text(out, attempt.received)),
            V::UpstreamBytesSent => return self.list(out, |attempt, out| text(out, attempt.sent)),
            V::UpstreamConnectTime => return self.list(out, |attempt, out| time(out, attempt.connect)),
            V::UpstreamFirstByteTime => return self.list(out, |attempt, out| time(out, attempt.first_byte)),
            V::UpstreamSessionTime => return self.list(out, |attempt, out| time(out, attempt.total)),
            V::UpstreamLastAddr => match self.attempts.last() {
                Some(attempt) => out.extend_from_slice(attempt.peer.as_str().as_bytes()),
                None => return false,
            },
        }
        true
    }

    /// One value per attempt, as nginx separates them.
    fn list(&self, out: &mut Vec<u8>, push: impl Fn(&Attempt, &mut Vec<u8>)) -> bool {
        for (index, attempt) in self.attempts.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            push(attempt, out);
        }
        !self.attempts.is_empty()
    }

    fn header_address(&self, out: &mut Vec<u8>, side: fn(&(SocketAddr, SocketAddr)) -> SocketAddr, ip: bool) -> bool {
        let Some(addresses) = self.header.as_ref().and_then(|header| header.addresses.as_ref()) else {
            return false;
        };
        let address = side(addresses);
        match address.port() {
            _ if ip => text(out, address.ip()),
            // As in nginx: there is a header, and no port in it.
            0 => {}
            port => text(out, port),
        }
        true
    }

    fn hello(&self, out: &mut Vec<u8>, part: fn(&ClientHello) -> &[u8]) -> bool {
        let Some(hello) = &self.hello else { return false };
        out.extend_from_slice(part(hello));
        true
    }
}

fn address(out: &mut Vec<u8>, client: Option<SocketAddr>, path: Option<&str>) {
    match client {
        Some(client) => text(out, client.ip()),
        None => text(out, format_args!("unix:{}", path.unwrap_or_default())),
    }
}

fn text(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

/// `1.042`.
fn seconds(out: &mut Vec<u8>, duration: Duration) {
    let _ = write!(out, "{}.{:03}", duration.as_secs(), duration.subsec_millis());
}

fn time(out: &mut Vec<u8>, duration: Option<Duration>) {
    match duration {
        Some(duration) => seconds(out, duration),
        None => out.push(b'-'),
    }
}

/// `2026-11-20T20:01:02.345+01:00`.
fn iso8601_ms(out: &mut Vec<u8>) {
    const SECONDS: usize = "2026-11-20T20:01:02".len();
    let start = out.len();
    push_time_iso8601(out);
    let zone = out.split_off((start + SECONDS).min(out.len()));
    let _ = write!(out, ".{:03}", unix_millis() % 1000);
    out.extend_from_slice(&zone);
}
