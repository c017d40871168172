//! `limit_conn` for sessions. Counting is core's; here are how a session renders
//! keys and what a refusal comes to.

use crate::outcomes::Status;
use crate::phases::INITIALIZING;
use crate::record::Record;
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::clock::tick;
use fairlead_core::limit::{self, Gate};
use fairlead_core::log::Level;
use std::fmt;

pub(crate) use fairlead_core::limit::{LimitStatus, Limits};

/// A `limit_conn_zone` compiled.
pub(crate) type Zone = limit::KeyedZone<Variable>;

impl Gate for Record {
    type Variable = Variable;

    fn render(&self, key: &Template<Variable>, out: &mut Vec<u8>) {
        Record::render(self, key, tick(), out);
    }

    fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        Record::log(self, level, INITIALIZING, message);
    }
}

/// Counts the session in every zone, or in none.
///
/// # Errors
/// One of its keys has as many as it may have, or there is no room for it.
pub(crate) fn enter(record: &mut Record, limits: &Limits) -> Result<(), Status> {
    if limits.is_empty() {
        return Ok(());
    }
    let worker = record.worker.clone();
    let entered = limits.enter(&worker.plan.limit_zones, &*record);
    (record.limit_status, record.held) = (entered.status, entered.held);
    match entered.status {
        Some(LimitStatus::Rejected) => Err(Status::Unavailable),
        Some(LimitStatus::Passed | LimitStatus::RejectedDryRun) | None => Ok(()),
    }
}
