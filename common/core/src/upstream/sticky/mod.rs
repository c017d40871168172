//! `sticky`: what a client's requests are kept with one peer by. The settings
//! of every kind, and how their rows are read. What may hold variables stays as it
//! is written: the http plane compiles it. Who is bound where is not known here.

mod cookie;
mod learn;
mod signature;
mod source;

pub use cookie::StickyCookie;
pub use learn::StickyLearn;
pub use signature::Signer;
pub use source::StickySource;
pub(super) use source::{SOURCE_PARAMS, parse as parse_source};

use fairlead_conf::value::parse_size;
use fairlead_conf::{Diagnostic, Given, Word};

/// `sticky` of http.
#[derive(Clone, Debug)]
pub enum Sticky {
    Cookie(StickyCookie),
    /// The variables that may hold a server's `route=`, in the order they are asked in.
    Route(Vec<Word>),
    Learn(StickyLearn),
}

/// nginx's least for a zone: eight pages.
const LEAST_ZONE: u64 = 8 * 4096;
/// 256 million clients.
const MOST_ZONE: u64 = 1 << 34;

/// Reads a `sticky` statement of http.
pub(super) fn parse(given: &Given<'_>) -> Result<Sticky, Diagnostic> {
    match given.text(0) {
        "cookie" => cookie::parse(given).map(Sticky::Cookie),
        "learn" => learn::parse(given).map(Sticky::Learn),
        _ => {
            let wrong = given.words().iter().skip(1).find(|word| !word.text.starts_with('$'));
            match wrong {
                Some(word) => Err(Diagnostic::error(word.span, format!("invalid variable name \"{}\"", word.text))),
                None => Ok(Sticky::Route(given.words().iter().skip(1).cloned().collect())),
            }
        }
    }
}

/// `name:size`.
fn zone(word: &Word) -> Result<(Word, u64), Diagnostic> {
    let error = |problem: &str| Diagnostic::error(word.span, problem).help("write its name and size: zone=clients:1m");
    let (name, size) = word.text.split_once(':').ok_or_else(|| error("zone size is not specified"))?;
    if name.is_empty() {
        return Err(error("zone name is not specified"));
    }
    let size = parse_size(size).filter(|size| *size <= MOST_ZONE).ok_or_else(|| error("invalid zone size"))?;
    if size < LEAST_ZONE {
        let problem = format!("zone \"{}\" is too small", word.text);
        return Err(Diagnostic::error(word.span, problem).help("32k is the least"));
    }
    Ok((Word { text: name.into(), ..word.clone() }, size))
}

/// `name=value` words of a statement that each may stand once.
struct Once<'a, 'b> {
    given: &'a Given<'b>,
    seen: Vec<&'b str>,
}

impl<'a, 'b> Once<'a, 'b> {
    fn new(given: &'a Given<'b>) -> Once<'a, 'b> {
        Once { given, seen: Vec::new() }
    }

    /// Notes that parameter `name` stands at `index`.
    fn note(&mut self, name: &'b str, index: usize) -> Result<(), Diagnostic> {
        if self.seen.contains(&name) {
            return Err(self.given.error(index, format!("parameter \"{name}\" is duplicate")));
        }
        self.seen.push(name);
        Ok(())
    }
}
