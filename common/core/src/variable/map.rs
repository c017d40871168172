//! `map`: a value for a text, by exact text, by hostname mask or by regular
//! expression, with nginx's precedence: the exact text, the longest mask that
//! begins with `*`, the longest that ends with it, the first pattern in the
//! file, `default`.

use crate::names::{Captures, Name, Names, Pattern, TooComplex};
use crate::variable::Compile;
use ahash::AHashMap;
use fairlead_conf::{Diagnostic, Given, Statement, Template, Word};

/// A `map` block.
#[derive(Debug)]
pub struct Map<V> {
    /// The text that is looked up.
    pub source: Template<V>,
    /// The value is worked out anew each time it is asked for.
    pub volatile: bool,
    /// Keys may be masks, and the dot at the end of a text is no part of it.
    hostnames: bool,
    /// Texts and masks in lower case, and indexes of their values.
    texts: Names<usize>,
    patterns: Vec<Rule>,
    default: Option<usize>,
    /// Each once, however many keys have it.
    values: Vec<Template<V>>,
}

#[derive(Debug)]
struct Rule {
    /// As written, for the log.
    text: Box<str>,
    pattern: Pattern,
    value: usize,
}

/// What a text came to.
#[derive(Debug)]
pub struct Found<'m, V> {
    /// `None` is the empty value: nothing matched and there is no `default`.
    pub value: Option<&'m Template<V>>,
    /// The groups of the pattern that matched.
    pub captures: Option<Captures>,
    /// A pattern that was given up. Those behind it were not tried, as in nginx.
    pub too_complex: Option<&'m str>,
}

/// Texts up to this length are looked up without an allocation.
const SHORT: usize = 128;

impl<V> Map<V> {
    /// Reads `map string $variable { … }`; what is wrong in the block goes to `given.cx`.
    ///
    /// # Errors
    /// The source names a variable that does not exist.
    pub fn read(given: &Given<'_>, compile: Compile<'_, V>) -> Result<Map<V>, Diagnostic> {
        let map = Map {
            source: compile(given.word(0))?,
            volatile: false,
            hostnames: false,
            texts: Names::default(),
            patterns: Vec::new(),
            default: None,
            values: Vec::new(),
        };
        let mut reader = Reader { map, known: AHashMap::new(), compile };
        for entry in given.entries() {
            reader.entry(entry).unwrap_or_else(|wrong| given.cx.report(wrong));
        }
        Ok(reader.map)
    }

    pub fn find(&self, text: &[u8]) -> Found<'_, V> {
        let text = if self.hostnames { text.strip_suffix(b".").unwrap_or(text) } else { text };
        let found = |value| Found { value, captures: None, too_complex: None };
        if let Some(value) = self.find_text(text) {
            return found(self.values.get(value));
        }
        let default = self.default.and_then(|value| self.values.get(value));
        if text.is_empty() {
            return found(default);
        }
        let mut captures = Captures::default();
        for rule in &self.patterns {
            match rule.pattern.try_matches(text, &mut captures) {
                Ok(true) => return Found { captures: Some(captures), ..found(self.values.get(rule.value)) },
                Ok(false) => {}
                Err(TooComplex) => return Found { too_complex: Some(&rule.text), ..found(default) },
            }
        }
        found(default)
    }

    fn find_text(&self, text: &[u8]) -> Option<usize> {
        let mut short = [0; SHORT];
        let long;
        let lower = match short.get_mut(..text.len()) {
            Some(short) => {
                short.copy_from_slice(text);
                short.make_ascii_lowercase();
                &*short
            }
            None => {
                long = text.to_ascii_lowercase();
                &long
            }
        };
        self.texts.find(lower, &mut Captures::default()).copied()
    }

    /// Every template that a value may need.
    pub fn templates(&self) -> impl Iterator<Item = &Template<V>> {
        self.values.iter().chain([&self.source])
    }
}

struct Reader<'c, V> {
    map: Map<V>,
    /// Values by their text.
    known: AHashMap<Box<str>, usize>,
    compile: Compile<'c, V>,
}

impl<V> Reader<'_, V> {
    fn entry(&mut self, entry: &Statement) -> Result<(), Diagnostic> {
        let key = &entry.name;
        let value = match (&*key.text, entry.args.as_slice()) {
            ("hostnames", []) => {
                self.map.hostnames = true;
                return Ok(());
            }
            ("volatile", []) => {
                self.map.volatile = true;
                return Ok(());
            }
            (_, [value]) => self.value(value)?,
            _ => return Err(Diagnostic::error(key.span, "invalid number of the map parameters")),
        };
        if &*key.text == "default" {
            return match self.map.default.replace(value) {
                None => Ok(()),
                Some(_) => Err(Diagnostic::error(key.span, "duplicate default map parameter")),
            };
        }
        if key.text.starts_with('~') {
            return self.pattern(key, value);
        }
        // Special words and patterns are plain texts behind a backslash.
        let text = key.text.strip_prefix('\\').unwrap_or(&key.text);
        self.text(key, text, value)
    }

    fn value(&mut self, word: &Word) -> Result<usize, Diagnostic> {
        if let Some(&known) = self.known.get(&word.text) {
            return Ok(known);
        }
        self.map.values.push((self.compile)(word)?);
        let index = self.map.values.len() - 1;
        self.known.insert(word.text.clone(), index);
        Ok(index)
    }

    fn pattern(&mut self, key: &Word, value: usize) -> Result<(), Diagnostic> {
        let insensitive = key.text.starts_with("~*");
        let word = key.tail(if insensitive { 2 } else { 1 });
        let pattern = Pattern::new(&word.text, insensitive).map_err(|problem| {
            Diagnostic::error(word.span, format!("regular expression \"{}\" failed: {problem}", word.text))
        })?;
        self.map.patterns.push(Rule { text: word.text, pattern, value });
        Ok(())
    }

    fn text(&mut self, key: &Word, text: &str, value: usize) -> Result<(), Diagnostic> {
        let name = match self.map.hostnames {
            false => Name::Exact(text.to_ascii_lowercase().into()),
            // A dot alone masks nothing and is itself; what is a pattern elsewhere is none here.
            true if text == "." || text.starts_with('~') => Name::Exact(text.to_ascii_lowercase().into()),
            true => Name::parse(text).map_err(|_| {
                let message = format!("invalid hostname or wildcard \"{text}\"");
                Diagnostic::error(key.span, message)
                    .help("a mask is *.name, .name or name.*, with one \"*\" at either end")
            })?,
        };
        match self.map.texts.add(&name, value) {
            true => Ok(()),
            false => Err(Diagnostic::error(key.span, format!("conflicting parameter \"{text}\""))),
        }
    }
}

#[cfg(test)]
mod tests;
