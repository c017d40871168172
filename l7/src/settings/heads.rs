//! How requests are read before their location is known.

use crate::directives::{HTTP, SERVER};
use crate::h1::Limits;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value, value};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub client_header_timeout: Duration,
    /// `client_header_buffer_size`.
    pub first_buffer: u64,
    /// Number and bytes of `large_client_header_buffers`.
    pub buffers: (u64, u64),
    pub max_headers: usize,
    pub underscores: bool,
    pub ignore_invalid: bool,
    pub merge_slashes: bool,
}

impl Settings {
    pub fn limits(&self) -> Limits {
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        Limits {
            first: bytes(self.first_buffer),
            line: bytes(self.buffers.1),
            buffers: u32::try_from(self.buffers.0).unwrap_or(u32::MAX),
            headers: self.max_headers,
            underscores: self.underscores,
            ignore_invalid: self.ignore_invalid,
        }
    }
}

/// A head of this form can be held.
fn check_head(heads: &Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    let (number, size) = heads.buffers;
    if heads.first_buffer.saturating_add(number.saturating_mul(size)) <= MOST_HEAD {
        return Ok(());
    }
    let last = given.len().saturating_sub(1);
    let name = &given.statement.name.text;
    Err(given.error(last, format!("\"{name}\" allows heads of more than {MOST_HEAD} bytes in all")))
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
        doc: "Bytes of a head that need none of `large_client_header_buffers`.",
        set: |heads, given| {
            heads.first_buffer = given.size(0)?;
            check_head(heads, given)
        },
    },
    Directive {
        name: "large_client_header_buffers",
        contexts: HTTP.or(SERVER),
        args: Args::exactly(&[Value::Text, Value::Text], "number size"),
        repeat: Repeat::Once,
        default: Some("4 8k"),
        doc: "Buffers for what does not fit in `client_header_buffer_size`. A line of the head is held in one piece: a request \
              line longer than the size gets 414, a field 400, and so does a head that fills all of them.",
        set: |heads, given| {
            let invalid = |index| given.error(index, "\"large_client_header_buffers\" directive invalid value");
            let number = given.text(0).parse().ok().filter(|&number: &u64| number > 0).ok_or_else(|| invalid(0))?;
            let size = value::parse_size(given.text(1)).filter(|&size| size > 0).ok_or_else(|| invalid(1))?;
            heads.buffers = (number, size);
            check_head(heads, given)
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
