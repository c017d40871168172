//! How requests are read before their location is known.

use crate::directives::{HTTP, SERVER};
use crate::h1::Limits;
use fairlead_conf::{Args, Directive, Repeat, Value};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub client_header_timeout: Duration,
    /// Number and bytes of `large_client_header_buffers`.
    pub buffers: (u64, u64),
    pub max_headers: usize,
    pub underscores: bool,
    pub ignore_invalid: bool,
    pub merge_slashes: bool,
}

impl Settings {
    pub fn limits(&self) -> Limits {
        let line = usize::try_from(self.buffers.1).unwrap_or(usize::MAX);
        Limits {
            line,
            head: line.saturating_mul(usize::try_from(self.buffers.0).unwrap_or(usize::MAX)),
            headers: self.max_headers,
            underscores: self.underscores,
            ignore_invalid: self.ignore_invalid,
        }
    }
}

/// A message's positions are 32 bits: heads stay well below.
const MOST_HEAD: u64 = 64 << 20;

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "client_header_timeout",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long a client may take to send the whole head of a request; then it gets 408.",
        set: |heads, given| given.time(0).map(|time| heads.client_header_timeout = time),
    },
    Directive {
        name: "client_header_buffer_size",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("1k"),
        doc: "Checked and otherwise without effect: buffers for heads grow as needed, up to `large_client_header_buffers`.",
        set: |_, given| given.size(0).map(drop),
    },
    Directive {
        name: "large_client_header_buffers",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Int(1..=1_000_000), Value::Size], "number size"),
        repeat: Repeat::Once,
        default: Some("4 8k"),
        doc: "The size bounds the request line (else 414) and each header field (else 400); number times size bounds the whole head.",
        set: |heads, given| {
            let (number, size) = (given.int(0)?.unsigned_abs(), given.size(1)?);
            if size == 0 || number.saturating_mul(size) > MOST_HEAD {
                return Err(given.error(
                    1,
                    format!("\"large_client_header_buffers\" must be between 1 byte and {MOST_HEAD} bytes in all"),
                ));
            }
            heads.buffers = (number, size);
            Ok(())
        },
    },
    Directive {
        name: "max_headers",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Int(1..=1_000_000)], "number"),
        repeat: Repeat::Once,
        default: Some("1000"),
        doc: "How many header fields a request may have; one with more gets 400.",
        set: |heads, given| {
            given.int(0).map(|number| heads.max_headers = usize::try_from(number).unwrap_or(usize::MAX))
        },
    },
    Directive {
        name: "underscores_in_headers",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether names of header fields may have underscores; when not, such fields are invalid (`ignore_invalid_headers`).",
        set: |heads, given| given.flag(0).map(|on| heads.underscores = on),
    },
    Directive {
        name: "ignore_invalid_headers",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Leaves header fields with strange names out of the request; `off` passes them on.",
        set: |heads, given| given.flag(0).map(|on| heads.ignore_invalid = on),
    },
    Directive {
        name: "merge_slashes",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Takes two or more slashes in a row in a path as one, before locations are matched.",
        set: |heads, given| given.flag(0).map(|on| heads.merge_slashes = on),
    },
];
