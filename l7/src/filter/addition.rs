//! `add_before_body` and `add_after_body`: what other paths answer, put around a body.
//!
//! Says for which responses; `send` asks these paths and puts in what they answer.

use super::Settings as Filters;
use super::mime::Types;
use crate::directives::ALL;
use crate::exchange::Exchange;
use fairlead_conf::{Args, Directive, Repeat, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    before: Box<str>,
    after: Box<str>,
    types: Types,
}

impl Settings {
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Whether something is put around such a body.
    pub fn suits(&self, exchange: &Exchange, status: u16, content_type: &[u8]) -> bool {
        !self.is_empty() && status == 200 && !exchange.is_subrequest() && self.types.has(content_type)
    }

    /// The paths before and behind.
    pub fn around(&self) -> (Option<Box<str>>, Option<Box<str>>) {
        let written = |path: &str| (!path.is_empty()).then(|| path.into());
        (written(&self.before), written(&self.after))
    }
}

pub(crate) const DIRECTIVES: &[Directive<Filters>] = &[
    Directive {
        name: "add_before_body",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "uri"),
        repeat: Repeat::Once,
        default: None,
        doc: "Puts what this path answers in front of bodies of responses with status 200. An empty one puts nothing.",
        set: |filters, given| {
            filters.addition.before = given.text(0).into();
            Ok(())
        },
    },
    Directive {
        name: "add_after_body",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "uri"),
        repeat: Repeat::Once,
        default: None,
        doc: "The same as `add_before_body` behind bodies.",
        set: |filters, given| {
            filters.addition.after = given.text(0).into();
            Ok(())
        },
    },
    Directive {
        name: "addition_types",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "mime-type ..."),
        repeat: Repeat::List(|filters| filters.addition.types.clear()),
        default: Some("text/html"),
        doc: "Content types that something is put around, besides `text/html`; `*` is any.",
        set: |filters, given| filters.addition.types.take(given, &["text/html"]),
    },
];
