//! One configuration, compiled: tree → settings → plans of both planes.
//!
//! The same code runs in the master (to find what is wrong and what to bind)
//! and in the worker process (to serve it), from the same bytes and the same
//! addresses of host names, so that both get the same.

use crate::cli::Invocation;
use crate::main_conf::{self, Main};
use fairlead_conf::{Cx, Diagnostic, Severity, Statement, Tree};
use fairlead_core::health::Check;
use fairlead_core::log::{ErrorLog, ErrorLogs, Registry};
use fairlead_core::net::{Listener, ListenerKey};
use fairlead_core::plan::{Build, Resolve};
use fairlead_core::upstream::Group;
use std::collections::HashMap;
use std::sync::Arc;

/// Immutable once built; every worker thread holds it.
pub struct Generation {
    pub id: u64,
    pub main: Main,
    pub error_log: ErrorLog,
    /// What `error_log` is made of.
    pub error_logs: ErrorLogs,
    pub stream: Option<Arc<fairlead_l4::Plan>>,
    pub http: Option<Arc<fairlead_l7::Plan>>,
}

/// Which plane serves a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    Stream,
    Http,
}

/// What a generation is made from.
pub struct Inputs<'a> {
    pub id: u64,
    pub tree: &'a Tree,
    pub invocation: &'a Invocation,
    pub resolve: &'a Resolve<'a>,
    pub logs: &'a Registry,
    /// The generation that serves now: its peers' states are carried over.
    pub previous: Option<&'a Generation>,
}

/// The generation when nothing is wrong, and all that was found in any case.
pub struct Built {
    pub generation: Option<Generation>,
    pub diagnostics: Vec<Diagnostic>,
}

pub fn build(inputs: &Inputs<'_>) -> Built {
    let mut cx = Cx::new(&inputs.invocation.prefix, inputs.invocation.conf_dir());
    cx.attached.clone_from(&inputs.tree.attached);
    cx.secrets.clone_from(&inputs.tree.secrets);
    for diagnostic in &inputs.tree.diagnostics {
        cx.report(diagnostic.clone());
    }
    let scope = main_conf::read(inputs.tree, inputs.invocation, &cx);
    let build = Build { cx: &cx, resolve: inputs.resolve, logs: inputs.logs };
    let previous = inputs.previous;
    let stream = first(inputs.tree, "stream").and_then(|statement| {
        let previous = previous.and_then(|generation| generation.stream.as_deref());
        fairlead_l4::Plan::build(statement.block.as_ref()?, &scope.error_logs, previous, &build)
    });
    let http = first(inputs.tree, "http").and_then(|statement| {
        let previous = previous.and_then(|generation| generation.http.as_deref());
        fairlead_l7::Plan::build(statement.block.as_ref()?, &scope.error_logs, previous, &build)
    });
    let error_log = inputs.logs.error_log(&scope.error_logs.0).unwrap_or_else(|error| {
        cx.report(Diagnostic::general(error.to_string()));
        ErrorLog::default()
    });
    let generation =
        Generation { id: inputs.id, main: scope.main, error_log, error_logs: scope.error_logs, stream, http };
    generation.refuse_shared_addresses(&cx);
    let failed = cx.has_errors();
    let diagnostics = cx.diagnostics.into_inner();
    Built { generation: (!failed).then_some(generation), diagnostics }
}

fn first<'a>(tree: &'a Tree, name: &str) -> Option<&'a Statement> {
    tree.root.statements.iter().find(|statement| &*statement.name.text == name)
}

impl Generation {
    /// Some connections to peers are to start from addresses that are not ours.
    pub fn wants_transparent(&self) -> bool {
        self.stream.as_ref().is_some_and(|plan| plan.wants_transparent())
            || self.http.as_ref().is_some_and(|plan| plan.transparent)
    }

    /// What to bind, of both planes.
    pub fn listeners(&self) -> Vec<Listener> {
        let stream = self.stream.iter().flat_map(|plan| plan.listeners());
        stream.chain(self.http.iter().flat_map(|plan| plan.listeners())).collect()
    }

    /// Which plane serves each address.
    pub fn planes(&self) -> HashMap<ListenerKey, Plane> {
        let stream = self.stream.iter().flat_map(|plan| plan.listeners()).map(|listener| (listener.key, Plane::Stream));
        let http = self.http.iter().flat_map(|plan| plan.listeners()).map(|listener| (listener.key, Plane::Http));
        stream.chain(http).collect()
    }

    /// The active health checks of both planes.
    pub fn checks(&self) -> Vec<Check> {
        let stream = self.stream.iter().flat_map(|plan| plan.checks());
        stream.chain(self.http.iter().flat_map(|plan| plan.checks())).collect()
    }

    /// The groups of both planes.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        let stream = self.stream.iter().flat_map(|plan| plan.groups());
        stream.chain(self.http.iter().flat_map(|plan| &plan.groups))
    }

    fn refuse_shared_addresses(&self, cx: &Cx) {
        let (Some(stream), Some(http)) = (&self.stream, &self.http) else { return };
        let http: Vec<ListenerKey> = http.listeners().into_iter().map(|listener| listener.key).collect();
        for listener in stream.listeners().into_iter().filter(|listener| http.contains(&listener.key)) {
            let message = format!("duplicate \"{}\" address and port pair", listener.key.address);
            cx.report(Diagnostic::general(message).help("it is listened on in both \"stream\" and \"http\""));
        }
    }
}

/// Whether any of them is more than a warning.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}
