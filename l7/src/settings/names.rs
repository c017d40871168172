//! `server_name`.

use crate::directives::SERVER;
use crate::route::Name;
use fairlead_conf::{Args, Diagnostic, Directive, Repeat, Span, Value};

/// One argument of a `server_name`.
#[derive(Clone, Debug)]
pub(crate) struct ServerName {
    pub text: Box<str>,
    pub span: Span,
    pub name: Name,
}

pub(crate) const DIRECTIVES: &[Directive<Vec<ServerName>>] = &[Directive {
    name: "server_name",
    contexts: SERVER,
    args: Args::at_least(1, &[Value::Text], "name …"),
    repeat: Repeat::Append,
    default: Some("\"\""),
    doc: "Host names of the server: exact, with a wildcard (`*.example.com`, `mail.*`, `.example.com` for the name \
          and all below it), or a regex (`~^(?<shop>\\w+)\\.example\\.com$`). The first is `$server_name`. \
          Found in the order exact, longest `*.` name, longest `.*` name, first regex; else the default server.",
    set: |names, given| {
        for (index, word) in given.words().iter().enumerate() {
            let text: Box<str> = match &*word.text {
                "$hostname" => hostname(),
                text if text.starts_with('~') => text.into(),
                text => text.to_ascii_lowercase().into(),
            };
            let star = text.starts_with('*') && (text.len() < 3 || !text.starts_with("*."));
            if star || &*text == "." {
                return Err(given.error(index, format!("server name \"{text}\" is invalid")).help(FORMS));
            }
            let name = Name::parse(&text).map_err(|why| given.error(index, why).help(FORMS))?;
            if text.contains('/') && !text.starts_with('~') {
                given
                    .cx
                    .report(Diagnostic::warning(word.span, format!("server name \"{text}\" has suspicious symbols")));
            }
            names.push(ServerName { text, span: word.span, name });
        }
        Ok(())
    },
}];

const FORMS: &str = "a name is exact, *.name, name.*, .name, or ~ and a regular expression as PCRE reads it";

/// The machine's name, lower case, as `$hostname`.
pub(crate) fn hostname() -> Box<str> {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().to_ascii_lowercase().into()
}
