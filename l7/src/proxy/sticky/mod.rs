//! `sticky`: which peer a request asks for, what the client is told about the one that served it,
//! and what is learnt from answers. Picks nobody: the balancer does, and may find that the peer
//! asked for cannot be used.

mod cookie;

pub use cookie::Cookie;

use crate::exchange::Exchange;
use crate::variables::{self, Variable};
use fairlead_conf::{Cx, Diagnostic, Template, Word};
use fairlead_core::clock::tick;
use fairlead_core::log::Level;
use fairlead_core::upstream::{self, Group, Peer};

/// A compiled `sticky`.
#[derive(Debug)]
pub enum Sticky {
    Cookie(Cookie),
    /// What may hold a server's route, in the order it is asked in.
    Route(Vec<Template<Variable>>),
    Learn {
        create: Vec<Template<Variable>>,
        lookup: Vec<Template<Variable>>,
        /// When the header is there, not at the end of the answer.
        header: bool,
    },
}

/// What came of it: `$upstream_sticky_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The request asked for nobody.
    New,
    /// It went to the peer it asked for.
    Hit,
    /// The same, by a cookie that an older key has signed.
    HitByOldKey,
    /// It asked for a peer that could not be used, or that is not known.
    Miss,
    /// It brought a cookie that we have not signed.
    Forged,
}

/// Who a request asks for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    Nobody,
    /// The peer with this id; with a cookie, whether the newest key has signed it.
    Server(&'a [u8], bool),
    /// Something that leads to no peer.
    Unknown,
    Forged,
}

impl Sticky {
    /// `upstream` is the name of the group.
    ///
    /// # Errors
    /// An unknown variable.
    pub fn compile(sticky: &upstream::Sticky, upstream: &str, cx: &Cx) -> Result<Sticky, Diagnostic> {
        let compile =
            |words: &[Word]| words.iter().map(|word| variables::compile(word, cx)).collect::<Result<Vec<_>, _>>();
        Ok(match sticky {
            upstream::Sticky::Cookie(cookie) => Sticky::Cookie(Cookie::compile(cookie, upstream, cx)?),
            upstream::Sticky::Route(variables) => Sticky::Route(compile(variables)?),
            upstream::Sticky::Learn(learn) => {
                Sticky::Learn { create: compile(&learn.create)?, lookup: compile(&learn.lookup)?, header: learn.header }
            }
        })
    }

    /// What the client brings that is worked out once for a request: a route, or the id of a session.
    pub(super) fn session(&self, exchange: &Exchange) -> Vec<u8> {
        match self {
            Sticky::Cookie(_) => Vec::new(),
            Sticky::Route(variables) | Sticky::Learn { lookup: variables, .. } => first(exchange, variables),
        }
    }

    /// `session` is what [`Sticky::session`] gave.
    pub(super) fn asked<'a>(&self, exchange: &'a Exchange, group: &'a Group, session: &'a [u8]) -> Asked<'a> {
        match self {
            Sticky::Cookie(cookie) => {
                let asked = cookie.asked(exchange);
                if let Asked::Forged = asked {
                    group.kept.forged.add(1);
                    exchange.log(Level::Info, format_args!("the signature of the sticky cookie is wrong"));
                }
                asked
            }
            _ if session.is_empty() => Asked::Nobody,
            Sticky::Route(_) => Asked::Server(session, true),
            Sticky::Learn { .. } => match group.session(session, tick()) {
                Some(id) => Asked::Server(id.as_bytes(), true),
                None => Asked::Unknown,
            },
        }
    }

    /// An answer of `peer` has come so far. `session` is what the client brought.
    pub(super) fn learn(&self, exchange: &Exchange, (group, peer): (&Group, &Peer), session: &[u8], header: bool) {
        let Sticky::Learn { create, header: early, .. } = self else { return };
        if *early != header {
            return;
        }
        let begun = first(exchange, create);
        if !begun.is_empty() {
            group.learn(&begun, peer, true, tick());
        } else if !session.is_empty() {
            group.learn(session, peer, false, tick());
        }
    }
}

impl Asked<'_> {
    pub fn id(&self) -> Option<&[u8]> {
        match self {
            Asked::Server(id, _) => Some(id),
            _ => None,
        }
    }

    /// What came of it when `peer` was picked.
    pub fn outcome(&self, peer: Option<&Peer>) -> Bound {
        match self {
            Asked::Nobody => Bound::New,
            Asked::Forged => Bound::Forged,
            Asked::Server(id, newest) if peer.is_some_and(|peer| peer.sid.as_bytes() == *id) => {
                if *newest {
                    Bound::Hit
                } else {
                    Bound::HitByOldKey
                }
            }
            Asked::Server(..) | Asked::Unknown => Bound::Miss,
        }
    }
}

/// The first of the values that is not empty.
fn first(exchange: &Exchange, values: &[Template<Variable>]) -> Vec<u8> {
    let mut value = Vec::new();
    for template in values {
        exchange.render(template, &mut value);
        if !value.is_empty() {
            break;
        }
    }
    value
}

/// The `Set-Cookie` field for the peer of the last try that had one, among those from `first` on.
pub(super) fn push_cookie(exchange: &Exchange, first: usize, out: &mut Vec<u8>) {
    let mut tries = exchange.attempts.get(first..).unwrap_or_default().iter().rev();
    let Some((attempt, peer)) = tries.find_map(|attempt| Some((attempt, attempt.peer.as_ref()?))) else { return };
    let sticky = attempt.from.and_then(|group| exchange.worker.plan.sticky.get(group)).and_then(Option::as_ref);
    if let (Some(Sticky::Cookie(cookie)), Some(bound)) = (sticky, attempt.bound) {
        cookie.push_value(exchange, peer, bound, out);
    }
}
