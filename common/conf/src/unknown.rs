//! Says why a directive's name is not allowed where it stands.

use crate::known;
use crate::spelling::{closest, did_you_mean};
use crate::{Catalog, Contexts, Diagnostic, Word};

/// The name has no row in `here`, the context whose names are `names`.
pub(crate) fn explain(
    name: &Word,
    here: Contexts,
    names: impl Iterator<Item = &'static str>,
    catalog: &Catalog,
) -> Diagnostic {
    let text = &*name.text;
    let error = |message: String| Diagnostic::error(name.span, message);
    let elsewhere = catalog.contexts(text).unwrap_or(Contexts(0)).0 | known::accepted_contexts(text).0;
    let expected_here = known::named(text).any(|known| known.contexts.contains(here));
    if elsewhere != 0 && !expected_here {
        let allowed = Contexts(elsewhere).names().join(", ");
        return error(format!("\"{text}\" directive is not allowed here")).help(format!("it is allowed in: {allowed}"));
    }
    if known::named(text).next().is_some() {
        let message = format!("\"{text}\" directive is known to nginx, but not built in fairlead yet");
        return error(message).help("REFERENCE.md lists what is built");
    }
    let error = error(format!("unknown directive \"{text}\""));
    if let Some(hint) = known::trap(text).and_then(|trap| trap.unknown) {
        return error.help(hint);
    }
    let meant = did_you_mean(text, names.chain(known::accepted_names(here)));
    let meant = meant.or_else(|| meant_elsewhere(text, catalog)).or_else(|| meant_of_nginx(text, here));
    error.help(meant.unwrap_or_else(|| "REFERENCE.md lists every directive".into()))
}

/// A name of another context: both mistakes are told at once.
fn meant_elsewhere(text: &str, catalog: &Catalog) -> Option<String> {
    let meant = closest(text, catalog.pages().iter().map(|page| page.name))?;
    let contexts = catalog.contexts(meant)?.names().join(", ");
    Some(format!("did you mean \"{meant}\"? it is allowed in: {contexts}"))
}

fn meant_of_nginx(text: &str, here: Contexts) -> Option<String> {
    let allowed = known::all().iter().filter(|known| known.contexts.contains(here));
    let meant = closest(text, allowed.map(|known| known.name))?;
    Some(format!("did you mean \"{meant}\"? it is known to nginx, but not built in fairlead yet"))
}
