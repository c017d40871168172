//! The parameters of `health_check`, for the planes' rows.

use fairlead_conf::{Diagnostic, Given, Param, Value, Word, value};
use std::time::Duration;

/// `health_check`'s parameters.
#[derive(Clone, Debug)]
pub struct Settings {
    pub interval: Duration,
    pub jitter: Duration,
    pub fails: u32,
    pub passes: u32,
    /// http: what to ask for.
    pub uri: Box<str>,
    pub port: Option<u16>,
    pub mandatory: bool,
    pub persistent: bool,
    pub udp: bool,
    /// Zero: each check has a connection of its own.
    pub keepalive_time: Duration,
    /// Name of a `match` block and where it was named.
    pub matching: Option<Word>,
}

const fn param(name: &'static str, value: Option<Value>, doc: &'static str) -> Param {
    Param { name, value, doc }
}

const COUNT: Value = Value::Int(1..=1_000_000);

const INTERVAL: Param = param("interval", Some(Value::Time), "Time between two checks of a peer; 5s.");
const JITTER: Param = param("jitter", Some(Value::Time), "Delays each check by a random time up to this; 0.");
const FAILS: Param = param("fails", Some(COUNT), "Failed checks in a row after which a peer is unhealthy; 1.");
const PASSES: Param = param("passes", Some(COUNT), "Passed checks in a row after which a peer is healthy again; 1.");
const PORT: Param = param("port", Some(Value::Int(1..=65535)), "Port to check in place of the peer's own.");
const MANDATORY: Param = param("mandatory", None, "A peer gets no traffic before it has passed its first check.");
const PERSISTENT: Param = param("persistent", None, "With mandatory: a healthy peer stays healthy over a reload.");
const MATCH: Param = param("match", Some(Value::Text), "Name of the match block an answer has to pass.");

/// Parameters of `health_check` in `http`.
pub const HTTP_PARAMS: &[Param] = &[
    INTERVAL,
    JITTER,
    FAILS,
    PASSES,
    param("uri", Some(Value::Text), "What to ask for; /."),
    PORT,
    MANDATORY,
    PERSISTENT,
    MATCH,
    param("type", Some(Value::OneOf(&["http", "grpc"])), "Protocol of the check; grpc is not built in fairlead yet."),
    param("grpc_service", Some(Value::Text), "Not built in fairlead yet."),
    param("grpc_status", Some(Value::Text), "Not built in fairlead yet."),
    param(
        "keepalive_time",
        Some(Value::Time),
        "How long one connection serves the checks of a peer; 0, each has its own.",
    ),
];

/// Parameters of `health_check` in `stream`.
pub const STREAM_PARAMS: &[Param] = &[
    INTERVAL,
    JITTER,
    FAILS,
    PASSES,
    PORT,
    MANDATORY,
    PERSISTENT,
    MATCH,
    param("udp", None, "Checks by UDP in place of TCP."),
];

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            fails: 1,
            passes: 1,
            uri: "/".into(),
            port: None,
            mandatory: false,
            persistent: false,
            udp: false,
            keepalive_time: Duration::ZERO,
            matching: None,
        }
    }
}

