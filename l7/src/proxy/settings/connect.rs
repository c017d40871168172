//! How connections to peers are made: `proxy_bind`, the options of their sockets, and which peers
//! may be asked at all.

use super::Settings;
use crate::directives::ALL;
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Template, Value};
use fairlead_core::net::Origin;
use std::net::SocketAddr;
use std::sync::Arc;

/// A `proxy_bind`.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    pub local: Local,
    pub transparent: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Local {
    Fixed(SocketAddr),
    Variable(Template<Variable>),
}

type Row = Directive<Settings>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "proxy_bind",
        contexts: ALL,
        args: Args::between(1, 2, &[Value::Text], "address [transparent] | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Local address that connections to peers come from, with an optional port: `192.0.2.1`, `[2001:db8::1]:4000` or \
              variables, of which an empty value lets the kernel choose, as `off` does. `transparent` allows an address \
              that is not of this host, which takes the capability CAP_NET_RAW or CAP_NET_ADMIN and routes back.",
        set: |proxy, given| bind(given).map(|bind| proxy.bind = bind),
    },
    Row {
        name: "proxy_bind_dynamic",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Works the variables of `proxy_bind` out again for every peer that is tried.",
        set: |proxy, given| given.flag(0).map(|on| proxy.bind_dynamic = on),
    },
    Row {
        name: "proxy_allow_upstream",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Template], "string ..."),
        repeat: Repeat::Once,
        default: None,
        doc: "Asks a peer only if none of these is empty or `0`. They are worked out for every peer that is tried: \
              `geo $upstream_last_addr $allow { volatile; 10.0.0.0/8 1; }` with `proxy_allow_upstream $allow`. A peer that \
              is not allowed counts as failed; whether the next one is tried, `proxy_next_upstream denied` says.",
        set: |proxy, given| {
            let compiled: Result<_, _> = given.words().iter().map(|word| variables::compile(word, given.cx)).collect();
            proxy.allow = Arc::new(compiled?);
            Ok(())
        },
    },
    Row {
        name: "proxy_socket_keepalive",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Turns on TCP keepalive probes on connections to peers.",
        set: |proxy, given| given.flag(0).map(|on| proxy.origin.keepalive = on),
    },
    Row {
        name: "proxy_socket_rcvbuf",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: None,
        doc: "Receive buffer of connections to peers (`SO_RCVBUF`); the kernel's choice when not set.",
        set: |proxy, given| buffer(given).map(|size| proxy.origin.rcvbuf = Some(size)),
    },
    Row {
        name: "proxy_socket_sndbuf",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: None,
        doc: "Send buffer of connections to peers (`SO_SNDBUF`); the kernel's choice when not set.",
        set: |proxy, given| buffer(given).map(|size| proxy.origin.sndbuf = Some(size)),
    },
    Row {
        name: "proxy_send_lowat",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "Checked and otherwise without effect, as in nginx on Linux, whose kernel has no such limit to set.",
        set: |_, given| given.size(0).map(drop),
    },
];

fn bind(given: &Given<'_>) -> Result<Option<Bind>, Diagnostic> {
    let word = given.word(0);
    let parameter = given.words().get(1).map(|word| &*word.text);
    if let Some(other) = parameter.filter(|text| *text != "transparent") {
        let error = given.error(1, format!("invalid parameter \"{other}\""));
        return Err(error.help("the only parameter is \"transparent\""));
    }
    if &*word.text == "off" && parameter.is_none() {
        return Ok(None);
    }
    let template = variables::compile(word, given.cx)?;
    let local = match template.literal() {
        None => Local::Variable(template),
        Some(text) => Local::Fixed(Origin::parse(text).ok_or_else(|| {
            let error = given.error(0, format!("invalid address \"{text}\""));
            error.help("write an address, address:port or [IPv6]:port, or variables that give one")
        })?),
    };
    Ok(Some(Bind { local, transparent: parameter.is_some() }))
}

fn buffer(given: &Given<'_>) -> Result<usize, Diagnostic> {
    let bytes = given.size(0)?;
    usize::try_from(bytes).ok().filter(|size| i32::try_from(*size).is_ok()).ok_or_else(|| {
        given.error(0, format!("invalid value \"{}\"", given.text(0))).help("the most is 2147483647 bytes")
    })
}
