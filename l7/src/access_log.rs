//! The lines a request leaves: access logs, and error log lines with their tail.

use crate::content::folder;
use crate::exchange::Exchange;
use fairlead_core::log::{Level, is_true, push_escaped};
use std::fmt;

/// One line per `access_log` in force.
pub(crate) fn write(exchange: &Exchange) {
    for access in &exchange.location.access_logs {
        if let Some(condition) = &access.condition {
            let mut value = Vec::new();
            exchange.render(condition, &mut value);
            if !is_true(&value) {
                continue;
            }
        }
        let logs = &exchange.worker.context.logs;
        let line = |out: &mut Vec<u8>| {
            access.format.render(out, |variable, out| {
                push_escaped(access.escape, out, |out| exchange.push_value(variable, out));
            });
        };
        let Some(path) = &access.path else {
            logs.line(&access.log, line);
            continue;
        };
        let mut name = Vec::new();
        exchange.render(path, &mut name);
        // Nothing in a name can end it early.
        name.retain(|byte| *byte != 0);
        logs.line_under(&folder(exchange), (&name, &access.log), line);
    }
}

impl Exchange {
    /// One error log line with what nginx says about a request: client, server, request, upstream, host.
    pub(crate) fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let log = &self.location.error_log;
        if log.wants(level) {
            log.write(level, self.connection.number, format_args!("{message}{}", About(self)));
        }
    }
}

/// `, client: …, server: …, request: "…", upstream: "…", host: "…", referrer: "…"`.
pub(crate) struct About<'a>(pub &'a Exchange);

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        match exchange.connection.client.ip() {
            Some(ip) => write!(f, ", client: {ip}")?,
            None => write!(f, ", client: unix:")?,
        }
        write!(f, ", server: {}", exchange.server.name)?;
        let line = exchange.request.line_bytes();
        if !line.is_empty() {
            write!(f, ", request: \"{}\"", String::from_utf8_lossy(line))?;
        }
        if exchange.is_subrequest() {
            write!(f, ", subrequest: \"{}\"", String::from_utf8_lossy(&exchange.uri))?;
        }
        if let Some(attempt) = exchange.attempts.last() {
            let peer = attempt.peer.as_ref().map_or(&attempt.group, |peer| &peer.name);
            let colon = if peer.starts_with("unix:") { ":" } else { "" };
            let uri = String::from_utf8_lossy(&exchange.peer_uri);
            write!(f, ", upstream: \"http://{peer}{colon}{uri}\"")?;
        }
        if let Some(host) = exchange.request.known(crate::h1::Known::Host) {
            write!(f, ", host: \"{}\"", String::from_utf8_lossy(host))?;
        }
        if let Some(referrer) = exchange.request.header(b"referer") {
            write!(f, ", referrer: \"{}\"", String::from_utf8_lossy(referrer))?;
        }
        Ok(())
    }
}
