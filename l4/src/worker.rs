//! One worker thread's stream plane.

use crate::plan::{Listening, Server};
use crate::{Plan, accept, udp};
use ahash::AHashMap;
use fairlead_core::names::{Captures, Names};
use fairlead_core::net::{ListenerKey, Protocol};
use fairlead_core::resolver::Resolver;
use fairlead_core::upstream::Slot;
use fairlead_core::worker::{Context, Current};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// A generation's plan with this thread's balancers.
pub struct Worker {
    pub plan: Arc<Plan>,
    pub context: Rc<Context>,
    entries: AHashMap<ListenerKey, Rc<Entry>>,
    /// In the order of the plan's groups.
    pub(crate) balancers: Vec<Slot>,
    /// In the order of the plan's resolvers.
    pub(crate) resolvers: Vec<Rc<Resolver>>,
}

/// A listener and the server behind it, as this thread's sessions hold them.
pub(crate) struct Entry {
    pub key: ListenerKey,
    /// The address as logs show it: `0.0.0.0:9000`.
    pub name: Box<str>,
    pub proxy_protocol: bool,
    pub server: Arc<Server>,
    /// Of the default server's entry alone: all servers of the listener, by their names.
    servers: Option<Rc<Servers>>,
}

struct Servers {
    names: Arc<Names<usize>>,
    entries: Vec<Rc<Entry>>,
}

impl Entry {
    /// The server of a host name (lower case), and the groups when a regex found it.
    pub fn select(&self, host: &[u8]) -> Option<(Rc<Entry>, Option<Box<Captures>>)> {
        let servers = self.servers.as_ref()?;
        let mut captures = Captures::default();
        let entry = servers.entries.get(*servers.names.find(host, &mut captures)?)?;
        Some((entry.clone(), (!captures.numbered.is_empty()).then(|| Box::new(captures))))
    }
}

impl Worker {
    pub fn new(plan: Arc<Plan>, context: Rc<Context>) -> Rc<Worker> {
        let entries = plan.listening.iter().map(|listening| (listening.listener.key.clone(), entry(listening)));
        let entries = entries.collect();
        let balancers = plan.groups.iter().enumerate().map(|(index, group)| {
            // Workers must not walk the same random sequence in step.
            let seed = (context.id as u64) << 32 | index as u64;
            Slot::new(group.group.clone(), seed)
        });
        let balancers = balancers.collect();
        let resolvers = plan.resolvers.iter().map(|settings| Resolver::new(settings.clone())).collect();
        Rc::new(Worker { plan, context, entries, balancers, resolvers })
    }

    /// What this generation does with the sessions of a listener.
    pub(crate) fn entry(&self, key: &ListenerKey) -> Option<Rc<Entry>> {
        self.entries.get(key).cloned()
    }
}

fn entry(listening: &Listening) -> Rc<Entry> {
    let entry = |server: &Arc<Server>, servers| {
        Rc::new(Entry {
            key: listening.listener.key.clone(),
            name: listening.listener.key.address.to_string().into(),
            proxy_protocol: listening.proxy_protocol,
            server: server.clone(),
            servers,
        })
    };
    let servers = (!listening.names.is_empty()).then(|| {
        let entries = listening.servers.iter().map(|server| entry(server, None)).collect();
        Rc::new(Servers { names: listening.names.clone(), entries })
    });
    entry(listening.default_server(), servers)
}

/// Accepts connections (or datagrams) on `socket` for ever, each served by the newest generation.
/// Dropping this future stops accepting and closes the socket; sessions go on.
pub async fn serve(socket: OwnedFd, key: ListenerKey, current: Rc<Current<Worker>>) {
    match key.protocol {
        Protocol::Tcp => accept::serve(socket, key, current).await,
        Protocol::Udp => udp::serve(socket, key, current).await,
    }
}
