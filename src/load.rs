//! Reads a configuration as the master does: files from disk, names from the
//! system's resolver, logs opened. Used to start, to reload and to test.

use crate::cli::Invocation;
use crate::generation::{Generation, Inputs, build};
use fairlead_conf::{Diagnostic, Severity, Snapshot, Sources, Tree, render_all};
use fairlead_core::log::{ErrorLog, Level, Registry};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};

/// Addresses of the host names a configuration names.
pub type Names = BTreeMap<String, Vec<IpAddr>>;

/// One configuration read from disk, and all that was found.
pub struct Reading {
    pub tree: Tree,
    pub diagnostics: Vec<Diagnostic>,
    pub loaded: Option<Loaded>,
}

/// A configuration without errors, ready to be bound and handed to a worker process.
pub struct Loaded {
    pub generation: Generation,
    pub snapshot: Snapshot,
    pub names: Names,
    pub logs: Registry,
}

/// Reads and checks all of it. `id` numbers the generation.
pub fn load(invocation: &Invocation, id: u64) -> Reading {
    let mut tree = Tree::read(&invocation.conf, invocation.globals.as_deref());
    let names = RefCell::new(Names::new());
    let logs = Registry::default();
    let resolve = |host: &str| resolve_and_note(host, &names);
    let built = build(&Inputs { id, tree: &tree, invocation, resolve: &resolve, logs: &logs, previous: None });
    let snapshot = std::mem::take(&mut tree.snapshot);
    let names = names.into_inner();
    let loaded = built.generation.map(|generation| Loaded { generation, snapshot, names, logs });
    Reading { tree, diagnostics: built.diagnostics, loaded }
}

fn resolve_and_note(host: &str, names: &RefCell<Names>) -> io::Result<Vec<IpAddr>> {
    if let Some(known) = names.borrow().get(host) {
        return Ok(known.clone());
    }
    let mut addresses = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    names.borrow_mut().insert(host.to_owned(), addresses.clone());
    Ok(addresses)
}

/// Prints everything found to standard error. With `quiet`, errors only.
pub fn print(diagnostics: &[Diagnostic], sources: &Sources, quiet: bool) {
    let wanted = |diagnostic: &&Diagnostic| !quiet || diagnostic.severity == Severity::Error;
    let shown: Vec<Diagnostic> = diagnostics.iter().filter(wanted).cloned().collect();
    // Nobody is left to tell when standard error is gone.
    let _ = io::stderr().write_all(render_all(&shown, sources).as_bytes());
}

/// Writes everything found to the error log, a line each.
pub fn log(diagnostics: &[Diagnostic], sources: &Sources, log: &ErrorLog) {
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::Emerg,
            Severity::Warning => Level::Warn,
        };
        let text = diagnostic.render(sources);
        let line = text.lines().next().unwrap_or(&diagnostic.message);
        // The log line says the level itself.
        let line = line.split_once("] ").filter(|(level, _)| level.starts_with("fairlead: [")).map_or(line, |it| it.1);
        match &diagnostic.help {
            Some(help) => log.write(level, 0, format_args!("{line} ({help})")),
            None => log.write(level, 0, format_args!("{line}")),
        }
    }
}

/// Tells the terminal, as nginx does: `fairlead: [emerg] MESSAGE`.
pub fn complain(level: Level, message: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "fairlead: [{}] {message}", level.name());
}
