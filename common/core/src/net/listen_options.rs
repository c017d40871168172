//! The parameters of `listen` that both planes have, as they are written.

use super::listen::{Keepalive, ListenOptions};
use fairlead_conf::{Param, Value, value};

/// One whose value [`ListenOptions::set`] checks.
const fn param(name: &'static str, value: &'static Value, doc: &'static str) -> Param {
    Param { name, value: Some(Value::Unchecked(value)), doc }
}

/// The parameters as rows name them.
impl ListenOptions {
    pub const BACKLOG: Param =
        param("backlog", &Value::Int(1..=i32::MAX as i64), "connections that may wait to be accepted");
    pub const RCVBUF: Param = param("rcvbuf", &Value::Size, "the kernel's receive buffer (`SO_RCVBUF`)");
    pub const SNDBUF: Param = param("sndbuf", &Value::Size, "the kernel's send buffer (`SO_SNDBUF`)");
    pub const FASTOPEN: Param =
        param("fastopen", &Value::Int(0..=i32::MAX as i64), "length of the TCP Fast Open queue");
    pub const IPV6ONLY: Param = param("ipv6only", &Value::Flag, "whether `[::]` takes IPv6 alone; `on` by default");
    pub const SO_KEEPALIVE: Param = param(
        "so_keepalive",
        &Value::OneOf(&["on", "off", "[idle]:[interval]:[count]"]),
        "probes of idle connections, and their times",
    );
    pub const SETFIB: Param = param("setfib", &Value::Int(0..=i64::MAX), "FreeBSD alone has it: refused");
    pub const ACCEPT_FILTER: Param =
        param("accept_filter", &Value::Text, "FreeBSD and NetBSD alone have it: ignored, aloud");
    pub const DEFERRED: Param =
        Param { name: "deferred", value: None, doc: "accepts connections when their first bytes are there" };
    pub const MULTIPATH: Param =
        Param { name: "multipath", value: None, doc: "takes connections of Multipath TCP too" };
}

impl ListenOptions {
    /// Takes the parameter `name=value`; false when it is none of these.
    ///
    /// # Errors
    /// A value it cannot have, in nginx's words.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "bind" | "reuseport" => {}
            "deferred" => self.deferred = true,
            "multipath" => self.multipath = true,
            "backlog" => match number(name, value)? {
                0 => return Err(invalid(name, value)),
                backlog => self.backlog = backlog,
            },
            "fastopen" => self.fastopen = Some(number(name, value)?),
            "rcvbuf" => self.rcvbuf = Some(size(name, value)?),
            "sndbuf" => self.sndbuf = Some(size(name, value)?),
            "ipv6only" if value.starts_with('o') => {
                self.ipv6only =
                    value::parse_flag(value).ok_or_else(|| format!("invalid ipv6only flags \"{value}\""))?;
            }
            "so_keepalive" => self.keepalive = Some(keepalive(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn invalid(name: &str, value: &str) -> String {
    format!("invalid {name} \"{name}={value}\"")
}

fn number(name: &str, value: &str) -> Result<i32, String> {
    value.parse().ok().filter(|number| *number >= 0).ok_or_else(|| invalid(name, value))
}

fn size(name: &str, value: &str) -> Result<usize, String> {
    let bytes = value::parse_size(value).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| invalid(name, value))
}

/// `on`, `off`, or `[idle]:[interval]:[count]` with at least one of them.
fn keepalive(value: &str) -> Result<Keepalive, String> {
    match value {
        "on" => return Ok(Keepalive::On { idle: None, interval: None, count: None }),
        "off" => return Ok(Keepalive::Off),
        _ => {}
    }
    let invalid = || format!("invalid so_keepalive value: \"{value}\"");
    let time = |part: Option<&str>| match part {
        None | Some("") => Ok(None),
        Some(text) => value::parse_time(text).map(Some).ok_or_else(invalid),
    };
    let mut parts = value.split(':');
    let (idle, interval) = (time(parts.next())?, time(parts.next())?);
    let count = match parts.next() {
        None | Some("") => None,
        Some(count) => Some(count.parse().map_err(|_| invalid())?),
    };
    if parts.next().is_some() || (idle.is_none() && interval.is_none() && count.is_none()) {
        return Err(invalid());
    }
    Ok(Keepalive::On { idle, interval, count })
}
