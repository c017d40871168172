//! `limit_req`: how fast requests of one key may come. Buckets are core's; here
//! are rows, keys, log lines, and the wait of those that came too early.

use super::{Stop, pause};
use crate::client::Client;
use crate::directives::{ALL, HTTP};
use crate::exchange::Exchange;
use crate::variables::{Variable, compile};
use fairlead_conf::value::{parse_int, parse_size};
use fairlead_conf::{Args, Cx, Diagnostic, Directive, Given, Repeat, Template, Value, Word};
use fairlead_core::clock::tick;
use fairlead_core::limit::{Buckets, TooMuch};
use fairlead_core::log::Level;
use std::time::Duration;

/// One `limit_req_zone`.
pub(crate) struct ZoneSettings {
    name: Box<str>,
    key: Word,
    /// Bytes.
    size: u64,
    /// Thousandths of a request in a second.
    rate: u64,
}

/// The smallest zone nginx takes: eight pages.
const LEAST: u64 = 32 << 10;

pub(crate) const ZONES: &[Directive<Vec<ZoneSettings>>] = &[Directive {
    name: "limit_req_zone",
    contexts: HTTP,
    args: Args::exactly(&[Value::Template, Value::Text, Value::Text], "key zone=name:size rate=rate"),
    repeat: Repeat::Append,
    default: None,
    doc: "A table of request rates by key, shared by all workers; `limit_req` names it. The rate is in requests a \
          second (`10r/s`) or a minute (`30r/m`), and is kept to the millisecond. Requests with an empty key are not \
          counted. A key of up to 48 bytes takes 128 bytes of the size, which is at least 32k; in a full table new \
          keys take the place of those that were away longest.",
    set: |zones, given| {
        let zone = zone(given)?;
        if let Some(other) = zones.iter().find(|other| other.name == zone.name) {
            let (name, key) = (&other.name, &other.key.text);
            let message = format!("limit_req_zone \"{name}\" is already bound to key \"{key}\"");
            return Err(given.error(1, message).help("give each zone a name of its own"));
        }
        zones.push(zone);
        Ok(())
    },
}];

fn zone(given: &Given<'_>) -> Result<ZoneSettings, Diagnostic> {
    let mut zone = ZoneSettings { name: "".into(), key: given.word(0).clone(), size: 0, rate: 1000 };
    for index in 1..given.len() {
        let text = given.text(index);
        if let Some(value) = text.strip_prefix("zone=") {
            let sized = value.split_once(':').and_then(|(name, size)| Some((name, parse_size(size)?)));
            let (name, size) = sized.ok_or_else(|| {
                given
                    .error(index, format!("invalid zone size \"{text}\""))
                    .help("write zone=name:size, as zone=perip:10m")
            })?;
            if size < LEAST {
                return Err(given.error(index, format!("zone \"{text}\" is too small")).help("the least is 32k"));
            }
            (zone.name, zone.size) = (name.into(), size);
        } else if let Some(value) = text.strip_prefix("rate=") {
            zone.rate = rate(value).ok_or_else(|| {
                let wrong = given.error(index, format!("invalid rate \"{text}\""));
                wrong.help("write a number of requests a second (rate=10r/s) or a minute (rate=30r/m)")
            })?;
        } else {
            return Err(given.error(index, format!("invalid parameter \"{text}\"")));
        }
    }
    if zone.name.is_empty() {
        return Err(given.error(1, "\"limit_req_zone\" must have \"zone\" parameter"));
    }
    Ok(zone)
}

/// Thousandths of a request in a second.
fn rate(text: &str) -> Option<u64> {
    let (number, scale) = match text.strip_suffix("r/m") {
        Some(number) => (number, 60),
        None => (text.strip_suffix("r/s").unwrap_or(text), 1),
    };
    let number = parse_int(number).filter(|number| *number > 0)?;
    u64::try_from(number).ok()?.checked_mul(1000).map(|rate| rate / scale)
}

/// What one level says about request rates.
#[derive(Clone)]
pub(crate) struct Settings {
    limits: Vec<Limit>,
    dry_run: bool,
    level: Level,
    status: u16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { limits: Vec::new(), dry_run: false, level: Level::Error, status: 503 }
    }
}

/// One `limit_req`, in thousandths of a request.
#[derive(Clone)]
struct Limit {
    zone: Word,
    burst: u64,
    /// So much of the excess does not wait.
    delay: u64,
}

