//! What a request passes before its content is asked for, in nginx's order:
//! realip, `limit_req`, `limit_conn`, then access: `allow`/`deny`, `auth_basic`,
//! `auth_request`, of which `satisfy` wants all or any.
//!
//! A location that asks for none of them has no [`Gates`] and pays one look.

mod auth_basic;
mod auth_request;
mod except;
mod limit_conn;
mod limit_req;
mod mirror;
mod password;
mod realip;
mod settings;

use crate::client::Client;
use crate::exchange::Exchange;
use fairlead_core::access::Acl;
use fairlead_core::limit::{Held, LimitStatus};
use fairlead_core::log::Level;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

pub(crate) use except::{Except, ROWS as EXCEPT};
pub(crate) use limit_conn::Zone as ConnZone;
pub(crate) use limit_req::{ReqStatus, ZONES as REQ_ZONES, Zone as ReqZone, ZoneSettings as ReqZoneSettings};
pub(crate) use mirror::{DIRECTIVES as MIRROR, Mirror, Settings as MirrorSettings};
pub(crate) use settings::{Settings, inherited, pages};

/// What one location asks of those who want its content.
pub(crate) struct Gates {
    realip: Option<realip::RealIp>,
    requests: limit_req::Limits,
    connections: limit_conn::Limits,
    acl: Option<Acl>,
    basic: Option<auth_basic::Basic>,
    request: Option<auth_request::Asked>,
    /// `satisfy any`.
    any: bool,
    /// `auth_delay`.
    delay: Duration,
}

/// What is known of a request that has passed some of it; a request and its subrequests share it.
#[derive(Default)]
pub(crate) struct Passed {
    /// `$limit_req_status`.
    pub requests: Option<ReqStatus>,
    /// `$limit_conn_status`.
    pub connections: Option<LimitStatus>,
    /// Its places in the zones of `limit_conn`.
    held: Vec<Held>,
    /// `WWW-Authenticate` fields of whatever is answered.
    pub challenges: Vec<Vec<u8>>,
}

impl Passed {
    /// The request is over: somebody else may have its places.
    pub fn leave(&mut self) {
        self.held = Vec::new();
    }
}

/// Why a request does not go on.
pub(crate) enum Stop {
    /// It is answered with this status.
    Refused(u16),
    /// Its client left.
    Gone,
}

/// What one module of the access phase says.
enum Verdict {
    /// Nothing is asked here.
    Declined,
    Granted,
    Refused(u16),
}

/// Who the client is, before anything is decided by it.
pub(crate) fn post_read(exchange: &mut Exchange) {
    let server = exchange.server.clone();
    if let Some(realip) = server.root.gates.as_ref().and_then(|gates| gates.realip.as_ref()) {
        realip.apply(exchange);
    }
}

/// Lets the request go on.
///
/// # Errors
/// How it ends instead.
pub(crate) async fn enter(client: &mut Client, exchange: &mut Exchange, gates: &Gates) -> Result<(), Stop> {
    if let Some(realip) = &gates.realip {
        realip.apply(exchange);
    }
    gates.requests.enter(client, exchange).await?;
    gates.connections.enter(exchange)?;
    if exchange.is_subrequest() {
        // Whoever asks for it has come in, or is about to be asked.
        return Ok(());
    }
    access(client, exchange, gates).await
}

async fn access(client: &mut Client, exchange: &mut Exchange, gates: &Gates) -> Result<(), Stop> {
    let mut refused = None;
    for step in [Step::Rules, Step::Basic, Step::Request] {
        let verdict = match (step, gates) {
            (Step::Rules, Gates { acl: Some(acl), .. }) => rules(exchange, acl, gates.any),
            (Step::Basic, Gates { basic: Some(basic), .. }) => basic.ask(exchange).await,
            (Step::Request, Gates { request: Some(asked), .. }) => asked.ask(client, exchange).await?,
            _ => Verdict::Declined,
        };
        match verdict {
            Verdict::Declined => {}
            Verdict::Granted if gates.any => {
                exchange.passed.challenges.clear();
                return Ok(());
            }
            Verdict::Granted => {}
            // A challenge is better than a plain no.
            Verdict::Refused(status @ (401 | 403)) if gates.any => {
                refused = refused.filter(|earlier| *earlier == 401).or(Some(status));
            }
            Verdict::Refused(status) => return refuse(client, exchange, (status, gates.delay)).await,
        }
    }
    match refused {
        None => Ok(()),
        Some(status) => {
            if status == 403 {
                exchange.log(Level::Error, format_args!("access forbidden by rule"));
            }
            refuse(client, exchange, (status, gates.delay)).await
        }
    }
}

#[derive(Clone, Copy)]
enum Step {
    Rules,
    Basic,
    Request,
}

fn rules(exchange: &Exchange, acl: &Acl, any: bool) -> Verdict {
    use fairlead_core::access::Verdict as Rule;
    match acl.verdict(exchange.connection.client.ip()) {
        None => Verdict::Declined,
        Some(Rule::Allow) => Verdict::Granted,
        Some(Rule::Deny) => {
            if !any {
                exchange.log(Level::Error, format_args!("access forbidden by rule"));
            }
            Verdict::Refused(403)
        }
    }
}

/// Who is asked for a password learns late that it was wrong.
async fn refuse(client: &mut Client, exchange: &mut Exchange, (status, delay): (u16, Duration)) -> Result<(), Stop> {
    if status == 401 && !delay.is_zero() {
        exchange.log(Level::Info, format_args!("delaying unauthorized request"));
        pause(client, exchange, delay).await?;
    }
    Err(Stop::Refused(status))
}

/// Waits, as long as the client does.
async fn pause(client: &mut Client, exchange: &mut Exchange, wait: Duration) -> Result<(), Stop> {
    client.deadline.set(wait);
    let mut watching = client.may_leave();
    let stayed = poll_fn(|cx| {
        if watching && client.stream.poll_read_ready(cx).is_ready() {
            if client.stream.is_ended() {
                return Poll::Ready(false);
            }
            // It sends more already: it is there.
            watching = false;
        }
        client.deadline.poll(cx).map(|_| true)
    });
    if stayed.await {
        return Ok(());
    }
    exchange.log(Level::Info, format_args!("client prematurely closed connection"));
    Err(Stop::Gone)
}

/// `WWW-Authenticate: Basic realm="…"`.
fn challenge(exchange: &mut Exchange, realm: &[u8]) {
    exchange.passed.challenges = vec![[b"Basic realm=\"", realm, b"\""].concat()];
}

/// The field that challenges go out as.
pub(crate) const CHALLENGE: &str = "WWW-Authenticate";
