//! `limit_conn` for requests. Counting is core's; here are how a request renders
//! keys, how long it holds its places, and its refusal.

use super::Stop;
use crate::exchange::Exchange;
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_core::limit::{self, Gate, LimitStatus};
use fairlead_core::log::Level;
use std::fmt;

/// A `limit_conn_zone` compiled.
pub(crate) type Zone = limit::KeyedZone<Variable>;

/// A location's limits compiled.
pub(super) struct Limits {
    pub limits: limit::Limits,
    /// `limit_conn_status`.
    pub status: u16,
}

impl Gate for Exchange {
    type Variable = Variable;

    fn render(&self, key: &Template<Variable>, out: &mut Vec<u8>) {
        Exchange::render(self, key, out);
    }

    fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        Exchange::log(self, level, message);
    }
}

impl Limits {
    /// Counts the request in every zone, or in none; once, wherever it is moved to.
    ///
    /// # Errors
    /// One of its keys has as many as it may have, or there is no room for it.
    pub fn enter(&self, exchange: &mut Exchange) -> Result<(), Stop> {
        if self.limits.is_empty() || exchange.passed.connections.is_some() {
            return Ok(());
        }
        let worker = exchange.worker.clone();
        let entered = self.limits.enter(&worker.plan.conn_zones, &*exchange);
        (exchange.passed.connections, exchange.passed.held) = (entered.status, entered.held);
        match entered.status {
            Some(LimitStatus::Rejected) => Err(Stop::Refused(self.status)),
            Some(LimitStatus::Passed | LimitStatus::RejectedDryRun) | None => Ok(()),
        }
    }
}
