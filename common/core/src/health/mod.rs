//! Active health checks: one engine for both planes.
//!
//! The state machine of a peer is pure; the prober at the edge owns sockets.
//! A peer that fails its checks gets no traffic, and what a plane sees of all
//! this is the peer's [`crate::upstream::State::health`].

mod answered;
mod block;
mod machine;
mod matching;
mod pattern;
mod probe;
mod prober;
mod settings;

pub use answered::{Answered, Judge};
pub use block::{MATCH_HTTP_DIRECTIVES, MATCH_STREAM_DIRECTIVES, MatchSettings};
pub use matching::Match;
pub use prober::Prober;
pub use settings::{HTTP_PARAMS, STREAM_PARAMS, Settings};

use crate::upstream::Group;
use std::sync::Arc;
use std::time::Duration;

/// One group to check, as a plane's plan asks for it.
#[derive(Clone, Debug)]
pub struct Check {
    pub group: Arc<Group>,
    pub settings: Settings,
    pub matching: Option<Arc<Match>>,
    pub kind: Kind,
    /// Connecting, and one answer.
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    /// What else has to be true of an HTTP answer.
    pub judge: Option<Judge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Tcp,
    Udp,
    /// Asks for `settings.uri` with these fields, among them `Host`.
    Http {
        fields: Vec<(Box<str>, Box<[u8]>)>,
    },
}
