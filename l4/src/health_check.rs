//! `health_check` and `health_check_timeout`: which of a server's upstreams
//! are checked, and how. The checking itself is core's.

use crate::directives::{SERVER, STREAM};
use fairlead_conf::{Args, Directive, Repeat, Span, Value};
use fairlead_core::health;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// With the directive's own place, for errors found later.
    pub check: Option<(health::Settings, Span)>,
    pub timeout: Duration,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "health_check",
        contexts: SERVER,
        args: Args::at_least(0, &[Value::Params(health::STREAM_PARAMS)], "[parameters]"),
        repeat: Repeat::Once,
        default: None,
        doc: "Checks the peers of the server's upstream from time to time.",
        set: |settings, given| {
            settings.check = Some((health::Settings::parse(given)?, given.statement.name.span));
            Ok(())
        },
    },
    Directive {
        name: "health_check_timeout",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Time], "timeout"),
        repeat: Repeat::Once,
        default: Some("5s"),
        doc: "How long a checked peer may take to connect, and to answer.",
        set: |settings, given| given.time(0).map(|timeout| settings.timeout = timeout),
    },
];
