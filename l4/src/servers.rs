//! Which servers stand behind which address: `listen` and `server_name` of all
//! servers put together, and the choice among them by the name that a client
//! asks for. `preread` finds that name; looking it up costs the same however
//! many servers there are.

use crate::directives::SERVER;
use crate::listen::Listen;
use crate::plan::{Listening, Server};
use crate::settings;
use ahash::AHashMap;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Span, Value};
use fairlead_core::names::{Name, Names};
use fairlead_core::net::{ListenOptions, Listener, ListenerKey};
use fairlead_core::plan::Build;
use std::borrow::Cow;
use std::sync::Arc;

/// One argument of a `server_name`.
#[derive(Clone, Debug)]
pub(crate) struct ServerName {
    pub text: Box<str>,
    span: Span,
    name: Name,
}

pub(crate) const DIRECTIVES: &[Directive<Vec<ServerName>>] = &[Directive {
    name: "server_name",
    contexts: SERVER,
    args: Args::at_least(1, &[Value::Text], "name ..."),
    repeat: Repeat::Append,
    default: None,
    doc: "Names that TLS clients ask for: exact, with a wildcard (`*.example.com`, `mail.*`, `.example.com` for the \
          name and all below it), or a regex (`~^(?<shop>\\w+)\\.example\\.com$`). Of several servers of one address \
          the one with the exact name takes the session, else that with the longest `*.` name, the longest `.*` name, \
          the first regex; else the default server. Needs `ssl_preread` in the default server.",
    set: |names, given| {
        for index in 0..given.len() {
            names.push(parse(given, index)?);
        }
        Ok(())
    },
}];

fn parse(given: &Given<'_>, index: usize) -> Result<ServerName, Diagnostic> {
    let word = given.word(index);
    let written = &*word.text;
    let bare = written.starts_with('*') && (written.len() < 3 || !written.starts_with("*."));
    if bare || written == "." {
        return Err(given.error(index, format!("server name \"{written}\" is invalid")).help(FORMS));
    }
    if written.contains('/') {
        let message = format!("server name \"{written}\" has suspicious symbols");
        given.cx.report(Diagnostic::warning(word.span, message));
    }
    let text: Box<str> = match written {
        name if name.eq_ignore_ascii_case("$hostname") => crate::plan::hostname(),
        regex if regex.starts_with('~') => regex.into(),
        name => name.to_ascii_lowercase().into(),
    };
    let name = Name::parse(&text).map_err(|why| given.error(index, why).help(FORMS))?;
    Ok(ServerName { text, span: word.span, name })
}

const FORMS: &str = "a name is exact, *.name, name.*, .name, or ~ and a regular expression as PCRE reads it";

/// Every address so far, in the order it was first written.
#[derive(Default)]
pub(crate) struct Places {
    places: Vec<Place>,
    by_key: AHashMap<ListenerKey, usize>,
}

/// One address, and what all the servers say that listen on it.
struct Place {
    key: ListenerKey,
    options: ListenOptions,
    sets_options: bool,
    protocols: Protocols,
    /// Index of the default server.
    default: usize,
    names_default: bool,
    servers: Vec<(Arc<Server>, Vec<ServerName>)>,
}

/// What nginx remembers of `proxy_protocol` to tell when servers of one address disagree about it.
#[derive(Clone, Copy, Default)]
struct Protocols {
    proxy_protocol: bool,
    last: Option<bool>,
    changed: bool,
}

impl Places {
    /// Adds a server to one address that it listens on.
    pub fn add(
        &mut self,
        key: &ListenerKey,
        listen: &Listen,
        server: (&settings::Server, &Arc<Server>),
        build: &Build<'_>,
    ) {
        let (settings, compiled) = server;
        let entry = (compiled.clone(), settings.server_names.clone());
        if let Some(place) = self.by_key.get(key).and_then(|index| self.places.get_mut(*index)) {
            return place.join(listen, entry, build);
        }
        self.by_key.insert(key.clone(), self.places.len());
        self.places.push(Place {
            key: key.clone(),
            options: listen.options.clone(),
            sets_options: listen.sets_options,
            protocols: Protocols { proxy_protocol: listen.proxy_protocol, ..Protocols::default() },
            default: 0,
            names_default: listen.default_server,
            servers: vec![entry],
        });
    }