impl Settings {
    /// Reads the parameters of a `health_check` statement.
    ///
    /// # Errors
    /// A value that does not parse or contradicts another.
    pub fn parse(given: &Given<'_>) -> Result<Settings, Diagnostic> {
        let mut settings = Settings::default();
        for (index, (name, value)) in given.params(0).enumerate() {
            settings.set(name, value.as_ref()).map_err(|problem| match problem {
                Problem::Invalid => given.error(index, format!("invalid parameter \"{}\"", given.text(index))),
                Problem::Unbuilt(what) => {
                    let error = given.error(index, format!("\"{what}\" is known to nginx, not built in fairlead yet"));
                    error.help("checks of gRPC services need HTTP/2 to the peers; ask them by HTTP/1.1 with uri=")
                }
            })?;
        }
        if settings.persistent && !settings.mandatory {
            let index = given.words().iter().position(|word| &*word.text == "persistent").unwrap_or_default();
            return Err(given.error(index, "\"persistent\" requires \"mandatory\"").help("add mandatory before it"));
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: Option<&Word>) -> Result<(), Problem> {
        let text = value.map_or("", |word| &*word.text);
        match name {
            "interval" => self.interval = time(text).filter(|interval| !interval.is_zero()).ok_or(Problem::Invalid)?,
            "jitter" => self.jitter = time(text).ok_or(Problem::Invalid)?,
            "fails" => self.fails = count(text).ok_or(Problem::Invalid)?,
            "passes" => self.passes = count(text).ok_or(Problem::Invalid)?,
            "uri" => self.uri = uri(text).ok_or(Problem::Invalid)?,
            "port" => self.port = Some(text.parse().ok().filter(|port| *port != 0).ok_or(Problem::Invalid)?),
            "mandatory" => self.mandatory = true,
            "persistent" => self.persistent = true,
            "udp" => self.udp = true,
            "match" => {
                self.matching = Some(value.filter(|word| !word.text.is_empty()).ok_or(Problem::Invalid)?.clone())
            }
            "type" if text == "http" => {}
            "type" => return Err(Problem::Unbuilt("type=grpc")),
            "grpc_service" => return Err(Problem::Unbuilt("grpc_service")),
            "grpc_status" => return Err(Problem::Unbuilt("grpc_status")),
            "keepalive_time" => self.keepalive_time = time(text).ok_or(Problem::Invalid)?,
            _ => return Err(Problem::Invalid),
        }
        Ok(())
    }
}

enum Problem {
    Invalid,
    Unbuilt(&'static str),
}

fn time(text: &str) -> Option<Duration> {
    value::parse_time(text)
}

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|count| *count > 0)
}

/// What may stand in a request line.
fn uri(text: &str) -> Option<Box<str>> {
    let sound = text.starts_with('/') && text.parse::<hyper::http::uri::PathAndQuery>().is_ok();
    sound.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::block::tests::{cx, statement};
    use fairlead_conf::Contexts;

    fn parse(words: &[&str]) -> Result<Settings, String> {
        let statement = statement("health_check", words);
        let cx = cx();
        let given = Given { statement: &statement, cx: &cx, context: Contexts::LOCATION };
        Settings::parse(&given).map_err(|diagnostic| diagnostic.message)
    }

    #[test]
    fn a_bare_health_check_has_nginx_s_defaults() {
        let settings = parse(&[]).unwrap();
        assert_eq!((settings.interval, settings.jitter), (Duration::from_secs(5), Duration::ZERO));
        assert_eq!((settings.fails, settings.passes, &*settings.uri, settings.port), (1, 1, "/", None));
        assert!(!settings.mandatory && !settings.persistent && !settings.udp && settings.matching.is_none());
    }

    #[test]
    fn every_parameter_is_read() {
        let words = "interval=1m30s jitter=100ms fails=3 passes=2 uri=/health?full=1 port=8081 mandatory persistent \
                     udp match=welcome type=http keepalive_time=1m";
        let settings = parse(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!((settings.interval, settings.jitter), (Duration::from_secs(90), Duration::from_millis(100)));
        assert_eq!((settings.fails, settings.passes, settings.port), (3, 2, Some(8081)));
        assert_eq!((&*settings.uri, settings.keepalive_time), ("/health?full=1", Duration::from_secs(60)));
        assert!(settings.mandatory && settings.persistent && settings.udp);
        assert_eq!(&*settings.matching.unwrap().text, "welcome");
    }

    #[test]
    fn wrong_and_unbuilt_parameters_are_named() {
        for wrong in ["interval=0", "interval=x", "fails=0", "port=0", "port=65536", "uri=health", "uri=/a b", "match="]
        {
            assert_eq!(parse(&[wrong]).unwrap_err(), format!("invalid parameter \"{wrong}\""));
        }
        for unbuilt in ["type=grpc", "grpc_service", "grpc_status"] {
            let message =
                parse(&[if unbuilt.contains('=') { unbuilt.into() } else { format!("{unbuilt}=1") }.as_str()]);
            assert_eq!(message.unwrap_err(), format!("\"{unbuilt}\" is known to nginx, not built in fairlead yet"));
        }
        assert_eq!(parse(&["persistent"]).unwrap_err(), "\"persistent\" requires \"mandatory\"");
    }
}
