//! `health_check` as the prober gets it: the fields that a location sends to its peers, and what
//! `match { require … }` asks for. Both may hold variables, though there is no client: those of the
//! request have no value, but for `$host`, which is the server's name, and `$remote_addr`, 127.0.0.1.

use super::Plan;
use crate::exchange::{Attempt, Connection, Exchange, Memory};
use crate::proxy::Proxy;
use crate::variables::Variable;
use crate::worker::Worker;
use fairlead_conf::Template;
use fairlead_core::clock::tick;
use fairlead_core::health::{Answered, Check, Judge, Kind};
use fairlead_core::net::Address;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A check, and what depends on variables.
pub(super) struct Wanted {
    check: Check,
    fields: Vec<(Box<str>, Template<Variable>)>,
    requires: Arc<Vec<Template<Variable>>>,
    names: Names,
}

/// What the location is called and passes to.
#[derive(Clone)]
struct Names {
    server: Box<str>,
    proxy_host: Box<str>,
    proxy_port: Box<str>,
}

impl Wanted {
    /// `server` is the first name of the server that the location is in.
    pub fn new(check: Check, proxy: &Proxy, server: &str, requires: Vec<Template<Variable>>) -> Wanted {
        // What is said about the connection and the body is the prober's to say.
        let own = ["connection", "content-length", "transfer-encoding", "upgrade", "te"];
        let fields = proxy.set_headers.iter().filter(|(name, _)| !own.iter().any(|own| name.eq_ignore_ascii_case(own)));
        Wanted {
            check,
            fields: fields.cloned().collect(),
            requires: Arc::new(requires),
            names: Names {
                server: server.to_ascii_lowercase().into(),
                proxy_host: proxy.host.clone(),
                proxy_port: proxy.port.clone(),
            },
        }
    }

    /// The check with nothing left to find out but the answers.
    pub fn of(&self, plan: &Arc<Plan>) -> Check {
        let mut check = self.check.clone();
        let fields = self.fields.iter().filter_map(|(name, value)| {
            let mut text = Vec::new();
            nobody(plan, &self.names)?.render(value, &mut text);
            (!text.is_empty()).then(|| (name.clone(), text.into()))
        });
        check.kind = Kind::Http { fields: fields.collect() };
        if !self.requires.is_empty() {
            let (plan, requires, names) = (plan.clone(), self.requires.clone(), self.names.clone());
            let judge = move |answered: &Answered| {
                let exchange = nobody(&plan, &names).map(|exchange| with(exchange, answered));
                exchange.is_some_and(|exchange| requires.iter().all(|wanted| is_true(&exchange, wanted)))
            };
            check.judge = Some(Judge(Arc::new(judge)));
        }
        check
    }
}

/// A request that nobody has sent. `None` where nothing listens.
fn nobody(plan: &Arc<Plan>, names: &Names) -> Option<Exchange> {
    let servers = plan.virtual_servers.values().next()?.clone();
    // Peers may want an address there, and it is this machine that asks.
    let here = || Address::Ip((Ipv4Addr::LOCALHOST, 0).into());
    let connection =
        Connection { number: 0, client: here(), connected: None, local: here(), proxy_header: None, started: tick() };
    let mut exchange = Exchange::new(Worker::idle(plan.clone()), Rc::new(connection), &servers, 1, Memory::default());
    exchange.host.extend_from_slice(names.server.as_bytes());
    exchange.proxying = true;
    exchange.proxy_host.extend_from_slice(names.proxy_host.as_bytes());
    exchange.proxy_port.extend_from_slice(names.proxy_port.as_bytes());
    Some(exchange)
}

fn with(mut exchange: Exchange, answered: &Answered) -> Exchange {
    let millis = |time: Duration| Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    exchange.upstream_head.clone_from(&answered.head);
    exchange.attempts.push(Attempt {
        peer: Some(answered.peer.clone()),
        group: Box::default(),
        from: None,
        bound: None,
        status: answered.status,
        anew: false,
        started: answered.began,
        queue_time: None,
        connect_time: millis(answered.connect_time),
        header_time: millis(answered.header_time),
        response_time: millis(answered.response_time),
        bytes_sent: 0,
        bytes_received: answered.head.len() as u64 + answered.length,
        response_length: answered.length,
    });
    exchange
}

fn is_true(exchange: &Exchange, wanted: &Template<Variable>) -> bool {
    let mut value = Vec::new();
    exchange.render(wanted, &mut value);
    !value.is_empty() && value != b"0"
}