    pub fn finish(self, build: &Build<'_>) -> Vec<Listening> {
        self.places.into_iter().map(|place| place.finish(build)).collect()
    }
}

impl Place {
    /// Another server listens on the address.
    fn join(&mut self, listen: &Listen, server: (Arc<Server>, Vec<ServerName>), build: &Build<'_>) {
        let address = &self.key.address;
        let span = listen.address.span;
        let error = |message: String| build.cx.report(Diagnostic::error(span, message));
        if self.servers.iter().any(|(other, _)| Arc::ptr_eq(other, &server.0)) {
            return error(format!("a duplicate listen {address}"));
        }
        if listen.sets_options && self.sets_options {
            return error(format!("duplicate listen options for {address}"));
        }
        if listen.default_server && self.names_default {
            return error(format!("a duplicate default server for {address}"));
        }
        if self.protocols.disagree(listen, self.sets_options) {
            let message = format!("protocol options redefined for {address}");
            build.cx.report(Diagnostic::warning(span, message));
        }
        if listen.sets_options {
            (self.options, self.sets_options) = (listen.options.clone(), true);
        }
        if listen.default_server {
            (self.default, self.names_default) = (self.servers.len(), true);
        }
        self.servers.push(server);
    }

    fn finish(self, build: &Build<'_>) -> Listening {
        let mut names = Names::default();
        let captures = self.servers.iter().flat_map(|(_, names)| names).any(|name| matches!(name.name, Name::Regex(_)));
        // With one server every name leads to it: nothing to look up, but for the groups of regexes.
        if self.servers.len() > 1 || captures {
            for (index, (_, own)) in self.servers.iter().enumerate() {
                let unnamed = ServerName { text: "".into(), span: Span::default(), name: Name::Exact("".into()) };
                let own = if own.is_empty() { std::slice::from_ref(&unnamed) } else { own };
                for name in own.iter().filter(|name| !names.add(&name.name, index)) {
                    self.conflict(name, build);
                }
            }
        }
        let servers: Vec<_> = self.servers.into_iter().map(|(server, _)| server).collect();
        Listening {
            listener: Listener { key: self.key, options: self.options },
            proxy_protocol: self.protocols.proxy_protocol,
            default: self.default,
            servers,
            names: Arc::new(names),
        }
    }

    fn conflict(&self, name: &ServerName, build: &Build<'_>) {
        let message = format!("conflicting server name \"{}\" on {}, ignored", name.text, self.key.address);
        let mut warning = Diagnostic::warning(name.span, message);
        if name.text.is_empty() {
            warning.span = None;
        }
        build.cx.report(warning);
    }
}

impl Protocols {
    /// Takes what one more `listen` says: any `proxy_protocol` holds for the whole address. True when
    /// nginx would say that they contradict each other.
    fn disagree(&mut self, listen: &Listen, sets_options: bool) -> bool {
        let (new, before) = (listen.proxy_protocol, self.proxy_protocol);
        let other = self.last.is_some_and(|last| last != new);
        let redefined = match (new, before) {
            (true, false) => (sets_options && !listen.sets_options) || self.changed,
            (false, true) => listen.sets_options || other,
            _ => (listen.sets_options && self.changed) || other,
        };
        self.last = Some(new && before);
        self.changed |= new != before;
        self.proxy_protocol |= new;
        redefined
    }
}

/// The name of a host in the form in which names are looked up: lower case, without a port or a final
/// dot. `None` for what can be no host.
pub(crate) fn host(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    let impossible = |byte: &u8| matches!(byte, 0..=0x20 | 0x7f | b'/');
    if name.iter().any(impossible) || name.windows(2).any(|pair| pair == b"..") {
        return None;
    }
    let end = match name {
        [b'[', ..] => name.iter().position(|byte| *byte == b']').map(|close| close + 1),
        _ => name.iter().position(|byte| *byte == b':'),
    };
    let host = name.get(..end.unwrap_or(name.len())).unwrap_or(name);
    let host = host.strip_suffix(b".").unwrap_or(host);
    match host.iter().any(u8::is_ascii_uppercase) {
        _ if host.is_empty() => None,
        true => Some(Cow::Owned(host.to_ascii_lowercase())),
        false => Some(Cow::Borrowed(host)),
    }
}

#[cfg(test)]
mod tests;
