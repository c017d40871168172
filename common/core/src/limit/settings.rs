//! The rows of `limit_conn_zone`, `limit_conn` and what goes with them, for both planes. Keys are
//! the plane's to compile; a zone is looked up by name once all of them are known.

use crate::log::Level;
use fairlead_conf::value::{parse_int, parse_size};
use fairlead_conf::{Args, Contexts, Diagnostic, Directive, Given, Repeat, Value, Word};

const PLANES: Contexts = Contexts::STREAM.or(Contexts::HTTP);
const EVERYWHERE: Contexts = PLANES.or(Contexts::STREAM_SERVER).or(Contexts::SERVER).or(Contexts::LOCATION);

/// The `limit_conn_zone`s of a plane.
#[derive(Clone, Debug, Default)]
pub struct Zones(pub Vec<ZoneSettings>);

#[derive(Clone, Debug)]
pub struct ZoneSettings {
    pub name: Box<str>,
    /// What connections are counted by, in the plane's variables.
    pub key: Word,
    /// Bytes.
    pub size: u64,
}

/// The smallest zone nginx takes: eight pages.
const LEAST: u64 = 32 << 10;

pub const ZONE_DIRECTIVES: &[Directive<Zones>] = &[Directive {
    name: "limit_conn_zone",
    contexts: PLANES,
    args: Args::exactly(&[Value::Template, Value::Text], "key zone=name:size"),
    repeat: Repeat::Append,
    default: None,
    doc: "A table of connections in progress by key, shared by all workers; `limit_conn` names it. Connections with \
          an empty key are not counted. A key of up to 28 bytes takes 64 bytes of the size, which is at least 32k; \
          connections with new keys are turned away while there is no room.",
    set: |zones, given| {
        let zone = zone(given)?;
        if let Some(other) = zones.0.iter().find(|other| other.name == zone.name) {
            return Err(conflict(given, &zone, other));
        }
        zones.0.push(zone);
        Ok(())
    },
}];

fn zone(given: &Given<'_>) -> Result<ZoneSettings, Diagnostic> {
    let text = given.text(1);
    let error = |message: String| given.error(1, message).help("write zone=name:size, as zone=perip:10m");
    let Some(value) = text.strip_prefix("zone=") else {
        return Err(error(format!("invalid parameter \"{text}\"")));
    };
    let invalid = || error(format!("invalid zone size \"{text}\""));
    let (name, size) = value.split_once(':').ok_or_else(invalid)?;
    let size = parse_size(size).ok_or_else(invalid)?;
    if size < LEAST {
        return Err(given.error(1, format!("zone \"{text}\" is too small")).help("the least is 32k"));
    }
    if name.is_empty() {
        return Err(error("\"limit_conn_zone\" must have \"zone\" parameter".into()));
    }
    Ok(ZoneSettings { name: name.into(), key: given.word(0).clone(), size })
}

fn conflict(given: &Given<'_>, zone: &ZoneSettings, other: &ZoneSettings) -> Diagnostic {
    let name = &zone.name;
    if zone.size != other.size {
        let (size, declared) = (zone.size, other.size);
        let message =
            format!("the size {size} of shared memory zone \"{name}\" conflicts with already declared size {declared}");
        return given.error(1, message).help("give each zone a name of its own");
    }
    let key = &other.key.text;
    let message = format!("limit_conn_zone \"{name}\" is already bound to key \"{key}\"");
    given.error(0, message).help("give each zone a name of its own")
}

/// What one level says about connections in progress.
#[derive(Clone, Debug)]
pub struct Conn {
    pub limits: Vec<Limit>,
    /// Excess is logged and shown, but nobody is turned away.
    pub dry_run: bool,
    pub level: Level,
}

/// One `limit_conn`.
#[derive(Clone, Debug)]
pub struct Limit {
    pub zone: Word,
    pub connections: u32,
}

impl Default for Conn {
    fn default() -> Conn {
        Conn { limits: Vec::new(), dry_run: false, level: Level::Error }
    }
}

pub const CONN_DIRECTIVES: &[Directive<Conn>] = &[
    Directive {
        name: "limit_conn",
        contexts: EVERYWHERE,
        args: Args::exactly(&[Value::Text, Value::Text], "zone number"),
        repeat: Repeat::List(|conn| conn.limits.clear()),
        default: None,
        doc: "How many connections with the same key may be in progress, from 1 to 65535; more are turned away with \
              503. Several limits may stand together, each with a zone of its own.",
        set: |conn, given| {
            let limit = limit(given)?;
            if conn.limits.iter().any(|other| other.zone.text == limit.zone.text) {
                let message = "\"limit_conn\" directive is duplicate";
                return Err(given.error(0, message).help("the block has a limit for this zone already"));
            }
            conn.limits.push(limit);
            Ok(())
        },
    },
    Directive {
        name: "limit_conn_dry_run",
        contexts: EVERYWHERE,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Logs what `limit_conn` would turn away, and lets it in.",
        set: |conn, given| given.flag(0).map(|on| conn.dry_run = on),
    },
    Directive {
        name: "limit_conn_log_level",
        contexts: EVERYWHERE,
        args: Args::exactly(&[Value::OneOf(&["info", "notice", "warn", "error"])], "info | notice | warn | error"),
        repeat: Repeat::Once,
        default: Some("error"),
        doc: "Level of the log lines about connections turned away by `limit_conn`.",
        set: |conn, given| {
            conn.level = Level::from_name(given.text(0)).unwrap_or(Level::Error);
            Ok(())
        },
    },
];

fn limit(given: &Given<'_>) -> Result<Limit, Diagnostic> {
    let text = given.text(1);
    let number = parse_int(text).filter(|number| *number > 0).ok_or_else(|| {
        let message = format!("invalid number of connections \"{text}\"");
        given.error(1, message).help("a number from 1 to 65535")
    })?;
    match u32::try_from(number) {
        Ok(connections) if connections < 65_536 => Ok(Limit { zone: given.word(0).clone(), connections }),
        _ => Err(given.error(1, "connection limit must be less 65536").help("a number from 1 to 65535")),
    }
}
