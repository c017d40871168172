//! What a location answers in place of an error, and whether clients may ask for it at all:
//! `error_page`, `recursive_error_pages`, `internal`.

use crate::directives::{ALL, IF_LOCATION, LOCATION};
use crate::plan::{ErrorAnswer, ErrorPage};
use crate::variables;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub pages: Arc<Vec<ErrorPage>>,
    pub recursive: bool,
    pub internal: bool,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "error_page",
        contexts: ALL.or(IF_LOCATION),
        args: Args::at_least(2, &[Value::Text], "code ... [=[response]] uri"),
        repeat: Repeat::List(|errors| errors.pages = Arc::default()),
        default: None,
        doc: "What is served in place of an error of ours, or of a peer's with `proxy_intercept_errors`: a path \
              (`error_page 404 /404.html`), a named location (`error_page 502 504 @fallback`) or a URL, to which the client \
              is redirected. The status stays that of the error; `=200` makes it another, `=` that of whatever serves the \
              path. Inside, the method is GET, or HEAD if it was. A block that says it at all inherits none.",
        set: |errors, given| pages(given).map(|pages| Arc::make_mut(&mut errors.pages).extend(pages)),
    },
    Directive {
        name: "recursive_error_pages",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether an error on the way to an error page may lead to another error page, ten times at most.",
        set: |errors, given| given.flag(0).map(|on| errors.recursive = on),
    },
];

pub(crate) const INTERNAL: &[Directive<Settings>] = &[Directive {
    name: "internal",
    contexts: LOCATION,
    args: Args::none(),
    repeat: Repeat::Once,
    default: None,
    doc: "Hides the location from clients, who get 404: it is for error pages, rewritten and index paths, subrequests and \
          `X-Accel-Redirect` alone.",
    set: |errors, _| {
        errors.internal = true;
        Ok(())
    },
}];

fn pages(given: &Given<'_>) -> Result<Vec<ErrorPage>, Diagnostic> {
    let last = given.len().saturating_sub(1);
    let sign = last.saturating_sub(1);
    let answer = given.text(sign).strip_prefix('=');
    let codes = if answer.is_some() { sign } else { last };
    if codes == 0 {
        return Err(given.error(sign, format!("invalid value \"{}\"", given.text(sign))));
    }
    let answer = match answer {
        None => ErrorAnswer::Kept,
        Some("") => ErrorAnswer::Theirs,
        Some(code) => ErrorAnswer::Other(
            code.parse().map_err(|_| given.error(sign, format!("invalid value \"{}\"", given.text(sign))))?,
        ),
    };
    let to = variables::compile(given.word(last), given.cx)?;
    let page = |index: usize| {
        let text = given.text(index);
        let status: u16 = text.parse().map_err(|_| given.error(index, format!("invalid value \"{text}\"")))?;
        if status == 499 || !(300..=599).contains(&status) {
            let allowed =
                if status == 499 { "cannot be answered: the client has gone" } else { "must be between 300 and 599" };
            return Err(given.error(index, format!("value \"{text}\" {allowed}")));
        }
        Ok(ErrorPage { status, answer, to: to.clone() })
    };
    (0..codes).map(page).collect()
}