pub(super) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "limit_req",
        contexts: ALL,
        args: Args::between(1, 3, &[Value::Text], "zone=name [burst=number] [nodelay | delay=number]"),
        repeat: Repeat::List(|settings| settings.limits.clear()),
        default: None,
        doc: "Holds requests to the rate of a zone: those that come earlier wait their turn, up to `burst` of them (0 \
              unless written); more are turned away with 503. With `nodelay` none of the burst waits, with \
              `delay=number` so many do not. Several limits may stand together, each with a zone of its own.",
        set: |settings, given| {
            let limit = limit(given)?;
            if settings.limits.iter().any(|other| other.zone.text == limit.zone.text) {
                return Err(given.error(0, "\"limit_req\" directive is duplicate"));
            }
            settings.limits.push(limit);
            Ok(())
        },
    },
    Directive {
        name: "limit_req_dry_run",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Counts and logs what `limit_req` would turn away or hold up, and lets it through.",
        set: |settings, given| given.flag(0).map(|on| settings.dry_run = on),
    },
    Directive {
        name: "limit_req_log_level",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["info", "notice", "warn", "error"])], "info | notice | warn | error"),
        repeat: Repeat::Once,
        default: Some("error"),
        doc: "Level of the log lines about requests turned away by `limit_req`; those about requests that wait are \
              one level lower.",
        set: |settings, given| {
            settings.level = Level::from_name(given.text(0)).unwrap_or(Level::Error);
            Ok(())
        },
    },
    Directive {
        name: "limit_req_status",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(400..=599)], "code"),
        repeat: Repeat::Once,
        default: Some("503"),
        doc: "Status of a request refused by `limit_req`, from 400 to 599.",
        set: |settings, given| given.int(0).map(|code| settings.status = u16::try_from(code).unwrap_or(503)),
    },
];

fn limit(given: &Given<'_>) -> Result<Limit, Diagnostic> {
    let (mut zone, mut burst, mut delay) = (None, 0, 0);
    for (index, word) in given.words().iter().enumerate() {
        let number = |text: &str, name: &str| {
            let number = parse_int(text).filter(|number| *number > 0).and_then(|number| u64::try_from(number).ok());
            let number = number.and_then(|number| number.checked_mul(1000));
            number.ok_or_else(|| given.error(index, format!("invalid {name} value \"{}\"", word.text)))
        };
        match word.text.split_once('=') {
            Some(("zone", _)) => zone = Some(word.tail("zone=".len())),
            Some(("burst", text)) => burst = number(text, "burst")?,
            Some(("delay", text)) => delay = number(text, "delay")?,
            None if &*word.text == "nodelay" => delay = u64::MAX,
            _ => return Err(given.error(index, format!("invalid parameter \"{}\"", word.text))),
        }
    }
    let missing = || given.error(0, "\"limit_req\" must have \"zone\" parameter").help("write limit_req zone=name;");
    let zone = zone.filter(|zone| !zone.text.is_empty()).ok_or_else(missing)?;
    Ok(Limit { zone, burst, delay })
}

/// A `limit_req_zone` compiled.
pub(crate) struct Zone {
    name: Box<str>,
    /// The key as it was written.
    text: Box<str>,
    key: Template<Variable>,
    buckets: Buckets,
}

impl Zone {
    /// Zones that were there `before` with the same key go on. Problems go to `cx`.
    pub fn build(zones: &[ZoneSettings], before: &[Zone], cx: &Cx) -> Vec<Zone> {
        let compiled = zones.iter().map(|zone| {
            let ZoneSettings { name, key: Word { text, .. }, size, rate } = zone;
            // One that is wrong stays in its place, so that what names it is not wrong too.
            let key = compile(&zone.key, cx).unwrap_or_else(|diagnostic| {
                cx.report(diagnostic);
                Template { pieces: Vec::new() }
            });
            let known = before.iter().find(|known| known.name == *name && known.text == *text);
            let buckets = known.map_or_else(|| Buckets::new(*size, *rate), |known| known.buckets.renewed(*size, *rate));
            Zone { name: name.clone(), text: text.clone(), key, buckets }
        });
        compiled.collect()
    }
}

/// `$limit_req_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReqStatus {
    Passed,
    Delayed,
    Rejected,
    DelayedDryRun,
    RejectedDryRun,
}

