//! An exchange made by hand, for tests of what looks at one.

use crate::exchange::{Connection, Exchange, Memory};
use crate::h1::{Limits, Request};
use crate::plan::{Plan, VirtualServers};
use crate::worker::Worker;
use fairlead_core::clock::tick;
use fairlead_core::net::{Address, ListenerKey, Protocol};
use fairlead_core::worker::Context;
use std::rc::Rc;
use std::sync::Arc;

/// A parsed request to Example.com:8080.
pub(crate) fn request(line: &str, fields: &[(&str, &str)]) -> Request {
    let host = [("Host", "Example.com:8080")];
    let fields: String = host.iter().chain(fields).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut request = Request::default();
    request.buffer = format!("{line}\r\n{fields}\r\n").into_bytes();
    let parsed = request.parse(&Limits::default());
    assert!(parsed.is_ok(), "{parsed:?}");
    request
}

/// An exchange from 192.0.2.1:4000 to 127.0.0.1:8080, before it is routed.
pub(crate) fn exchange(http: &str, request: Request) -> Exchange {
    let plan = crate::plan::tests::read(http).unwrap();
    let servers = servers(&plan).clone();
    let connection = Connection {
        number: 7,
        client: Address::Ip("192.0.2.1:4000".parse().unwrap()),
        local: Address::Ip("127.0.0.1:8080".parse().unwrap()),
        connected: None,
        proxy_header: None,
        started: tick(),
    };
    let worker = Worker::new(plan, Context::new(0));
    let mut memory = Memory::default();
    memory.request = request;
    Exchange::new(worker, Rc::new(connection), &servers, 3, memory)
}

pub(crate) fn servers(plan: &Plan) -> &Arc<VirtualServers> {
    let address = Address::Ip("0.0.0.0:8080".parse().unwrap());
    plan.listener(&ListenerKey { protocol: Protocol::Tcp, address }).unwrap()
}
