//! `log_format` and `access_log` compiled: which lines a session writes at its
//! end. The rows, buffering, files and syslog are core's.

use crate::record::Record;
use crate::variables::{Variable, compile, compile_line};
use fairlead_conf::{Diagnostic, Piece, Template};
use fairlead_core::clock::Tick;
use fairlead_core::log::{AccessEntry, AccessLog, Destination, Escape, FileCaching, Format, is_true, push_escaped};
use fairlead_core::plan::Build;
use std::sync::Arc;

/// One `access_log` in force.
pub(crate) struct Access {
    log: AccessLog,
    /// The name of the file, where it has variables.
    path: Option<Template<Variable>>,
    format: Arc<Line>,
    condition: Option<Template<Variable>>,
}

/// A `log_format` compiled.
pub(crate) struct Line {
    pub name: Box<str>,
    escape: Escape,
    text: Template<Variable>,
}

impl Line {
    pub fn compile(format: &Format, build: &Build<'_>) -> Arc<Line> {
        let mut pieces: Vec<Piece<Variable>> = Vec::new();
        for word in &format.text {
            match compile_line(word, build.cx) {
                Ok(template) => pieces.extend(template.pieces),
                Err(diagnostic) => build.cx.report(diagnostic),
            }
        }
        Arc::new(Line { name: format.name.clone(), escape: format.escape, text: Template { pieces } })
    }

    fn render(&self, record: &Record, now: Tick, out: &mut Vec<u8>) {
        self.text.render(out, |variable, out| push_escaped(self.escape, out, |out| record.push(*variable, now, out)));
    }
}

impl Access {
    /// `caching` is the level's, of files that variables name.
    pub fn build(
        entry: &AccessEntry,
        caching: FileCaching,
        lines: &[Arc<Line>],
        build: &Build<'_>,
    ) -> Result<Access, Diagnostic> {
        let Some(format) = &entry.format else {
            return Err(Diagnostic::error(entry.path.span, "log format is not specified"));
        };
        let Some(line) = lines.iter().find(|line| line.name.eq_ignore_ascii_case(&format.text)) else {
            return Err(Diagnostic::error(format.span, format!("unknown log format \"{}\"", format.text)));
        };
        let mut destination = entry.destination.clone();
        if let Destination::Files { cache, .. } = &mut destination {
            *cache = caching.0;
        }
        let log = build
            .logs
            .access_log(&destination, entry.buffer, entry.flush)
            .map_err(|error| Diagnostic::error(entry.path.span, error.to_string()))?
            .compressed(entry.gzip);
        let path = entry.template.as_ref().map(|word| compile(word, build.cx)).transpose()?;
        let condition = entry.condition.as_ref().map(|word| compile(word, build.cx)).transpose()?;
        Ok(Access { log, path, format: line.clone(), condition })
    }

    /// Every variable that writing a line may ask for.
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        let others = self.condition.iter().chain(&self.path).flat_map(Template::variables);
        self.format.text.variables().chain(others).copied()
    }

    pub fn write(&self, record: &Record, now: Tick) {
        if !self.asked_for(record, now) {
            return;
        }
        let logs = &record.worker.context.logs;
        let Some(path) = &self.path else {
            return logs.line(&self.log, |out| self.format.render(record, now, out));
        };
        let mut name = Vec::new();
        record.render(path, now, &mut name);
        // Nothing in a name can end it early.
        name.retain(|byte| *byte != 0);
        logs.line_to(&name, &self.log, |out| self.format.render(record, now, out));
    }

    /// What `if=` says.
    fn asked_for(&self, record: &Record, now: Tick) -> bool {
        let Some(condition) = &self.condition else { return true };
        let mut value = Vec::new();
        record.render(condition, now, &mut value);
        is_true(&value)
    }
}
