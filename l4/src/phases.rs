//! What a session passes before anything of its content is looked at, in
//! nginx's order: post-accept (realip), pre-access (`set`, `limit_conn`), access
//! (`allow`, `deny`). The same for TCP and UDP; never waits.

use crate::custom;
use crate::directives::{SERVER, STREAM};
use crate::limit_conn::{self, Limits, Zone};
use crate::outcomes::Status;
use crate::realip;
use crate::record::Record;
use crate::variables::Variable;
use fairlead_conf::Page;
use fairlead_core::access::{self, Acl, Networks, Rules, Trusted};
use fairlead_core::limit;
use fairlead_core::log::Level;
use fairlead_core::plan::Build;

/// What one level says about these phases.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub trusted: Trusted,
    pub limits: limit::Conn,
    pub access: Rules,
}

/// A server's phases compiled.
pub(crate) struct Phases {
    pub trusted: Networks,
    pub limits: Limits,
    access: Acl,
}

/// nginx's name for what a session does until it goes to its peer.
pub(crate) const INITIALIZING: &str = "initializing session";

impl Phases {
    /// Problems go to `build.cx`.
    pub fn build(settings: &Settings, zones: &[Zone], build: &Build<'_>) -> Phases {
        let trusted = Networks::build(&settings.trusted, build);
        let limits = Limits::build(&settings.limits, zones, "stream", build.cx);
        Phases { trusted, limits, access: Acl::new(&settings.access) }
    }

    /// Every variable that these phases may ask for.
    pub fn variables<'a>(&'a self, zones: &'a [Zone]) -> impl Iterator<Item = &'a Variable> {
        self.limits.variables(zones)
    }
}

/// Runs the phases; the log line of a refusal is written here.
///
/// # Errors
/// The status of a session that may not go on.
pub(crate) fn enter(record: &mut Record) -> Result<(), Status> {
    let entry = record.entry.clone();
    let phases = &entry.server.phases;
    realip::apply(record, &phases.trusted);
    custom::set(record);
    limit_conn::enter(record, &phases.limits)?;
    if phases.access.denies(record.client.map(|client| client.ip())) {
        record.log(Level::Error, INITIALIZING, format_args!("access forbidden by rule"));
        return Err(Status::Forbidden);
    }
    Ok(())
}

/// Pages of core's rows, as they stand in this plane.
pub(crate) fn pages() -> Vec<Page> {
    let rows = fairlead_conf::pages(access::DIRECTIVES, "stream access").into_iter();
    let rows = rows.chain(fairlead_conf::pages(access::REAL_IP_DIRECTIVES, "stream realip"));
    let rows = rows.chain(fairlead_conf::pages(limit::CONN_DIRECTIVES, "stream limit conn"));
    let mut all: Vec<Page> = rows.map(|page| Page { contexts: STREAM.or(SERVER), ..page }).collect();
    let zones = fairlead_conf::pages(limit::ZONE_DIRECTIVES, "stream limit conn").into_iter();
    all.extend(zones.map(|page| Page { contexts: STREAM, ..page }));
    all
}
