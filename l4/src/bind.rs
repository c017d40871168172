//! Our end of connections to peers: `proxy_bind` and the socket options that
//! are set before connecting. The same for TCP and UDP.

use crate::listen;
use crate::plan::Server;
use crate::record::Record;
use crate::variables::{Variable, compile};
use fairlead_conf::{Cx, Diagnostic, Given, Template, Word};
use fairlead_core::clock::Tick;
use fairlead_core::log::Level;
use fairlead_core::net::Address;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, IpTransparent};
use socket2::Socket;
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A `proxy_bind` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    address: Word,
    transparent: bool,
}

impl Settings {
    /// `None` for `off`.
    pub fn parse(given: &Given<'_>) -> Result<Option<Settings>, Diagnostic> {
        let text = given.text(0);
        let parameter = given.words().get(1).map(|word| &*word.text);
        if let Some(other) = parameter.filter(|text| *text != "transparent") {
            let error = given.error(1, format!("invalid parameter \"{other}\""));
            return Err(error.help("the only parameter is \"transparent\""));
        }
        if text == "off" && parameter.is_none() {
            return Ok(None);
        }
        if !text.contains('$') && parse(text).is_none() {
            let error = given.error(0, format!("invalid address \"{text}\""));
            return Err(error.help("write an address, address:port or [IPv6]:port, or variables that give one"));
        }
        Ok(Some(Settings { address: given.word(0).clone(), transparent: parameter.is_some() }))
    }
}

/// A `proxy_bind` compiled.
pub(crate) struct Bind {
    address: Local,
    /// The address need not be one of this host.
    pub transparent: bool,
}

enum Local {
    Fixed(SocketAddr),
    Variable(Template<Variable>),
}

impl Bind {
    pub fn build(settings: &Settings, cx: &Cx) -> Result<Bind, Diagnostic> {
        let template = compile(&settings.address, cx)?;
        let address = match template.literal().and_then(parse) {
            Some(address) => Local::Fixed(address),
            None => Local::Variable(template),
        };
        Ok(Bind { address, transparent: settings.transparent })
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let template = match &self.address {
            Local::Fixed(_) => None,
            Local::Variable(template) => Some(template),
        };
        template.into_iter().flat_map(|template| template.variables())
    }
}

/// An address without a port leaves the port to the kernel (0); a port that is written is from 1 on.
fn parse(text: &str) -> Option<SocketAddr> {
    if let Some(ip) = text.parse::<IpAddr>().ok().or_else(|| listen::literal(text)) {
        return Some(SocketAddr::new(ip, 0));
    }
    text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0)
}

/// Where the session's connection to its peer starts; `None`: wherever the kernel likes.
pub(crate) fn local(record: &Record, now: Tick) -> Option<SocketAddr> {
    let template = match &record.entry.server.bind.as_ref()?.address {
        Local::Fixed(address) => return Some(*address),
        Local::Variable(template) => template,
    };
    let mut text = Vec::new();
    record.render(template, now, &mut text);
    if text.is_empty() {
        return None;
    }
    let address = std::str::from_utf8(&text).ok().and_then(parse);
    if address.is_none() {
        record.log(Level::Error, "", format_args!("invalid local address \"{}\"", text.escape_ascii()));
    }
    address
}

/// The same again for the peer that is tried now, where `proxy_bind_dynamic` asks for it.
pub(crate) fn renew(address: &mut Option<SocketAddr>, record: &Record, now: Tick) {
    if record.entry.server.proxy.bind_dynamic {
        *address = local(record, now);
    }
}

/// Sets what the configuration asks of a socket that is about to connect to `peer`.
///
/// # Errors
/// The call that failed, in nginx's words.
pub(crate) fn prepare(
    socket: &Socket,
    peer: &Address,
    server: &Server,
    local: Option<SocketAddr>,
) -> Result<(), (Cow<'static, str>, io::Error)> {
    let proxy = &server.proxy;
    if proxy.keepalive {
        socket.set_keepalive(true).map_err(|error| ("setsockopt(SO_KEEPALIVE)".into(), error))?;
    }
    if let Some(size) = proxy.rcvbuf {
        socket.set_recv_buffer_size(size).map_err(|error| ("setsockopt(SO_RCVBUF)".into(), error))?;
    }
    if let Some(size) = proxy.sndbuf {
        socket.set_send_buffer_size(size).map_err(|error| ("setsockopt(SO_SNDBUF)".into(), error))?;
    }
    match (local, peer) {
        (Some(local), Address::Ip(_)) => {
            let transparent = server.bind.as_ref().is_some_and(|bind| bind.transparent);
            bind(socket, local, transparent)
        }
        _ => Ok(()),
    }
}

fn bind(socket: &Socket, local: SocketAddr, transparent: bool) -> Result<(), (Cow<'static, str>, io::Error)> {
    if transparent {
        // The kernel takes the IPv4 option on IPv6 sockets too.
        let set = setsockopt(socket, IpTransparent, &true);
        set.map_err(|error| ("setsockopt(IP_TRANSPARENT)".into(), error.into()))?;
    }
    if local.port() == 0 {
        // Leaves the port to connect(), which may then share it between peers; old kernels pick one at bind().
        let _ = setsockopt(socket, IpBindAddressNoPort, &true);
    } else {
        // The same port may go to several peers.
        socket.set_reuse_address(true).map_err(|error| ("setsockopt(SO_REUSEADDR)".into(), error))?;
    }
    socket.bind(&local.into()).map_err(|error| {
        let shown = if local.port() == 0 { local.ip().to_string() } else { local.to_string() };
        (format!("bind({shown})").into(), error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_as_nginx_reads_them() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1:0")),
            ("192.0.2.1:80", Some("192.0.2.1:80")),
            ("::1", Some("[::1]:0")),
            ("[::1]", Some("[::1]:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("192.0.2.1:0", None),
            ("192.0.2.1:65536", None),
            ("localhost", None),
            ("unix:/x", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }
}
