//! The rows of `resolver` and `resolver_timeout`, for both planes.

use super::Settings;
use crate::plan::Build;
use fairlead_conf::value::{parse_flag, parse_time};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value, Word};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const CONTEXTS: Contexts = Contexts::HTTP
    .or(Contexts::SERVER)
    .or(Contexts::LOCATION)
    .or(Contexts::UPSTREAM)
    .or(Contexts::STREAM)
    .or(Contexts::STREAM_SERVER)
    .or(Contexts::STREAM_UPSTREAM);

const DNS_PORT: u16 = 53;

/// What a level says of name resolution.
#[derive(Clone, Debug)]
pub struct ResolverSettings {
    resolver: Option<Written>,
    timeout: Duration,
}

/// The arguments of `resolver`, names of servers not yet resolved.
#[derive(Clone, Debug)]
struct Written {
    servers: Vec<(Word, Place)>,
    rest: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(SocketAddr),
    Name { host: Box<str>, port: u16 },
}

impl Default for ResolverSettings {
    fn default() -> ResolverSettings {
        ResolverSettings { resolver: None, timeout: Settings::default().timeout }
    }
}

impl ResolverSettings {
    /// Both directives together; `None` when no `resolver` is in force. A name server that is named
    /// is looked up with the system's own resolver, as any name when a configuration is loaded.
    ///
    /// # Errors
    /// A name without an address.
    pub fn settings(&self, build: &Build<'_>) -> Result<Option<Settings>, Diagnostic> {
        let Some(written) = &self.resolver else { return Ok(None) };
        let mut servers = Vec::new();
        for (word, place) in &written.servers {
            match place {
                Place::Address(address) => servers.push(*address),
                Place::Name { host, port } => {
                    let found = (build.resolve)(host).ok().filter(|found| !found.is_empty());
                    let found = found.ok_or_else(|| wrong_server(word, "host not found"))?;
                    servers.extend(found.into_iter().map(|ip| SocketAddr::new(ip, *port)));
                }
            }
        }
        Ok(Some(Settings { servers, timeout: self.timeout, ..written.rest.clone() }))
    }

    pub fn is_written(&self) -> bool {
        self.resolver.is_some()
    }
}

/// The rows of `resolver` and `resolver_timeout`.
pub const DIRECTIVES: &[Directive<ResolverSettings>] = &[
    Directive {
        name: "resolver",
        contexts: CONTEXTS,
        args: Args::at_least(
            1,
            &[Value::Text],
            "address … [valid=time] [ipv4=on|off] [ipv6=on|off] [status_zone=zone]",
        ),
        repeat: Repeat::Once,
        default: None,
        doc: "Name servers (port 53 unless written; IPv6 in brackets) that are asked, in turn, for names that come \
              up at run time. Answers are kept as long as their TTL says, or for `valid=`; `ipv4=off` or `ipv6=off` \
              asks for no such addresses; `status_zone=` counts questions and answers under a name.",
        set: |settings, given| {
            settings.resolver = Some(Written::parse(given)?);
            Ok(())
        },
    },
    Directive {
        name: "resolver_timeout",
        contexts: CONTEXTS,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("30s"),
        doc: "How long a name may take to be resolved.",
        set: |settings, given| {
            settings.timeout = given.time(0)?;
            Ok(())
        },
    },
];

impl Written {
    fn parse(given: &Given<'_>) -> Result<Written, Diagnostic> {
        let mut settings = Settings::default();
        let mut servers = Vec::new();
        for (word, index) in given.words().iter().zip(0..) {
            let invalid = || given.error(index, format!("invalid parameter: {}", word.text));
            match word.text.split_once('=') {
                Some(("valid", time)) => {
                    // Nothing and zero are the same to nginx: the TTL holds.
                    let time = parse_time(time).ok_or_else(invalid)?;
                    settings.valid = Some(time).filter(|time| !time.is_zero());
                }
                Some(("ipv4", flag)) => settings.ipv4 = parse_flag(flag).ok_or_else(invalid)?,
                Some(("ipv6", flag)) => settings.ipv6 = parse_flag(flag).ok_or_else(invalid)?,
                Some(("status_zone", "")) => return Err(invalid()),
                Some(("status_zone", name)) => settings.status_zone = Some(name.into()),
                Some(_) => return Err(invalid()),
                None => {
                    let place = parse_server(&word.text).map_err(|problem| wrong_server(word, problem))?;
                    servers.push((word.clone(), place));
                }
            }
        }
        if servers.is_empty() {
            return Err(given.error(0, "no name servers defined"));
        }
        if !settings.ipv4 && !settings.ipv6 {
            return Err(given.error(0, "\"ipv4\" and \"ipv6\" cannot both be \"off\""));
        }
        Ok(Written { servers, rest: settings })
    }
}

fn wrong_server(word: &Word, problem: &str) -> Diagnostic {
    Diagnostic::error(word.span, format!("{problem} in resolver \"{}\"", word.text))
        .help("write an address, with a port if it is not 53: 127.0.0.1, 127.0.0.1:5353, [::1]:5353")
}

/// `address`, `address:port`, `name` or `name:port`; IPv6 in brackets.
fn parse_server(text: &str) -> Result<Place, &'static str> {
    let bracketed = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    if let Some(ip) = bracketed(text).or_else(|| text.parse().ok().map(IpAddr::V4)) {
        return Ok(Place::Address(SocketAddr::new(ip, DNS_PORT)));
    }
    match text.parse::<SocketAddr>() {
        Ok(server) if server.port() == 0 => Err("invalid port"),
        Ok(server) => Ok(Place::Address(server)),
        Err(_) => parse_name(text),
    }
}

