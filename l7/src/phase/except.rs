//! `limit_except`: what holds for methods that are not named. Its block is a
//! location of its own, with the content of the one around it and none of its
//! `return`s.

use crate::directives::{EXCEPT_LEVEL, LOCATION};
use crate::settings::LocationBlock;
use fairlead_conf::{Args, Directive, Repeat, Value};

/// A `limit_except` as written.
pub(crate) struct Except {
    /// In upper case.
    pub allowed: Vec<Box<str>>,
    pub block: Box<LocationBlock>,
}

const METHODS: [&str; 14] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
];

pub(crate) const ROWS: &[Directive<LocationBlock>] = &[Directive {
    name: "limit_except",
    contexts: LOCATION,
    args: Args::at_least(1, &[Value::Text], "method …").with_block(),
    repeat: Repeat::Append,
    default: None,
    doc: "Settings for all methods but those named: `limit_except GET { deny all; }` lets nobody write. `GET` stands \
          for `HEAD` too. A `return` of the location is not for them.",
    set: |location, given| {
        let mut allowed: Vec<Box<str>> = Vec::new();
        for (index, word) in given.words().iter().enumerate() {
            let method = word.text.to_ascii_uppercase();
            if !METHODS.contains(&method.as_str()) {
                let problem = given.error(index, format!("invalid method \"{}\"", word.text));
                return Err(problem.help(format!("one of {}", METHODS.join(", "))));
            }
            if method == "GET" {
                allowed.push("HEAD".into());
            }
            allowed.push(method.into());
        }
        let mut block = LocationBlock::new(&location.inherited, location.name.clone(), given);
        EXCEPT_LEVEL.eval(given.block(), &mut block, given.cx);
        location.except = Some(Except { allowed, block: Box::new(block) });
        Ok(())
    },
}];
