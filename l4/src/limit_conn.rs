//! `limit_conn` for sessions. Counting is core's; here are keys, log lines and
//! what `$limit_conn_status` says.

use crate::outcomes::Status;
use crate::phases::INITIALIZING;
use crate::plan::Plan;
use crate::record::Record;
use crate::variables::{Variable, compile};
use fairlead_conf::{Diagnostic, Template};
use fairlead_core::clock::tick;
use fairlead_core::limit::{self, Refusal};
use fairlead_core::log::Level;
use fairlead_core::plan::Build;

/// A `limit_conn_zone` compiled.
pub(crate) struct Zone {
    pub name: Box<str>,
    /// As it was written.
    text: Box<str>,
    key: Template<Variable>,
    pub counts: limit::Zone,
}

impl Zone {
    /// Zones that `previous` has too, with the same key, go on counting. Problems go to `build.cx`.
    pub fn build(zones: &limit::Zones, previous: Option<&Plan>, build: &Build<'_>) -> Vec<Zone> {
        let compiled = zones.0.iter().map(|zone| {
            // One that is wrong stays in its place, so that what names it is not wrong too.
            let key = compile(&zone.key, build.cx).unwrap_or_else(|diagnostic| {
                build.cx.report(diagnostic);
                Template { pieces: Vec::new() }
            });
            let mut known = previous.iter().flat_map(|plan| &plan.limit_zones);
            let known = known.find(|known| known.name == zone.name && known.text == zone.key.text);
            let counts = known.map_or_else(|| limit::Zone::new(zone.size), |known| known.counts.resized(zone.size));
            Zone { name: zone.name.clone(), text: zone.key.text.clone(), key, counts }
        });
        compiled.collect()
    }
}

/// `$limit_conn_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitStatus {
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

/// A server's limits compiled.
pub(crate) struct Limits {
    /// Index of the zone, and how many connections a key may have.
    limits: Vec<(usize, u32)>,
    dry_run: bool,
    level: Level,
}

/// Longest key that is counted, as in nginx.
const LONGEST_KEY: usize = 255;

impl Limits {
    /// Unknown zones go to `build.cx`.
    pub fn build(settings: &limit::Conn, zones: &[Zone], build: &Build<'_>) -> Option<Limits> {
        let mut limits = Vec::with_capacity(settings.limits.len());
        for limit in &settings.limits {
            let name = &limit.zone.text;
            match zones.iter().position(|zone| zone.name == *name) {
                Some(zone) => limits.push((zone, limit.connections)),
                None => {
                    let message = format!("zero size shared memory zone \"{name}\"");
                    let help = format!("declare it in stream: limit_conn_zone $binary_remote_addr zone={name}:1m;");
                    build.cx.report(Diagnostic::error(limit.zone.span, message).help(help));
                }
            }
        }
        (limits.len() == settings.limits.len()).then_some(Limits {
            limits,
            dry_run: settings.dry_run,
            level: settings.level,
        })
    }

    pub fn variables<'a>(&'a self, zones: &'a [Zone]) -> impl Iterator<Item = &'a Variable> {
        let used = self.limits.iter().filter_map(|(zone, _)| zones.get(*zone));
        used.flat_map(|zone| zone.key.variables())
    }

    /// Counts the session in every zone, or in none.
    ///
    /// # Errors
    /// One of its keys has as many as it may have, or there is no room for it.
    pub fn enter(&self, record: &mut Record) -> Result<(), Status> {
        if self.limits.is_empty() {
            return Ok(());
        }
        let (worker, now) = (record.worker.clone(), tick());
        let mut key = Vec::new();
        for (index, most) in &self.limits {
            let Some(zone) = worker.plan.limit_zones.get(*index) else { continue };
            key.clear();
            record.render(&zone.key, now, &mut key);
            if key.is_empty() {
                continue;
            }
            if key.len() > LONGEST_KEY {
                let (name, value) = (&zone.text, key.escape_ascii());
                let message = format_args!("the value of the \"{name}\" key is more than 255 bytes: \"{value}\"");
                record.log(Level::Error, INITIALIZING, message);
                continue;
            }
            record.limit_status = Some(LimitStatus::Passed);
            match zone.counts.take(&key, *most) {
                Ok(held) => record.held.push(held),
                Err(refusal) => return self.refuse(record, zone, refusal),
            }
        }
        Ok(())
    }

    fn refuse(&self, record: &mut Record, zone: &Zone, refusal: Refusal) -> Result<(), Status> {
        let name = &zone.name;
        match refusal {
            Refusal::Limit => {
                let how = if self.dry_run { ", dry run," } else { "" };
                let message = format_args!("limiting connections{how} by zone \"{name}\"");
                record.log(self.level, INITIALIZING, message);
            }
            Refusal::Full => {
                let message = format_args!("no memory in limit_conn_zone \"{name}\"");
                record.log(Level::Crit, INITIALIZING, message);
            }
        }
        record.held = Vec::new();
        if self.dry_run {
            record.limit_status = Some(LimitStatus::RejectedDryRun);
            return Ok(());
        }
        record.limit_status = Some(LimitStatus::Rejected);
        Err(Status::Unavailable)
    }
}
