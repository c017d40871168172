//! What `return` answers: a status, a text or a redirect, without asking anybody.

use super::path::content_type;
use super::redirect::redirect;
use crate::content::error_page;
use crate::exchange::Exchange;
use crate::plan::Return;
use crate::reply::{Body, Reply};
use std::borrow::Cow;

/// The reply of a `return`.
pub(crate) fn answer(exchange: &Exchange, answer: &Return) -> Reply {
    let status = answer.status;
    let text = answer.text.as_ref().filter(|text| text.literal() != Some("")).map(|text| {
        let mut rendered = Vec::new();
        exchange.render(text, &mut rendered);
        rendered
    });
    match (status, text) {
        (301 | 302 | 303 | 307 | 308, target) => redirect(exchange, status, target.unwrap_or_default()),
        (204, _) => Reply { status, ..Reply::default() },
        (_, None) if status >= 400 => error_page(status, exchange.location.server_tokens),
        (_, text) => Reply {
            // nginx sends 0 as 200.
            status: if status == 0 { 200 } else { status },
            content_type: Some(content_type(exchange)),
            body: text.map_or(Body::Empty, |text| Body::Bytes(Cow::Owned(text))),
            ..Reply::default()
        },
    }
}
