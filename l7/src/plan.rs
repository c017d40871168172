//! `http { … }` compiled.

use fairlead_conf::Block;
use fairlead_core::health::Check;
use fairlead_core::log::ErrorLogs;
use fairlead_core::net::Listener;
use fairlead_core::plan::Build;
use std::sync::Arc;

/// One generation's http plane, shared by all workers.
pub struct Plan {}

impl Plan {
    /// Reads a `http` block. Problems go to `build.cx`; a plan comes back only without errors.
    /// `error_logs` is what main says; `previous` gives its peers' states.
    pub fn build(
        _block: &Block,
        _error_logs: &ErrorLogs,
        _previous: Option<&Plan>,
        _build: &Build<'_>,
    ) -> Option<Arc<Plan>> {
        None
    }

    /// What to bind.
    pub fn listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    /// The active health checks it asks for.
    pub fn checks(&self) -> Vec<Check> {
        Vec::new()
    }
}
