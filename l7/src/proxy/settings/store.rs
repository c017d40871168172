//! The rows of `proxy_store`.

use super::Settings;
use crate::directives::ALL;
use crate::proxy::StoreTo;
use crate::variables;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value};

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "proxy_store",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "on | off | string"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Writes what peers answer with status 200 to files: `on` to those that `root` or `alias` leads to, a string \
              names them itself, relative to the prefix, with variables. A file gets the time that `Last-Modified` says, and \
              is there only when it is whole. Needs `proxy_buffering on`. Example: `root /data; error_page 404 = @fetch;` and \
              in `location @fetch`: `proxy_pass http://backend; proxy_store on;`.",
        set: |proxy, given| {
            proxy.store = match given.text(0) {
                "on" => Some(StoreTo::Root),
                "off" => None,
                _ => Some(StoreTo::File(variables::compile(given.word(0), given.cx)?)),
            };
            Ok(())
        },
    },
    Directive {
        name: "proxy_store_access",
        contexts: ALL,
        args: Args::between(1, 3, &[Value::Text], "users:permissions ..."),
        repeat: Repeat::Once,
        default: Some("user:rw"),
        doc: "Who may read (`r`) and write (`w`) stored files and the folders that are made for them: `user`, `group` and \
              `all`. Without `user` in it, the owner may do both. Example: `proxy_store_access group:rw all:r;`.",
        set: |proxy, given| access(given).map(|mode| proxy.store_access = mode),
    },
];

fn access(given: &Given<'_>) -> Result<u32, Diagnostic> {
    let mut mode = 0o600;
    for index in 0..given.len() {
        let wrong = || given.error(index, format!("invalid value \"{}\"", given.text(index)));
        let (user, permissions) = given.text(index).split_once(':').ok_or_else(wrong)?;
        let bits = match permissions {
            "r" => 4,
            "w" => 2,
            "rw" => 6,
            _ => return Err(wrong()),
        };
        mode = match user {
            "user" => mode & !0o700 | bits << 6,
            "group" => mode | bits << 3,
            "all" => mode | bits,
            _ => return Err(wrong()),
        };
    }
    Ok(mode)
}
