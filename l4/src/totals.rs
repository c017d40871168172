//! The stream plane's counters as one line, which the worker process writes to the error log when
//! it ends. Those that count what goes on are zero then, unless sessions were cut off.

use crate::plan::Plan;
use fairlead_core::net::pipes_refused;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Sums over all servers, zones and groups of a plan.
pub struct Totals {
    /// Sessions that ended, by the first digit of their status.
    ok: u64,
    client_errors: u64,
    server_errors: u64,
    /// Bytes from and to clients.
    received: u64,
    sent: u64,
    /// See `Outcomes`.
    overflows: u64,
    evictions: u64,
    over_rate: u64,
    /// Clients of `sticky source` that a full zone forgot.
    forgotten: u64,
    /// How often a stream of either plane had to be copied because there was no pipe for it.
    pipes_refused: u64,
    /// Peers' sessions in progress.
    leases: u64,
    /// Bytes of `limit_conn` zones in use.
    zones: u64,
}

impl Totals {
    pub(crate) fn of(plan: &Plan) -> Totals {
        // A server behind several addresses counts once.
        let servers: HashMap<_, _> = plan.outcomes().map(|(_, counts)| (Arc::as_ptr(counts), counts)).collect();
        let sum = |counter: fn(&crate::Outcomes) -> u64| servers.values().map(|counts| counter(counts)).sum();
        let bindings = plan.groups().filter_map(|group| group.kept.bindings.as_ref());
        let peers = plan.groups().map(|group| group.current());
        let in_progress = |group: &fairlead_core::upstream::Group| -> u64 {
            group.peers.iter().map(|peer| u64::from(peer.state.active.load(Ordering::Relaxed))).sum()
        };
        Totals {
            ok: sum(|counts| counts.ok.load()),
            client_errors: sum(|counts| counts.client_errors.load()),
            server_errors: sum(|counts| counts.server_errors.load()),
            received: sum(|counts| counts.bytes_received.load()),
            sent: sum(|counts| counts.bytes_sent.load()),
            overflows: sum(|counts| counts.overflows.load()),
            evictions: sum(|counts| counts.evictions.load()),
            over_rate: sum(|counts| counts.over_rate.load()),
            forgotten: bindings.map(|bindings| bindings.evicted.load()).sum(),
            pipes_refused: pipes_refused(),
            leases: peers.map(|group| in_progress(&group)).sum(),
            zones: plan.limit_zones().map(|(_, zone)| zone.used()).sum(),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { ok, client_errors, server_errors, received, sent, .. } = self;
        write!(f, "stream totals: ok={ok} client_errors={client_errors} server_errors={server_errors} ")?;
        write!(f, "received={received} sent={sent} ")?;
        let Totals { overflows, evictions, over_rate, forgotten, pipes_refused, .. } = self;
        write!(f, "overflows={overflows} evictions={evictions} over_rate={over_rate} ")?;
        write!(f, "forgotten={forgotten} pipes_refused={pipes_refused} ")?;
        write!(f, "leases={} zones={}", self.leases, self.zones)
    }
}
