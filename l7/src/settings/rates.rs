//! `limit_rate` and `limit_rate_after`: how fast clients get their responses.

use crate::directives::{ALL, IF_LOCATION};
use crate::throttle::Bytes;
use fairlead_conf::{Args, Directive, Repeat, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub rate: Bytes,
    pub after: Bytes,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "limit_rate",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Template], "rate"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "Bytes a second that a client gets of a response; `0` is no limit. It holds for one request: a client with two \
              connections gets twice as much. Variables may stand in it; `set $limit_rate` and a peer's \
              `X-Accel-Limit-Rate` come before it.",
        set: |rates, given| Bytes::read(given).map(|rate| rates.rate = rate),
    },
    Directive {
        name: "limit_rate_after",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Template], "size"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "Bytes of a response that go out before `limit_rate` counts any. Variables may stand in it.",
        set: |rates, given| Bytes::read(given).map(|size| rates.after = size),
    },
];
