//! What is made of a peer's answer before the client sees any of it.

use super::Settings;
use crate::directives::ALL;
use crate::proxy::Ignored;
use fairlead_conf::{Args, Directive, Repeat, Value};

const FIELDS: &[&str] = &[
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
    "Expires",
    "Cache-Control",
    "Set-Cookie",
    "Vary",
];

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "proxy_intercept_errors",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether `error_page` holds for peers' answers from 300 on too. Those of a status it does not name pass as \
              they are.",
        set: |proxy, given| given.flag(0).map(|on| proxy.intercept_errors = on),
    },
    Directive {
        name: "proxy_pass_trailers",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether clients get the fields that a peer sends behind a body in chunks, but for those that \
              `proxy_hide_header` names and those that frame messages. A peer may have to be asked for them: \
              `proxy_set_header Connection te; proxy_set_header TE trailers;`.",
        set: |proxy, given| given.flag(0).map(|on| proxy.pass_trailers = on),
    },
    Directive {
        name: "proxy_ignore_headers",
        contexts: ALL,
        args: Args::at_least(1, &[Value::AnyCase(FIELDS)], "field ..."),
        repeat: Repeat::List(|proxy| proxy.ignored = Ignored::default()),
        default: None,
        doc: "Fields of peers' answers that have no effect here. `X-Accel-Redirect` otherwise sends the request to a path \
              or a named location, with the peer's `Content-Type`, `Content-Disposition`, `Set-Cookie`, `Cache-Control`, \
              `Expires` and `Accept-Ranges`; `X-Accel-Charset` takes the place of `charset`, `X-Accel-Limit-Rate` sets `$limit_rate`, \
              `X-Accel-Buffering: yes | no` overrides `proxy_buffering`. The others have no effect anyway: nothing is cached.",
        set: |proxy, given| {
            given.warn_of_repeats();
            let named = |name: &str| given.words().iter().any(|word| word.text.eq_ignore_ascii_case(name));
            let ignored = &mut proxy.ignored;
            ignored.redirect |= named("X-Accel-Redirect");
            ignored.charset |= named("X-Accel-Charset");
            ignored.limit_rate |= named("X-Accel-Limit-Rate");
            ignored.buffering |= named("X-Accel-Buffering");
            Ok(())
        },
    },
];
