//! `limit_conn` at work for both planes: zones with their keys compiled, the limits of one level,
//! and what becomes of one session or request. Rendering a key and writing a log line are the
//! plane's.

use super::{Conn, Held, Refusal, Zone, Zones};
use crate::log::Level;
use crate::variable::Compile;
use fairlead_conf::{Cx, Diagnostic, Template};
use std::fmt;

/// A `limit_conn_zone` compiled.
pub struct KeyedZone<V> {
    pub name: Box<str>,
    /// The key as it was written.
    text: Box<str>,
    key: Template<V>,
    pub counts: Zone,
}

impl<V> KeyedZone<V> {
    /// Zones that were there `before` with the same key go on counting. Problems go to `cx`.
    pub fn build(zones: &Zones, before: &[KeyedZone<V>], compile: Compile<'_, V>, cx: &Cx) -> Vec<KeyedZone<V>> {
        let compiled = zones.0.iter().map(|zone| {
            // One that is wrong stays in its place, so that what names it is not wrong too.
            let key = compile(&zone.key).unwrap_or_else(|diagnostic| {
                cx.report(diagnostic);
                Template { pieces: Vec::new() }
            });
            let known = before.iter().find(|known| known.name == zone.name && known.text == zone.key.text);
            let counts = known.map_or_else(|| Zone::new(zone.size), |known| known.counts.resized(zone.size));
            KeyedZone { name: zone.name.clone(), text: zone.key.text.clone(), key, counts }
        });
        compiled.collect()
    }
}

/// `$limit_conn_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitStatus {
    Passed,
    Rejected,
    RejectedDryRun,
}

impl LimitStatus {
    pub fn name(self) -> &'static str {
        match self {
            LimitStatus::Passed => "PASSED",
            LimitStatus::Rejected => "REJECTED",
            LimitStatus::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

/// A level's limits compiled.
#[derive(Debug)]
pub struct Limits {
    /// Index of the zone, and how many connections a key may have.
    limits: Vec<(usize, u32)>,
    dry_run: bool,
    level: Level,
}

/// What became of one session or request.
#[derive(Default)]
pub struct Entered {
    /// `None` when nothing was counted.
    pub status: Option<LimitStatus>,
    /// Its places, which it has until this is dropped.
    pub held: Vec<Held>,
}

/// How a plane renders keys and writes log lines.
pub trait Gate {
    type Variable;

    fn render(&self, key: &Template<Self::Variable>, out: &mut Vec<u8>);

    fn log(&self, level: Level, message: fmt::Arguments<'_>);
}

/// Longest key that is counted, as in nginx.
const LONGEST_KEY: usize = 255;

impl Limits {
    /// Unknown zones go to `cx`; `plane` is the block they are declared in.
    pub fn build<V>(settings: &Conn, zones: &[KeyedZone<V>], plane: &str, cx: &Cx) -> Limits {
        let mut limits = Vec::with_capacity(settings.limits.len());
        for limit in &settings.limits {
            let name = &limit.zone.text;
            match zones.iter().position(|zone| zone.name == *name) {
                Some(zone) => limits.push((zone, limit.connections)),
                None => {
                    let message = format!("zero size shared memory zone \"{name}\"");
                    let help = format!("declare it in {plane}: limit_conn_zone $binary_remote_addr zone={name}:1m;");
                    cx.report(Diagnostic::error(limit.zone.span, message).help(help));
                }
            }
        }
        Limits { limits, dry_run: settings.dry_run, level: settings.level }
    }

    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Every variable that a key may ask for.
    pub fn variables<'a, V>(&'a self, zones: &'a [KeyedZone<V>]) -> impl Iterator<Item = &'a V> {
        let used = self.limits.iter().filter_map(|(zone, _)| zones.get(*zone));
        used.flat_map(|zone| zone.key.variables())
    }

    /// Counts who comes in every zone, or in none. Zones that a key is empty for count nobody.
    pub fn enter<G: Gate>(&self, zones: &[KeyedZone<G::Variable>], gate: &G) -> Entered {
        let mut entered = Entered::default();
        let mut key = Vec::new();
        for (index, most) in &self.limits {
            let Some(zone) = zones.get(*index) else { continue };
            key.clear();
            gate.render(&zone.key, &mut key);
            if key.is_empty() {
                continue;
            }
            if key.len() > LONGEST_KEY {
                let (name, value) = (&zone.text, key.escape_ascii());
                let message = format_args!("the value of the \"{name}\" key is more than 255 bytes: \"{value}\"");
                gate.log(Level::Error, message);
                continue;
            }
            entered.status = Some(LimitStatus::Passed);
            match zone.counts.take(&key, *most) {
                Ok(held) => entered.held.push(held),
                Err(refusal) => return self.refuse(&zone.name, refusal, gate),
            }
        }
        entered
    }

    fn refuse<G: Gate>(&self, name: &str, refusal: Refusal, gate: &G) -> Entered {
        match refusal {
            Refusal::Limit => {
                let how = if self.dry_run { ", dry run," } else { "" };
                gate.log(self.level, format_args!("limiting connections{how} by zone \"{name}\""));
            }
            Refusal::Full => gate.log(Level::Crit, format_args!("no memory in limit_conn_zone \"{name}\"")),
        }
        let status = if self.dry_run { LimitStatus::RejectedDryRun } else { LimitStatus::Rejected };
        Entered { status: Some(status), held: Vec::new() }
    }
}
