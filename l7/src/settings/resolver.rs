//! `resolver` and `resolver_timeout`: who answers for names found at run time.

use crate::directives::ALL;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value, value};
use fairlead_core::resolver;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `resolver`, its timeout apart because either may be inherited alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    resolver: Option<resolver::Settings>,
    timeout: Duration,
}

impl Settings {
    /// What core's resolver wants, when there is one.
    pub fn complete(&self) -> Option<resolver::Settings> {
        self.resolver.clone().map(|resolver| resolver::Settings { timeout: self.timeout, ..resolver })
    }
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "resolver",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "address … [valid=time] [ipv4=on|off] [ipv6=on|off]"),
        repeat: Repeat::Once,
        default: None,
        doc: "Name servers (port 53 unless written) asked for names that variables bring into `proxy_pass`. \
              Answers are kept for their TTL, or for `valid=`. Example: `resolver 127.0.0.53 valid=30s;`.",
        set: |names, given| parse(given).map(|resolver| names.resolver = Some(resolver)),
    },
    Directive {
        name: "resolver_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("30s"),
        doc: "How long resolving one name may take.",
        set: |names, given| given.time(0).map(|timeout| names.timeout = timeout),
    },
];

fn parse(given: &Given<'_>) -> Result<resolver::Settings, Diagnostic> {
    let mut settings =
        resolver::Settings { servers: Vec::new(), valid: None, ipv4: true, ipv6: true, timeout: Duration::ZERO };
    for (index, word) in given.words().iter().enumerate() {
        let invalid = || given.error(index, format!("invalid parameter: {}", word.text));
        match word.text.split_once('=') {
            Some(("valid", time)) => settings.valid = Some(value::parse_time(time).ok_or_else(invalid)?),
            Some(("ipv4", flag)) => settings.ipv4 = value::parse_flag(flag).ok_or_else(invalid)?,
            Some(("ipv6", flag)) => settings.ipv6 = value::parse_flag(flag).ok_or_else(invalid)?,
            Some(_) => return Err(invalid()),
            None => settings.servers.push(
                server(&word.text)
                    .ok_or_else(|| given.error(index, format!("invalid resolver address \"{}\"", word.text)))?,
            ),
        }
    }
    if settings.servers.is_empty() {
        return Err(given.error(0, "no name servers defined"));
    }
    if !settings.ipv4 && !settings.ipv6 {
        return Err(given.error(0, "\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    Ok(settings)
}

/// `address[:port]`.
fn server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, 53)),
        Err(_) => text.parse().ok(),
    }
}
