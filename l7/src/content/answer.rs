//! `return`: a status, a text or a redirect, without asking anybody.

use super::path::content_type;
use super::redirect::redirect;
use crate::content::error_page;
use crate::directives::{LOCATION, SERVER};
use crate::exchange::Exchange;
use crate::plan::Return;
use crate::reply::{Body, Reply};
use crate::variables;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value};
use std::borrow::Cow;

pub(crate) const RETURN: &[Directive<Option<Return>>] = &[Directive {
    name: "return",
    contexts: SERVER.or(LOCATION),
    args: Args::between(1, 2, &[Value::Text, Value::Template], "code [text] | code URL | URL"),
    repeat: Repeat::Append,
    default: None,
    doc: "Answers at once: with a status and its page, with a text (`return 200 \"up\\n\";`), or with a redirect \
          (`return 301 https://$host$request_uri;`; a URL alone is 302). `return 444` closes the connection without \
          an answer. Of several, the first counts; that of a server comes before all its locations.",
    set: |answer, given| {
        let parsed = parse(given)?;
        answer.get_or_insert(parsed);
        Ok(())
    },
}];

fn parse(given: &Given<'_>) -> Result<Return, Diagnostic> {
    let first = given.text(0);
    let code = first.bytes().all(|byte| byte.is_ascii_digit()).then(|| first.parse::<u16>().ok()).flatten();
    let Some(status) = code.filter(|&code| code <= 999) else {
        let is_url = ["http://", "https://", "$scheme"].iter().any(|start| first.starts_with(start));
        if given.len() == 1 && is_url {
            return Ok(Return { status: 302, text: Some(variables::compile(given.word(0), given.cx)?) });
        }
        let problem = given.error(0, format!("invalid return code \"{first}\""));
        return Err(problem.help("write a status up to 999, or a URL that begins with http://, https:// or $scheme"));
    };
    let text = given.words().get(1).map(|word| variables::compile(word, given.cx)).transpose()?;
    Ok(Return { status, text })
}

/// What `return` answers.
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
