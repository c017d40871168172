//! `listen`: where servers are reached, and which server answers there by default.

use crate::directives::SERVER;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Param, Repeat, Span, Value, Word};
use fairlead_core::net::ListenOptions;

/// One `listen` as written.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// The address and its place; `None` for a server that says nothing.
    pub address: Word,
    pub default_server: bool,
    pub proxy_protocol: bool,
    /// Socket options, when any is written: they hold for the address in all servers.
    pub options: Option<ListenOptions>,
}

const fn flag(name: &'static str, doc: &'static str) -> Param {
    Param { name, value: None, doc }
}

const PARAMS: &[Param] = &[
    flag("default_server", "answers for host names that no server of the address has"),
    flag("default", "the same"),
    flag("proxy_protocol", "clients send a PROXY protocol header first"),
    flag("bind", "binds this address by itself; always done, unless a wildcard has the port"),
    ListenOptions::DEFERRED,
    flag("reuseport", "one socket per worker; always done"),
    ListenOptions::BACKLOG,
    ListenOptions::RCVBUF,
    ListenOptions::SNDBUF,
    ListenOptions::FASTOPEN,
    ListenOptions::IPV6ONLY,
    ListenOptions::SO_KEEPALIVE,
    flag("ssl", "TLS"),
    flag("http2", "HTTP/2"),
    flag("quic", "HTTP/3"),
    ListenOptions::MULTIPATH,
    ListenOptions::SETFIB,
    ListenOptions::ACCEPT_FILTER,
];

/// Parameters that nginx has and this build has not.
const NOT_BUILT: [&str; 3] = ["ssl", "http2", "quic"];

pub(crate) const DIRECTIVES: &[Directive<Vec<Listen>>] = &[Directive {
    name: "listen",
    contexts: SERVER,
    args: Args::at_least(
        1,
        &[Value::Text, Value::Params(PARAMS)],
        "address[:port] | port | unix:path [default_server] [proxy_protocol] [backlog=number] [rcvbuf=size] \
         [sndbuf=size] [fastopen=number] [deferred] [bind] [ipv6only=on|off] [reuseport] \
         [so_keepalive=on|off|[idle]:[interval]:[count]]",
    ),
    repeat: Repeat::Append,
    default: None,
    doc: "An address that the server answers on: `80`, `127.0.0.1:8080`, `[::]:80`, `localhost:8000-8010`, \
          `unix:/run/web.sock`. Without any: port 80, or 8000 when not started by root. Socket options may be \
          written once per address. `default_server` makes the server answer for host names nobody has; \
          else the first server of the address does.",
    set: |listens, given| {
        let listen = parse(given)?;
        if listens.iter().any(|other| other.address.text == listen.address.text) {
            return Err(given.error(0, format!("a duplicate listen {}", listen.address.text)));
        }
        listens.push(listen);
        Ok(())
    },
}];

/// What a server without `listen` listens on.
pub(crate) fn default_listen(span: Span) -> Listen {
    let text = if nix::unistd::geteuid().is_root() { "*:80" } else { "*:8000" };
    let address = Word { text: text.into(), span, quoted: false };
    Listen { address, default_server: false, proxy_protocol: false, options: None }
}

fn parse(given: &Given<'_>) -> Result<Listen, Diagnostic> {
    let mut listen = Listen { address: given.word(0).clone(), ..default_listen(given.word(0).span) };
    let mut options = ListenOptions::default();
    for (index, word) in given.words().iter().enumerate().skip(1) {
        let (name, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
        match name {
            "default_server" | "default" => listen.default_server = true,
            "proxy_protocol" => listen.proxy_protocol = true,
            "accept_filter" => {
                let message = format!("accept filters \"{}\" are not supported on this platform, ignored", word.text);
                given.cx.report(Diagnostic::warning(word.span, message));
            }
            "ipv6only" if !given.text(0).starts_with('[') => {
                let message = format!("ipv6only is not supported on addr \"{}\", ignored", given.text(0));
                given.cx.report(Diagnostic::warning(word.span, message));
            }
            _ => {
                option(&mut options, name, value).map_err(|message| given.error(index, message))?;
                listen.options = Some(options.clone());
            }
        }
    }
    Ok(listen)
}

fn option(options: &mut ListenOptions, name: &str, value: &str) -> Result<(), String> {
    match name {
        _ if options.set(name, value)? => {}
        name if NOT_BUILT.contains(&name) => {
            return Err(format!("the \"{name}\" parameter of \"listen\" is known to nginx, not built in fairlead yet"));
        }
        _ => return Err(format!("invalid parameter \"{name}={value}\"")),
    }
    Ok(())
}
