//! The rows of `resolver` and `resolver_timeout`, for both planes.

use super::Settings;
use fairlead_conf::value::{parse_flag, parse_time};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value};
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
    resolver: Option<Settings>,
    timeout: Duration,
}

impl Default for ResolverSettings {
    fn default() -> ResolverSettings {
        ResolverSettings { resolver: None, timeout: Settings::default().timeout }
    }
}

impl ResolverSettings {
    /// Both directives together; `None` when no `resolver` is in force.
    pub fn settings(&self) -> Option<Settings> {
        let resolver = self.resolver.clone()?;
        Some(Settings { timeout: self.timeout, ..resolver })
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
            "address ... [valid=time] [ipv4=on|off] [ipv6=on|off] [status_zone=zone]",
        ),
        repeat: Repeat::Once,
        default: None,
        doc: "Name servers that are asked, in turn, for names that come up at run time. Answers are kept as \
              long as their TTL says, or for `valid=`; `ipv4=off` or `ipv6=off` asks for no such addresses.",
        set: |settings, given| {
            settings.resolver = Some(Settings::parse(given)?);
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

impl Settings {
    /// The arguments of `resolver`; the timeout is another directive's and stays at its default.
    ///
    /// # Errors
    /// What is wrong, in nginx's words where it has them.
    pub fn parse(given: &Given<'_>) -> Result<Settings, Diagnostic> {
        let mut settings = Settings::default();
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
                Some(("status_zone", _)) => {
                    return Err(given.error(index, "\"status_zone\" is known to nginx, not built in fairlead yet"));
                }
                _ => settings.servers.push(parse_server(&word.text).map_err(|problem| {
                    given
                        .error(index, format!("{problem} in resolver \"{}\"", word.text))
                        .help("write an address, with a port if it is not 53: 127.0.0.1, 127.0.0.1:5353, [::1]:5353")
                })?),
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
}

/// `address` or `address:port`; IPv6 in brackets. A name would have to be resolved first.
fn parse_server(text: &str) -> Result<SocketAddr, &'static str> {
    let bracketed = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    if let Some(ip) = bracketed(text).or_else(|| text.parse().ok().map(IpAddr::V4)) {
        return Ok(SocketAddr::new(ip, DNS_PORT));
    }
    match text.parse::<SocketAddr>() {
        Ok(server) if server.port() == 0 => Err("invalid port"),
        Ok(server) => Ok(server),
        Err(_) => Err("no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_conf::{Cx, Span, Statement, Word};
    use std::path::Path;

    fn parse(words: &[&str]) -> Result<Settings, String> {
        let word = |text: &str| Word { text: text.into(), span: Span::default(), quoted: false };
        let args = words.iter().map(|text| word(text)).collect();
        let statement = Statement { name: word("resolver"), args, block: None };
        let cx = Cx::new(Path::new("/"), Path::new("/"));
        let mut settings = ResolverSettings::default();
        let given = Given { statement: &statement, cx: &cx, context: Contexts::HTTP };
        (DIRECTIVES[0].set)(&mut settings, &given).map_err(|diagnostic| diagnostic.message)?;
        Ok(settings.settings().unwrap())
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
    }

    #[test]
    fn resolver_refuses_what_it_cannot_use() {
        for (words, message) in [
            (&["valid=10s"][..], "no name servers defined"),
            (&["127.0.0.1", "valid=soon"], "invalid parameter: valid=soon"),
            (&["127.0.0.1", "ipv4=yes"], "invalid parameter: ipv4=yes"),
            (&["127.0.0.1", "ipv4=off", "ipv6=off"], "\"ipv4\" and \"ipv6\" cannot both be \"off\""),
            (&["127.0.0.1", "status_zone=z"], "\"status_zone\" is known to nginx, not built in fairlead yet"),
            (&["dns.example.test"], "no address in resolver \"dns.example.test\""),
            (&["127.0.0.1:0"], "invalid port in resolver \"127.0.0.1:0\""),
            (&["::1"], "no address in resolver \"::1\""),
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
        let resolver = Some(parse(&["127.0.0.1"]).unwrap());
        let mut settings = ResolverSettings { resolver, ..ResolverSettings::default() };
        assert_eq!(settings.settings().unwrap().timeout, Duration::from_secs(30));
        (row.set)(&mut settings, &Given { statement: &statement, cx: &cx, context: Contexts::HTTP }).unwrap();
        assert_eq!(settings.settings().unwrap().timeout, Duration::from_secs(5));
    }

    #[test]
    fn no_resolver_is_in_force_until_one_is_written() {
        assert_eq!(ResolverSettings::default().settings(), None);
    }
}
