//! What `http`, `server` and `location` say about who may come in, and that compiled.

use super::{Gates, auth_basic, auth_request, limit_conn, limit_req, realip};
use crate::directives::ALL;
use crate::plan::build::Planner;
use crate::settings::Scope;
use fairlead_conf::{Args, Directive, Level, Page, Repeat, Value, pages as pages_of};
use fairlead_core::access::{self, Acl, Networks, Rules, Trusted};
use fairlead_core::limit;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub trusted: Trusted,
    pub realip: realip::Settings,
    pub requests: limit_req::Settings,
    pub connections: limit::Conn,
    pub connections_status: u16,
    pub rules: Rules,
    pub basic: auth_basic::Settings,
    pub request: auth_request::Settings,
    pub any: bool,
    pub delay: Duration,
}

const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "limit_conn_status",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(400..=599)], "code"),
        repeat: Repeat::Once,
        default: Some("503"),
        doc: "Status of a request refused by `limit_conn`, from 400 to 599.",
        set: |phase, given| given.int(0).map(|code| phase.connections_status = u16::try_from(code).unwrap_or(503)),
    },
    Directive {
        name: "satisfy",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["all", "any"])], "all | any"),
        repeat: Repeat::Once,
        default: Some("all"),
        doc: "Whether a request must be granted by all of `allow`/`deny`, `auth_basic` and `auth_request`, or by any \
              one of them.",
        set: |phase, given| {
            phase.any = given.text(0) == "any";
            Ok(())
        },
    },
    Directive {
        name: "auth_delay",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("0s"),
        doc: "How long a request waits before it is answered with 401, so that passwords cannot be tried quickly.",
        set: |phase, given| given.time(0).map(|time| phase.delay = time),
    },
];

/// Adds the rows of these phases to a level.
pub(crate) fn inherited<S: Scope>(level: Level<S>) -> Level<S> {
    fn phase<S: Scope>(scope: &mut S) -> &mut Settings {
        Arc::make_mut(&mut scope.inherited().phase)
    }
    level
        .with(DIRECTIVES, phase)
        .with(access::DIRECTIVES, |scope| &mut phase(scope).rules)
        .with(access::REAL_IP_DIRECTIVES, |scope| &mut phase(scope).trusted)
        .with(realip::DIRECTIVES, |scope| &mut phase(scope).realip)
        .with(limit::CONN_DIRECTIVES, |scope| &mut phase(scope).connections)
        .with(limit_req::DIRECTIVES, |scope| &mut phase(scope).requests)
        .with(auth_basic::DIRECTIVES, |scope| &mut phase(scope).basic)
        .with(auth_request::DIRECTIVES, |scope| &mut phase(scope).request)
}

/// Pages of all these rows, core's as they stand in this plane.
pub(crate) fn pages() -> Vec<Page> {
    let core = [
        pages_of(access::DIRECTIVES, "http access"),
        pages_of(access::REAL_IP_DIRECTIVES, "http realip"),
        pages_of(limit::CONN_DIRECTIVES, "http limit conn"),
        pages_of(limit::ZONE_DIRECTIVES, "http limit conn"),
    ];
    let mut all: Vec<Page> = core.concat();
    for page in &mut all {
        page.contexts = match page.name {
            "limit_conn_zone" => crate::directives::HTTP,
            "allow" | "deny" => ALL.or(fairlead_conf::Contexts::LIMIT_EXCEPT),
            _ => ALL,
        };
    }
    all.extend(pages_of(DIRECTIVES, "http access"));
    all.extend(pages_of(super::EXCEPT, "http access"));
    all.extend(pages_of(realip::DIRECTIVES, "http realip"));
    all.extend(pages_of(limit_req::ZONES, "http limit req"));
    all.extend(pages_of(limit_req::DIRECTIVES, "http limit req"));
    all.extend(pages_of(auth_basic::DIRECTIVES, "http auth basic"));
    all.extend(pages_of(auth_request::DIRECTIVES, "http auth request"));
    all
}

impl Gates {
    /// `None` when nothing is asked. Problems go to the planner.
    pub fn build(settings: &Settings, planner: &Planner<'_>) -> Option<Arc<Gates>> {
        let build = planner.build;
        let gates = Gates {
            realip: realip::RealIp::build(&settings.realip, Networks::build(&settings.trusted, build)),
            requests: limit_req::Limits::build(&settings.requests, &planner.req_zones, build.cx),
            connections: limit_conn::Limits {
                limits: limit::Limits::build(&settings.connections, &planner.conn_zones, "http", build.cx),
                status: settings.connections_status,
            },
            acl: (!settings.rules.is_empty()).then(|| Acl::new(&settings.rules)),
            basic: settings.basic.compile(),
            request: settings.request.compile(),
            any: settings.any,
            delay: settings.delay,
        };
        (!gates.ask_nothing()).then(|| Arc::new(gates))
    }

    fn ask_nothing(&self) -> bool {
        self.realip.is_none()
            && self.requests.is_empty()
            && self.connections.limits.is_empty()
            && self.acl.is_none()
            && self.basic.is_none()
            && self.request.is_none()
    }
}
