//! `status_zone`: what the resolvers of the process that say the same zone asked
//! and were answered, counted together.

use crate::stats::Counter;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The counters of one zone, with the names NGINX Plus gives them.
#[derive(Debug, Default)]
pub struct Zone {
    /// Lookups of names and of services that no cache answered.
    pub name: Counter,
    pub srv: Counter,
    /// Answers, by their response code (RFC 1035 section 4.1.1).
    pub noerror: Counter,
    pub formerr: Counter,
    pub servfail: Counter,
    pub nxdomain: Counter,
    pub notimp: Counter,
    pub refused: Counter,
    pub unknown: Counter,
    /// Questions that nobody answered in time.
    pub timedout: Counter,
}

/// Zones in use: a zone lives as long as one of its resolvers.
static ZONES: Mutex<BTreeMap<Box<str>, Weak<Zone>>> = Mutex::new(BTreeMap::new());

impl Zone {
    /// The zone of this name; without a name one that nobody else counts in.
    pub(super) fn open(name: Option<&str>) -> Arc<Zone> {
        let Some(name) = name else { return Arc::default() };
        let mut zones = ZONES.lock().unwrap_or_else(PoisonError::into_inner);
        zones.retain(|_, zone| zone.strong_count() > 0);
        if let Some(zone) = zones.get(name).and_then(Weak::upgrade) {
            return zone;
        }
        let zone = Arc::<Zone>::default();
        zones.insert(name.into(), Arc::downgrade(&zone));
        zone
    }

    pub(super) fn count_response(&self, code: u8) {
        let counter = match code {
            0 => &self.noerror,
            1 => &self.formerr,
            2 => &self.servfail,
            3 => &self.nxdomain,
            4 => &self.notimp,
            5 => &self.refused,
            _ => &self.unknown,
        };
        counter.add(1);
    }
}

/// Every zone in use with its name, in order.
pub fn zones() -> Vec<(Box<str>, Arc<Zone>)> {
    let zones = ZONES.lock().unwrap_or_else(PoisonError::into_inner);
    zones.iter().filter_map(|(name, zone)| Some((name.clone(), zone.upgrade()?))).collect()
}
