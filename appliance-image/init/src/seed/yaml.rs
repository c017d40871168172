//! YAML (and with it JSON) of seeds, as a small tree. Anchors are refused: with them a few hundred
//! bytes can stand for gigabytes.

use std::collections::BTreeMap;
use yaml_rust2::parser::{Event, Parser};

/// Deeper than any file of a seed.
const DEEPEST: usize = 32;
const MOST_NODES: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    Scalar(String),
    List(Vec<Yaml>),
    Map(BTreeMap<String, Yaml>),
}

/// Why a file could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// What a list or map has so far.
enum Open {
    List(Vec<Yaml>),
    Map(BTreeMap<String, Yaml>, Option<String>),
}

/// The first document of `text`; an empty one is an empty scalar.
///
/// # Errors
/// What is wrong with it and where.
pub fn parse(text: &str) -> Result<Yaml, Unreadable> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Open> = Vec::new();
    for _ in 0..MOST_NODES {
        let (event, _) = parser.next_token().map_err(|error| Unreadable(error.to_string()))?;
        let done = match event {
            Event::Scalar(text, _, 0, _) => Some(Yaml::Scalar(text)),
            Event::SequenceStart(0, _) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(0, _) => {
                open.push(Open::Map(BTreeMap::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Open::close),
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                return Err(Unreadable("anchors and aliases are not taken".into()));
            }
            Event::DocumentEnd | Event::StreamEnd => return Ok(Yaml::Scalar(String::new())),
            Event::Nothing | Event::StreamStart | Event::DocumentStart => None,
        };
        if open.len() > DEEPEST {
            return Err(Unreadable("it is nested too deep".into()));
        }
        let Some(done) = done else { continue };
        match open.last_mut() {
            None => return Ok(done),
            Some(around) => around.take(done)?,
        }
    }
    Err(Unreadable("it is too long".into()))
}

impl Open {
    fn take(&mut self, value: Yaml) -> Result<(), Unreadable> {
        match self {
            Open::List(list) => list.push(value),
            Open::Map(map, key) => match (key.take(), value) {
                (Some(key), value) => {
                    map.insert(key, value);
                }
                (None, Yaml::Scalar(name)) => *key = Some(name),
                (None, _) => return Err(Unreadable("a key is no plain word".into())),
            },
        }
        Ok(())
    }

    fn close(self) -> Yaml {
        match self {
            Open::List(list) => Yaml::List(list),
            Open::Map(map, _) => Yaml::Map(map),
        }
    }
}

impl Yaml {
    /// The value of `key`, if this is a map that has it.
    pub fn at(&self, key: &str) -> Option<&Yaml> {
        match self {
            Yaml::Map(map) => map.get(key),
            Yaml::Scalar(_) | Yaml::List(_) => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Yaml::Scalar(text) => Some(text),
            Yaml::List(_) | Yaml::Map(_) => None,
        }
    }

    /// The text of `key`; `null` is none.
    pub fn text_at(&self, key: &str) -> Option<&str> {
        self.at(key)?.text().filter(|text| !matches!(*text, "" | "~" | "null"))
    }

    pub fn is_true_at(&self, key: &str) -> bool {
        matches!(self.text_at(key), Some("true" | "True" | "yes" | "on"))
    }

    /// Elements of a list; one word is a list of itself.
    pub fn list_at(&self, key: &str) -> Vec<&Yaml> {
        match self.at(key) {
            Some(Yaml::List(list)) => list.iter().collect(),
            Some(one @ (Yaml::Map(_) | Yaml::Scalar(_))) => vec![one],
            None => Vec::new(),
        }
    }

    /// Words of a list, or of one text with spaces between them.
    pub fn words_at(&self, key: &str) -> Vec<&str> {
        self.list_at(key).into_iter().filter_map(Yaml::text).flat_map(str::split_whitespace).collect()
    }

    pub fn entries_at(&self, key: &str) -> Vec<(&str, &Yaml)> {
        match self.at(key) {
            Some(Yaml::Map(map)) => map.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            _ => Vec::new(),
        }
    }
}
