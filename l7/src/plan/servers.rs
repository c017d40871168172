//! Which servers are behind which address: `listen` and `server_name` of all servers put together.

use super::{Server, VirtualServers};
use crate::listen::{self, Listen};
use crate::route::{Name, Names};
use crate::settings::ServerBlock;
use crate::settings::names::ServerName;
use ahash::{AHashMap, AHashSet};
use fairlead_conf::Diagnostic;
use fairlead_core::net::{Address, ListenOptions, Listener, ListenerKey, Protocol, listen_addresses};
use fairlead_core::plan::Build;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Every address so far, in the order it was first written.
#[derive(Default)]
pub(super) struct Listening {
    places: Vec<Place>,
    by_address: AHashMap<Address, usize>,
}

struct Place {
    address: Address,
    options: Option<ListenOptions>,
    proxy_protocol: bool,
    default: Arc<Server>,
    default_written: bool,
    names: Names<Arc<Server>>,
    servers: usize,
    /// Warnings of names that were there already.
    conflicts: Vec<Diagnostic>,
}

impl Listening {
    /// Adds a server to each address it listens on.
    pub fn add(&mut self, block: &ServerBlock, server: &Arc<Server>, build: &Build<'_>) {
        let default;
        let listens = if block.listens.is_empty() {
            default = [listen::default_listen(block.span)];
            &default[..]
        } else {
            &block.listens
        };
        let mut own = AHashSet::new();
        for listen in listens {
            match listen_addresses(&listen.address, Some(80), build.resolve) {
                Err(diagnostic) => build.cx.report(diagnostic),
                Ok(addresses) => {
                    for address in addresses {
                        if !own.insert(address.clone()) {
                            let message = format!("a duplicate listen {address}");
                            build.cx.report(Diagnostic::error(listen.address.span, message));
                            continue;
                        }
                        let place = self.place(&address, server);
                        place.join(listen, server, build);
                        place.name(&block.names, server);
                    }
                }
            }
        }
    }

    fn place(&mut self, address: &Address, server: &Arc<Server>) -> &mut Place {
        let next = self.places.len();
        let index = *self.by_address.entry(address.clone()).or_insert(next);
        if index == next {
            self.places.push(Place {
                address: address.clone(),
                options: None,
                proxy_protocol: false,
                default: server.clone(),
                default_written: false,
                names: Names::default(),
                servers: 0,
                conflicts: Vec::new(),
            });
        }
        &mut self.places[index]
    }

    /// What to bind and who answers there. Addresses of a port that a wildcard has are reached through it.
    pub fn finish(self, build: &Build<'_>) -> (Vec<Listener>, AHashMap<ListenerKey, Arc<VirtualServers>>) {
        let wildcards: AHashSet<(bool, u16)> =
            self.places.iter().filter_map(|place| wildcard(&place.address)).collect();
        let mut inside: AHashMap<(bool, u16), AHashMap<IpAddr, Arc<VirtualServers>>> = AHashMap::new();
        let mut bound = Vec::new();
        for mut place in self.places {
            // With one server its names are not looked up.
            if place.servers > 1 || place.names.have_patterns() {
                place.conflicts.drain(..).for_each(|conflict| build.cx.report(conflict));
            }
            match &place.address {
                Address::Ip(at) if !at.ip().is_unspecified() && wildcards.contains(&family(*at)) => {
                    let (family, ip) = (family(*at), at.ip());
                    inside.entry(family).or_default().insert(ip, Arc::new(place.servers(AHashMap::new())));
                }
                _ => bound.push(place),
            }
        }
        let mut listeners = Vec::new();
        let mut servers = AHashMap::new();
        for place in bound {
            let by_local = wildcard(&place.address).and_then(|family| inside.remove(&family)).unwrap_or_default();
            let key = ListenerKey { protocol: Protocol::Tcp, address: place.address.clone() };
            listeners.push(Listener { key: key.clone(), options: place.options.clone().unwrap_or_default() });
            servers.insert(key, Arc::new(place.servers(by_local)));
        }
        (listeners, servers)
    }
}

/// IPv4 or not, and the port.
fn family(address: SocketAddr) -> (bool, u16) {
    (address.is_ipv4(), address.port())
}

fn wildcard(address: &Address) -> Option<(bool, u16)> {
    match address {
        Address::Ip(address) if address.ip().is_unspecified() => Some(family(*address)),
        _ => None,
    }
}

impl Place {
    /// Merges one more `listen` of the address, as nginx does.
    fn join(&mut self, listen: &Listen, server: &Arc<Server>, build: &Build<'_>) {
        let error = |message: String| build.cx.report(Diagnostic::error(listen.address.span, message));
        if let Some(options) = &listen.options {
            if self.options.is_some() {
                error(format!("duplicate listen options for {}", self.address));
            }
            self.options = Some(options.clone());
        }
        if listen.default_server {
            if self.default_written {
                error(format!("a duplicate default server for {}", self.address));
            }
            self.default_written = true;
            self.default = server.clone();
        }
        self.proxy_protocol |= listen.proxy_protocol;
        self.servers += 1;
    }

    fn name(&mut self, names: &[ServerName], server: &Arc<Server>) {
        let unnamed =
            [ServerName { text: "".into(), span: fairlead_conf::Span::default(), name: Name::Exact("".into()) }];
        let names = if names.is_empty() { &unnamed[..] } else { names };
        for name in names {
            if !self.names.add(&name.name, server.clone()) {
                let message = format!("conflicting server name \"{}\" on {}, ignored", name.text, self.address);
                let mut warning = Diagnostic::warning(name.span, message);
                if name.text.is_empty() {
                    warning.span = None;
                }
                self.conflicts.push(warning);
            }
        }
    }

    fn servers(self, by_local: AHashMap<IpAddr, Arc<VirtualServers>>) -> VirtualServers {
        // With one server every name leads to it: nothing to look up, but for the groups of regexes.
        let mut names = if self.servers == 1 && !self.names.have_patterns() { Names::default() } else { self.names };
        names.join_patterns();
        VirtualServers { default: self.default, proxy_protocol: self.proxy_protocol, names, by_local }
    }
}
