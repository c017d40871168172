//! `mirror`: other locations get a copy of a request, and nobody waits for what they answer.
//!
//! A copy is a task of its own with a place among the worker's connections: its peer may be slow, gone
//! or wrong, and the client's answer and connection are as if there were no mirror.

use crate::client::Client;
use crate::directives::ALL;
use crate::exchange::{Ended, Exchange};
use crate::{proxy, subrequest};
use fairlead_conf::{Args, Directive, Repeat, Value};
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::spawn;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    off: bool,
    uris: Vec<Box<str>>,
    body: bool,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "mirror",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "uri | off"),
        repeat: Repeat::List(|mirror| (mirror.off, mirror.uris) = (false, Vec::new())),
        default: None,
        doc: "Sends a copy of each request to the location of this path, and drops what it answers; several paths get \
              a copy each. The client never waits for it. `off` copies nothing.",
        set: |mirror, given| {
            if mirror.off || (given.text(0) == "off" && !mirror.uris.is_empty()) {
                return Err(given.error(0, "\"mirror\" directive is duplicate"));
            }
            match given.text(0) {
                "off" => mirror.off = true,
                uri => mirror.uris.push(uri.into()),
            }
            Ok(())
        },
    },
    Directive {
        name: "mirror_request_body",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether copies of `mirror` have the request's body, which is then taken in whole before they leave, \
              `proxy_request_buffering` or not. Without it they have none, and no `Content-Length` either.",
        set: |mirror, given| given.flag(0).map(|on| mirror.body = on),
    },
];

/// A location's mirrors.
pub(crate) struct Mirror {
    uris: Vec<Box<str>>,
    body: bool,
}

impl Settings {
    pub fn compile(&self) -> Option<Arc<Mirror>> {
        (!self.uris.is_empty()).then(|| Arc::new(Mirror { uris: self.uris.clone(), body: self.body }))
    }
}

impl Mirror {
    /// Sends the copies on their way.
    ///
    /// # Errors
    /// How the request ends whose body could not be had.
    pub async fn send(&self, client: &mut Client, exchange: &mut Exchange) -> Result<(), Ended> {
        if self.body
            && let Err(error) = exchange.take_in(client).await
        {
            return Err(proxy::body_failed(exchange, error));
        }
        for uri in &self.uris {
            let mut copy = Box::new(exchange.mirror(uri));
            if !self.body {
                copy.taken = None;
            }
            match Client::alone(&exchange.worker.context) {
                Ok(alone) => spawn(subrequest::aside(alone, copy)),
                Err(error) if error.kind() == std::io::ErrorKind::QuotaExceeded => {
                    exchange.log(Level::Alert, format_args!("worker_connections are not enough for a mirror"));
                }
                Err(error) => exchange.log(Level::Alert, format_args!("socket() failed {}", OsError(&error))),
            }
        }
        Ok(())
    }
}
