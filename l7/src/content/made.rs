//! Answers that need no file: `empty_gif`, a picture of one transparent point, and `stub_status`, how
//! many connections there are.

use super::error_page;
use crate::directives::{LOCATION, SERVER};
use crate::exchange::Exchange;
use crate::h1::Method;
use crate::reply::{Body, Reply};
use crate::stats::Stats;
use crate::variables::Row as Variable;
use fairlead_conf::{Args, Directive, Repeat, Value};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    EmptyGif,
    Status,
}

pub(crate) const EMPTY_GIF: &[Directive<Option<Made>>] = &[Directive {
    name: "empty_gif",
    contexts: LOCATION,
    args: Args::none(),
    repeat: Repeat::Once,
    default: None,
    doc: "Answers with a GIF of one transparent point.",
    set: |made, _| {
        *made = Some(Made::EmptyGif);
        Ok(())
    },
}];

pub(crate) const STUB_STATUS: &[Directive<Option<Made>>] = &[Directive {
    name: "stub_status",
    contexts: SERVER.or(LOCATION),
    args: Args::between(0, 1, &[Value::Text], "[on]"),
    repeat: Repeat::Once,
    default: None,
    doc: "Answers with the numbers of connections and requests, of all worker threads since the worker process began. \
          Any argument is ignored, as older configurations give one.",
    set: |made, _| {
        *made = Some(Made::Status);
        Ok(())
    },
}];

pub(crate) const VARIABLES: &[Variable] = &[
    Variable { name: "connections_active", doc: "Open connections.", value: |_, out| push(Stats::now().active(), out) },
    Variable {
        name: "connections_reading",
        doc: "Connections whose request's head is being read.",
        value: |_, out| push(Stats::now().reading, out),
    },
    Variable {
        name: "connections_writing",
        doc: "Connections whose request is being served.",
        value: |_, out| push(Stats::now().writing, out),
    },
    Variable {
        name: "connections_waiting",
        doc: "Connections between requests.",
        value: |_, out| push(Stats::now().waiting, out),
    },
];

fn push(number: u64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(number.to_string().as_bytes());
    true
}

/// The answer.
pub(crate) fn made(exchange: &Exchange, what: Made) -> Reply {
    if !matches!(exchange.request.method, Method::Get | Method::Head) {
        return error_page(405, exchange.location.server_tokens);
    }
    match what {
        Made::EmptyGif => Reply {
            status: 200,
            content_type: Some(Cow::Borrowed(b"image/gif")),
            last_modified: Some(23_349_600),
            body: Body::Bytes(Cow::Borrowed(GIF)),
            ..Reply::default()
        },
        Made::Status => Reply {
            status: 200,
            content_type: Some(Cow::Borrowed(b"text/plain")),
            body: Body::Bytes(Cow::Owned(status(&Stats::now()).into_bytes())),
            ..Reply::default()
        },
    }
}

fn status(all: &Stats) -> String {
    let Stats { accepted, handled, requests, reading, writing, waiting } = all;
    let active = all.active();
    format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {handled} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    )
}

/// A palette of black and white of which black is transparent, and one point of it.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\x01\0\0\0\0\xff\xff\xff\x21\xf9\x04\x01\0\0\x01\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0\x3b";