fn parse_name(text: &str) -> Result<Place, &'static str> {
    let (host, port) = match text.split_once(':') {
        None => (text, DNS_PORT),
        Some((host, digits)) if !digits.contains(':') => {
            (host, digits.parse().ok().filter(|port| *port != 0).ok_or("invalid port")?)
        }
        Some(_) => return Err("invalid IPv6 address"),
    };
    match host {
        "" => Err("no host"),
        _ if host.contains(['/', '[', ']', '?']) => Err("invalid host"),
        _ => Ok(Place::Name { host: host.into(), port }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Registry;
    use fairlead_conf::{Cx, Span, Statement};
    use std::path::Path;

    fn parse(words: &[&str]) -> Result<Settings, String> {
        let word = |text: &str| Word { text: text.into(), span: Span::default(), quoted: false };
        let args = words.iter().map(|text| word(text)).collect();
        let statement = Statement { name: word("resolver"), args, block: None };
        let cx = Cx::new(Path::new("/"), Path::new("/"));
        let mut settings = ResolverSettings::default();
        let given = Given { statement: &statement, cx: &cx, context: Contexts::HTTP };
        (DIRECTIVES[0].set)(&mut settings, &given).map_err(|diagnostic| diagnostic.message)?;
        settled(&settings)
    }

    fn settled(settings: &ResolverSettings) -> Result<Settings, String> {
        let cx = Cx::new(Path::new("/"), Path::new("/"));
        let resolve = |name: &str| match name {
            "dns.example.test" => Ok(vec![[192, 0, 2, 53].into(), [192, 0, 2, 54].into()]),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let build = Build { cx: &cx, resolve: &resolve, logs: &Registry::default() };
        settings.settings(&build).map(Option::unwrap).map_err(|diagnostic| diagnostic.message)
    }

    #[test]
    fn resolver_takes_addresses_and_parameters() {
        let settings = parse(&["127.0.0.53", "valid=10s", "[::1]:5353", "[::1]", "10.0.0.1:54", "ipv6=off"]).unwrap();
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[::1]:5353", "[::1]:53", "10.0.0.1:54"]);
        assert_eq!(settings.valid, Some(Duration::from_secs(10)));
        assert!(settings.ipv4 && !settings.ipv6);
        assert_eq!(settings.timeout, Duration::from_secs(30));
        assert_eq!(parse(&["127.0.0.1", "valid=0"]).unwrap().valid, None);
        assert_eq!(parse(&["127.0.0.1", "status_zone=z"]).unwrap().status_zone.as_deref(), Some("z"));
    }

    #[test]
    fn a_name_server_may_be_named() {
        let settings = parse(&["dns.example.test:5353", "127.0.0.1"]).unwrap();
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:5353", "192.0.2.54:5353", "127.0.0.1:53"]);
    }

    #[test]
    fn resolver_refuses_what_it_cannot_use() {
        for (words, message) in [
            (&["valid=10s"][..], "no name servers defined"),
            (&["127.0.0.1", "valid=soon"], "invalid parameter: valid=soon"),
            (&["127.0.0.1", "ipv4=yes"], "invalid parameter: ipv4=yes"),
            (&["127.0.0.1", "ipv4=off", "ipv6=off"], "\"ipv4\" and \"ipv6\" cannot both be \"off\""),
            (&["127.0.0.1", "status_zone="], "invalid parameter: status_zone="),
            (&["127.0.0.1", "ttl=5"], "invalid parameter: ttl=5"),
            (&["nowhere.test"], "host not found in resolver \"nowhere.test\""),
            (&["dns.example.test:0"], "invalid port in resolver \"dns.example.test:0\""),
            (&[":53"], "no host in resolver \":53\""),
            (&["127.0.0.1:0"], "invalid port in resolver \"127.0.0.1:0\""),
            (&["::1"], "invalid IPv6 address in resolver \"::1\""),
        ] {
            assert_eq!(parse(words), Err(message.to_owned()));
        }
    }

    #[test]
    fn the_timeout_is_nginx_s_until_one_is_written() {
        let row = &DIRECTIVES[1];
        assert_eq!((row.name, row.default), ("resolver_timeout", Some("30s")));
        let word = |text: &str| Word { text: text.into(), span: Span::default(), quoted: false };
        let statement = Statement { name: word(row.name), args: vec![word("5s")], block: None };
        let cx = Cx::new(Path::new("/"), Path::new("/"));
        let server = Place::Address("127.0.0.1:53".parse().unwrap());
        let resolver = Written { servers: vec![(word("127.0.0.1"), server)], rest: Settings::default() };
        let mut settings = ResolverSettings { resolver: Some(resolver), ..ResolverSettings::default() };
        assert_eq!(settled(&settings).unwrap().timeout, Duration::from_secs(30));
        (row.set)(&mut settings, &Given { statement: &statement, cx: &cx, context: Contexts::HTTP }).unwrap();
        assert_eq!(settled(&settings).unwrap().timeout, Duration::from_secs(5));
    }

    #[test]
    fn no_resolver_is_in_force_until_one_is_written() {
        assert!(!ResolverSettings::default().is_written());
    }
}
