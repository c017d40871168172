//! Our end of connections to peers: `proxy_bind` and the socket options that
//! are set before connecting. The same for TCP and UDP.

use crate::plan::Server;
use crate::record::Record;
use crate::variables::{Variable, compile};
use fairlead_conf::{Cx, Diagnostic, Given, Template, Word};
use fairlead_core::clock::Tick;
use fairlead_core::log::Level;
use fairlead_core::net::{Address, NotConnected, Origin};
use socket2::Socket;
use std::net::SocketAddr;

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
        if !text.contains('$') && Origin::parse(text).is_none() {
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
        let address = match template.literal().and_then(Origin::parse) {
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
    let address = std::str::from_utf8(&text).ok().and_then(Origin::parse);
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
) -> Result<(), NotConnected> {
    let proxy = &server.proxy;
    let origin = Origin {
        local,
        transparent: server.bind.as_ref().is_some_and(|bind| bind.transparent),
        keepalive: proxy.keepalive,
        rcvbuf: proxy.rcvbuf,
        sndbuf: proxy.sndbuf,
    };
    origin.prepare(socket, peer)
}
