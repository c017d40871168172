//! What `http { … }` says, level by level, before it is compiled by `plan`.
//!
//! A block starts as a clone of the finished block around it. What is inherited
//! hangs on `Arc`s, so that the clone of a thousand settings is a few counters,
//! and a block copies only the part it changes.

pub(crate) mod bodies;
pub(crate) mod client;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod heads;
pub(crate) mod logs;
pub(crate) mod names;
pub(crate) mod rates;

use crate::content::{Made, Tries};
use crate::filter;
use crate::rewrite::{self, Rules};
use crate::route::{Kind, Pattern};
use crate::variables::custom::Blocks;
use crate::variables::{referer, secure_link};
use crate::{listen, phase, proxy};
use fairlead_conf::{Diagnostic, Given, Span};
use fairlead_core::health::MatchSettings;
use fairlead_core::limit;
use fairlead_core::log::{ErrorLogs, FileCaching, Format};
use fairlead_core::resolver::ResolverSettings;
use fairlead_core::upstream;
use std::sync::Arc;

/// The scope of the `http` block.
#[derive(Default)]
pub(crate) struct Http {
    pub inherited: Inherited,
    pub heads: heads::Settings,
    pub shared: Shared,
    pub servers: Vec<ServerBlock>,
}

/// What blocks of `http` define by name for all servers.
#[derive(Default)]
pub(crate) struct Shared {
    pub upstreams: Vec<upstream::Settings>,
    pub matches: Vec<MatchSettings>,
    pub formats: Vec<Format>,
    pub variables: Blocks,
    pub conn_zones: limit::Zones,
    pub req_zones: Vec<phase::ReqZoneSettings>,
    pub charsets: filter::CharsetMaps,
}

/// What `http`, `server` and `location` hand down.
#[derive(Clone, Default)]
pub(crate) struct Inherited {
    pub client: Arc<client::Settings>,
    pub bodies: Arc<bodies::Settings>,
    pub rates: Arc<rates::Settings>,
    pub files: Arc<files::Settings>,
    pub access_logs: Arc<Vec<logs::Settings>>,
    pub log_files: FileCaching,
    pub error_logs: Arc<ErrorLogs>,
    pub resolver: Arc<ResolverSettings>,
    pub proxy: Arc<proxy::settings::Settings>,
    pub filters: Arc<filter::Settings>,
    pub rewrite: rewrite::Settings,
    pub phase: Arc<phase::Settings>,
    pub mirror: phase::MirrorSettings,
    pub referers: referer::Settings,
    pub secure_link: secure_link::Settings,
    pub errors: errors::Settings,
}

impl Inherited {
    /// As a block inside this one begins.
    fn inside(&self) -> Inherited {
        Inherited { filters: self.filters.inside(), ..self.clone() }
    }
}

/// A block that holds inherited settings.
pub(crate) trait Scope: 'static {
    fn inherited(&mut self) -> &mut Inherited;
}

impl Scope for Http {
    fn inherited(&mut self) -> &mut Inherited {
        &mut self.inherited
    }
}

/// The scope of a `server` block.
pub(crate) struct ServerBlock {
    /// The word `server`.
    pub span: Span,
    pub inherited: Inherited,
    pub heads: heads::Settings,
    pub listens: Vec<listen::Listen>,
    pub names: Vec<names::ServerName>,
    pub rules: Rules,
    pub tries: Option<Tries>,
    pub made: Option<Made>,
    pub locations: Vec<LocationBlock>,
}

impl ServerBlock {
    pub fn new(http: &Http, span: Span) -> ServerBlock {
        ServerBlock {
            span,
            inherited: http.inherited.inside(),
            heads: http.heads,
            listens: Vec::new(),
            names: Vec::new(),
            rules: Rules::default(),
            tries: None,
            made: None,
            locations: Vec::new(),
        }
    }
}

impl Scope for ServerBlock {
    fn inherited(&mut self) -> &mut Inherited {
        &mut self.inherited
    }
}

/// The scope of a `location` block, or of an `if`, which is a location without a name.
pub(crate) struct LocationBlock {
    /// The word `location`.
    pub span: Span,
    pub name: LocationName,
    pub inherited: Inherited,
    pub rules: Rules,
    pub tries: Option<Tries>,
    pub made: Option<Made>,
    pub pass: Option<proxy::settings::PassTo>,
    pub checks: Vec<proxy::settings::HealthCheck>,
    pub except: Option<phase::Except>,
    pub locations: Vec<LocationBlock>,
}

impl LocationBlock {
    pub fn new(outer: &Inherited, name: LocationName, given: &Given<'_>) -> LocationBlock {
        LocationBlock {
            span: given.statement.name.span,
            name,
            inherited: outer.inside(),
            rules: Rules::default(),
            tries: None,
            made: None,
            pass: None,
            checks: Vec::new(),
            except: None,
            locations: Vec::new(),
        }
    }
}

impl Scope for LocationBlock {
    fn inherited(&mut self) -> &mut Inherited {
        &mut self.inherited
    }
}

/// A location's modifier and what follows it.
#[derive(Clone, Debug)]
pub(crate) struct LocationName {
    pub kind: Kind,
    /// The path or the regex as written.
    pub text: Box<str>,
}

impl LocationName {
    /// Reads the words before a location's brace: `= /x`, `=/x`, `~ \.png$`, `/x`, …
    ///
    /// # Errors
    /// An unknown modifier, a regex that does not compile.
    pub fn parse(given: &Given<'_>) -> Result<LocationName, Diagnostic> {
        let first = given.text(0);
        let (modifier, text) = match given.words() {
            [_, second] => (first, &*second.text),
            _ => split_modifier(first),
        };
        let last = given.len().saturating_sub(1);
        let kind = match modifier {
            "" if text.starts_with('@') => Kind::Named,
            "" => Kind::Prefix,
            "=" => Kind::Exact,
            "^~" => Kind::FinalPrefix,
            "~" | "~*" => Kind::Regex(Pattern::new(text, modifier == "~*").map_err(|why| {
                let problem = given.error(last, format!("invalid regular expression \"{text}\": {why}"));
                problem.help("it is read as PCRE reads it; put it in quotes if it holds {, } or ;")
            })?),
            _ => {
                let message = format!("invalid location modifier \"{modifier}\"");
                return Err(given.error(0, message).help("one of =, ~, ~* and ^~ may stand before the path"));
            }
        };
        Ok(LocationName { kind, text: text.into() })
    }
}

/// `=/x`, `~*\.png$`: a modifier written without a space.
fn split_modifier(word: &str) -> (&str, &str) {
    ["=", "^~", "~*", "~"]
        .iter()
        .find_map(|modifier| word.split_at_checked(modifier.len()).filter(|(head, _)| head == modifier))
        .unwrap_or(("", word))
}
