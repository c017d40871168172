//! `auth_request`: another location says whether a request may go on.

use super::{Stop, Verdict};
use crate::client::Client;
use crate::directives::ALL;
use crate::exchange::Exchange;
use crate::subrequest;
use crate::variables::{Variable, compile, head_fields};
use fairlead_conf::{Args, Directive, Repeat, Template, Value};
use fairlead_core::log::Level;
use fairlead_core::variable::defined_number;
use std::sync::Arc;

#[derive(Clone, Default)]
pub(crate) struct Settings {
    uri: Option<Box<str>>,
    sets: Arc<Vec<Set>>,
}

/// One `auth_request_set`.
#[derive(Clone)]
struct Set {
    number: usize,
    value: Template<Variable>,
}

pub(super) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "auth_request",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "uri | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Asks the location of this path first, with the request's own header and without its body: 2xx lets the \
              request go on, 401 and 403 refuse it, the former with the `WWW-Authenticate` of that answer; anything \
              else is an error.",
        set: |request, given| {
            request.uri = Some(given.text(0)).filter(|uri| *uri != "off").map(Box::from);
            Ok(())
        },
    },
    Directive {
        name: "auth_request_set",
        contexts: ALL,
        args: Args::exactly(&[Value::Text, Value::Template], "$variable value"),
        repeat: Repeat::List(|request| request.sets = Arc::default()),
        default: None,
        doc: "Gives a variable a value once `auth_request` is answered; the value may use what that answer says, as \
              `$upstream_http_x_user`.",
        set: |request, given| {
            let number = defined_number(given, 0)?;
            let value = compile(given.word(1), given.cx)?;
            Arc::make_mut(&mut request.sets).push(Set { number, value });
            Ok(())
        },
    },
];

/// A location's question.
pub(super) struct Asked {
    uri: Box<str>,
    sets: Arc<Vec<Set>>,
}

impl Settings {
    pub(super) fn compile(&self) -> Option<Asked> {
        Some(Asked { uri: self.uri.clone()?, sets: self.sets.clone() })
    }
}

impl Asked {
    pub async fn ask(&self, client: &mut Client, exchange: &mut Exchange) -> Result<Verdict, Stop> {
        let asked = subrequest::run(client, exchange, self.uri.as_bytes(), None).await;
        for set in self.sets.iter() {
            let mut value = Vec::new();
            asked.render(&set.value, &mut value);
            asked.values.put(set.number, &value);
        }
        let status = asked.status;
        let challenges = if status == 401 { challenges(&asked) } else { Vec::new() };
        // What nginx did last, where a peer was asked.
        let during = if asked.attempts.is_empty() { "" } else { " while sending to client" };
        subrequest::end(exchange, *asked);
        match status {
            200..300 => Ok(Verdict::Granted),
            401 => {
                exchange.passed.challenges = challenges;
                Ok(Verdict::Refused(401))
            }
            403 => Ok(Verdict::Refused(403)),
            // The client left: nobody is to be answered.
            499 => Err(Stop::Gone),
            _ => {
                exchange.log(Level::Error, format_args!("auth request unexpected status: {status}{during}"));
                Ok(Verdict::Refused(500))
            }
        }
    }
}

/// What the peer asked for, or whoever else answered.
fn challenges(asked: &Exchange) -> Vec<Vec<u8>> {
    let head = if asked.upstream_head.is_empty() { &asked.sent_head } else { &asked.upstream_head };
    let fields = head_fields(head).filter(|(name, _)| name.eq_ignore_ascii_case(b"www-authenticate"));
    fields.map(|(_, value)| value.to_vec()).collect()
}
