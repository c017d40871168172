//! `pass`: hands a connection to another listener of the configuration, of this
//! plane or of http, as if that one had accepted it. No socket in between: the
//! client keeps its address, its number and its place among `worker_connections`.

use crate::directives::SERVER;
use crate::outcomes::Status;
use crate::record::Record;
use crate::target::{self, NO_PORT};
use crate::variables::{Variable, compile};
use fairlead_conf::{Args, Cx, Diagnostic, Directive, Repeat, Template, Value, Word};
use fairlead_core::clock::Tick;
use fairlead_core::log::Level;
use fairlead_core::net::{Address, ListenerKey};
use fairlead_core::worker::Door;

pub(crate) const DIRECTIVES: &[Directive<Option<Word>>] = &[Directive {
    name: "pass",
    contexts: SERVER,
    args: Args::exactly(&[Value::Template], "address"),
    repeat: Repeat::Once,
    default: None,
    doc: "Hands the connection to the listener of this address, `stream` or `http`: an IP address and a port, a \
          `unix:` path, or variables that give one.",
    set: |address, given| {
        *address = Some(given.word(0).clone());
        Ok(())
    },
}];

/// `pass` compiled.
pub(crate) enum Destination {
    Address(Address),
    /// Known only when a session comes.
    Dynamic(Template<Variable>),
}

/// How often one connection may be passed: more is a circle.
const MOST_PASSES: u32 = 10;

pub(crate) const ACTION: &str = "passing connection to port";

/// # Errors
/// An unknown variable, or what can be no address, in nginx's words.
pub(crate) fn compile_address(word: &Word, cx: &Cx) -> Result<Destination, Diagnostic> {
    let template = compile(word, cx)?;
    if template.literal().is_none() {
        return Ok(Destination::Dynamic(template));
    }
    parse(&word.text).map(Destination::Address).map_err(|problem| {
        let message = match problem {
            NO_ADDRESSES | NO_PORT => format!("\"pass\" directive has {problem}"),
            _ => format!("{problem} in \"{}\" of the \"pass\" directive", word.text),
        };
        Diagnostic::error(word.span, message).help("write address:port or unix:path")
    })
}

const NO_ADDRESSES: &str = "no addresses";

/// Names are not looked up.
fn parse(text: &str) -> Result<Address, &'static str> {
    match target::parse(text) {
        Ok(target::Destination::Address(address)) => Ok(address),
        Ok(target::Destination::Name { .. }) => Err(NO_ADDRESSES),
        Err(NO_PORT) if crate::listen::literal(text.trim_end_matches(':')).is_none() => Err(NO_ADDRESSES),
        Err(problem) => Err(problem),
    }
}

/// The listener that a session goes to, and the address by which it goes there. `passes` counts this time.
///
/// # Errors
/// There is no such listener, or the session goes in circles; the log line is written.
pub(crate) fn find(
    destination: &Destination,
    record: &Record,
    passes: u32,
    now: Tick,
) -> Result<(ListenerKey, Door, Address), Status> {
    let address = match destination {
        Destination::Address(address) => address.clone(),
        Destination::Dynamic(template) => {
            let mut text = Vec::new();
            record.render(template, now, &mut text);
            let text = String::from_utf8_lossy(&text);
            parse(&text).map_err(|problem| {
                record.log(Level::Error, ACTION, format_args!("{problem} in pass \"{text}\""));
                Status::InternalError
            })?
        }
    };
    if passes > MOST_PASSES {
        record.log(Level::Error, ACTION, format_args!("stream pass cycle"));
        return Err(Status::InternalError);
    }
    match record.worker.context.handover.find(&address) {
        Some((key, door)) => Ok((key, door, address)),
        None => {
            record.log(Level::Error, ACTION, format_args!("port not found for \"{address}\""));
            Err(Status::Ok)
        }
    }
}