impl ReqStatus {
    pub fn name(self) -> &'static str {
        match self {
            ReqStatus::Passed => "PASSED",
            ReqStatus::Delayed => "DELAYED",
            ReqStatus::Rejected => "REJECTED",
            ReqStatus::DelayedDryRun => "DELAYED_DRY_RUN",
            ReqStatus::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

/// A location's limits compiled.
pub(super) struct Limits {
    /// With the index of the zone.
    limits: Vec<(usize, Limit)>,
    dry_run: bool,
    level: Level,
    status: u16,
}

/// What the buckets say.
enum Count {
    Nothing,
    /// Milliseconds to wait, and for which excess in which zone.
    Counted {
        wait: u64,
        excess: u64,
        zone: usize,
    },
    Refused(usize, TooMuch),
}

/// Longest key that is counted, as in nginx.
const LONGEST_KEY: usize = 65_535;

impl Limits {
    /// Unknown zones go to `cx`.
    pub fn build(settings: &Settings, zones: &[Zone], cx: &Cx) -> Limits {
        let mut limits = Vec::with_capacity(settings.limits.len());
        for limit in &settings.limits {
            let name = &limit.zone.text;
            match zones.iter().position(|zone| zone.name == *name) {
                Some(zone) => limits.push((zone, limit.clone())),
                None => {
                    let message = format!("zero size shared memory zone \"{name}\"");
                    let help =
                        format!("declare it in http: limit_req_zone $binary_remote_addr zone={name}:1m rate=10r/s;");
                    cx.report(Diagnostic::error(limit.zone.span, message).help(help));
                }
            }
        }
        Limits { limits, dry_run: settings.dry_run, level: settings.level, status: settings.status }
    }

    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Counts the request, once wherever it is moved to, and lets it wait its turn.
    ///
    /// # Errors
    /// It came too early, or its client left while it waited.
    pub async fn enter(&self, client: &mut Client, exchange: &mut Exchange) -> Result<(), Stop> {
        if self.limits.is_empty() || exchange.passed.requests.is_some() {
            return Ok(());
        }
        let worker = exchange.worker.clone();
        let zones = &worker.plan.req_zones;
        match self.count(exchange, zones) {
            Count::Nothing => Ok(()),
            Count::Refused(zone, why) => {
                let name = zones.get(zone).map_or("", |zone| &zone.name);
                self.refuse(exchange, name, why)
            }
            Count::Counted { wait: 0, .. } => {
                exchange.passed.requests = Some(ReqStatus::Passed);
                Ok(())
            }
            Count::Counted { wait, excess, zone } => {
                let (name, how) = (zones.get(zone).map_or("", |zone| &zone.name), self.how());
                let level = match self.level {
                    Level::Error => Level::Warn,
                    Level::Warn => Level::Notice,
                    _ => Level::Info,
                };
                let excess = Thousandths(excess);
                exchange.log(level, format_args!("delaying request{how}, excess: {excess}, by zone \"{name}\""));
                if self.dry_run {
                    exchange.passed.requests = Some(ReqStatus::DelayedDryRun);
                    return Ok(());
                }
                exchange.passed.requests = Some(ReqStatus::Delayed);
                pause(client, exchange, Duration::from_millis(wait)).await
            }
        }
    }

    /// Asks all zones, and counts in all or in none.
    fn count(&self, exchange: &Exchange, zones: &[Zone]) -> Count {
        let now = tick();
        let mut keys: Vec<(&Zone, &(usize, Limit), Vec<u8>)> = Vec::with_capacity(self.limits.len());
        for limit in &self.limits {
            let Some(zone) = zones.get(limit.0) else { continue };
            let mut key = Vec::new();
            exchange.render(&zone.key, &mut key);
            if key.len() > LONGEST_KEY {
                let (name, value) = (&zone.text, key.escape_ascii());
                let message = format_args!("the value of the \"{name}\" key is more than 65535 bytes: \"{value}\"");
                exchange.log(Level::Error, message);
            } else if !key.is_empty() {
                keys.push((zone, limit, key));
            }
        }
        let Some((last, before)) = keys.split_last() else { return Count::Nothing };
        for (zone, (index, limit), key) in before {
            if let Err(why) = zone.buckets.look(key, limit.burst, now) {
                return Count::Refused(*index, why);
            }
        }
        let mut longest = Count::Nothing;
        let mut most = 0;
        // The last one decides and counts; the others have said yes and count behind it.
        for (place, (zone, (index, limit), key)) in std::iter::once(last).chain(before.iter().rev()).enumerate() {
            let burst = if place == 0 { limit.burst } else { u64::MAX };
            let excess = match zone.buckets.take(key, burst, now) {
                Ok(excess) => excess,
                Err(why) => return Count::Refused(*index, why),
            };
            let wait = zone.buckets.wait(excess, limit.delay);
            if place == 0 || wait > most {
                most = wait;
                longest = Count::Counted { wait, excess, zone: *index };
            }
        }
        longest
    }

    fn refuse(&self, exchange: &mut Exchange, name: &str, why: TooMuch) -> Result<(), Stop> {
        let how = self.how();
        match why {
            TooMuch::Excess(excess) => {
                let excess = Thousandths(excess);
                let message = format_args!("limiting requests{how}, excess: {excess} by zone \"{name}\"");
                exchange.log(self.level, message);
            }
            TooMuch::Full => {
                exchange.log(Level::Alert, format_args!("could not allocate node in limit_req zone \"{name}\""));
            }
        }
        if self.dry_run {
            exchange.passed.requests = Some(ReqStatus::RejectedDryRun);
            return Ok(());
        }
        exchange.passed.requests = Some(ReqStatus::Rejected);
        Err(Stop::Refused(self.status))
    }

    fn how(&self) -> &'static str {
        if self.dry_run { ", dry run" } else { "" }
    }
}

/// `0.500`.
struct Thousandths(u64);

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
