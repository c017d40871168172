//! From `http { … }` to a [`Plan`].
//!
//! First the rows are run over the block, then groups, locations and servers
//! are compiled. Everything that is wrong is reported; nothing is bound.

use super::groups::Groups;
use super::servers::Listening;
use super::{Plan, locations};
use crate::directives::HTTP_LEVEL;
use crate::filter::Charsets;
use crate::phase::{self, ConnZone, Gates, ReqZone};
use crate::route::Pattern;
use crate::settings::{self, Http};
use crate::temp_file::TempFolder;
use crate::variables::custom::{self, Customs, Givers};
use crate::variables::{self, Variable, Wanted};
use ahash::AHashMap;
use fairlead_conf::{Block, Cx, Diagnostic, Piece, Template, Word};
use fairlead_core::log::{AccessLog, Destination, ErrorLog, ErrorLogs, Escape, FileCaching, Format};
use fairlead_core::plan::Build;
use fairlead_core::resolver::{self, ResolverSettings};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

pub(super) fn build(
    block: &Block,
    error_logs: &ErrorLogs,
    previous: Option<&Plan>,
    build: &Build<'_>,
) -> Option<Arc<Plan>> {
    build.cx.defined.take();
    build.cx.wanted.take();
    let mut givers = Givers::default();
    custom::define(block, build.cx, &mut givers);
    let mut http = Http::default();
    http.inherited.error_logs = Arc::new(error_logs.clone());
    HTTP_LEVEL.defaults(&mut http, build.cx);
    // What main says comes before the row's own default.
    http.inherited.error_logs = Arc::new(error_logs.clone());
    HTTP_LEVEL.eval(block, &mut http, build.cx);

    let Http { mut shared, servers, .. } = http;
    let blocks = std::mem::take(&mut shared.variables);
    let compile = |word: &Word| variables::compile(word, build.cx);
    let conn_zones = previous.map_or(&[][..], |plan| &plan.conn_zones);
    let req_zones = previous.map_or(&[][..], |plan| &plan.req_zones);
    let planner = Planner {
        conn_zones: ConnZone::build(&shared.conn_zones, conn_zones, &compile, build.cx),
        req_zones: ReqZone::build(&shared.req_zones, req_zones, build.cx),
        charsets: Charsets::new(block, std::mem::take(&mut shared.charsets)),
        build,
        groups: RefCell::new(Groups::build(&shared, previous, build)),
        formats: formats(&shared.formats, build.cx),
        shared: Shared::default(),
        server_name: RefCell::default(),
        transparent: Cell::new(false),
    };
    let mut listening = Listening::default();
    for server in &servers {
        let compiled = Arc::new(locations::server(server, &planner));
        listening.add(server, &compiled, build);
    }
    let (listeners, virtual_servers) = listening.finish(build);
    let temp_folders = planner.shared.temp_folders.take();
    let Planner { groups, conn_zones, req_zones, charsets, transparent, .. } = planner;
    let groups = groups.into_inner();
    Pattern::forget_known();
    if build.cx.has_errors() {
        return None;
    }
    Some(Arc::new(Plan {
        group_names: groups.names(),
        groups: groups.groups,
        keys: groups.keys,
        sticky: groups.sticky,
        listeners,
        virtual_servers,
        checks: groups.checks,
        wanted: Wanted::of(&build.cx.wanted.take()),
        customs: Customs::new(blocks, givers.sets(), build.cx.defined.take()),
        conn_zones,
        req_zones,
        transparent: transparent.get(),
        temp_folders,
        charsets,
    }))
}

/// What compiling locations needs, and what they share.
pub(crate) struct Planner<'a> {
    pub build: &'a Build<'a>,
    pub(super) groups: RefCell<Groups<'a>>,
    pub conn_zones: Vec<ConnZone>,
    pub req_zones: Vec<ReqZone>,
    /// Of the plan.
    pub transparent: Cell<bool>,
    pub charsets: Charsets,
    formats: AHashMap<Box<str>, (Escape, Arc<Template<Variable>>)>,
    pub shared: Shared,
    /// First name of the server that is being compiled.
    pub(super) server_name: RefCell<Box<str>>,
}

/// Compiled settings that several locations have in common, by the address of their settings:
/// ten thousand servers that say nothing of their own open one log and hold one table of types.
#[derive(Default)]
pub(crate) struct Shared {
    gates: RefCell<AHashMap<usize, Option<Arc<Gates>>>>,
    error_logs: RefCell<AHashMap<usize, ErrorLog>>,
    access_logs: RefCell<AHashMap<LogsKey, Vec<Option<AccessLog>>>>,
    resolvers: RefCell<AHashMap<usize, Option<resolver::Settings>>>,
    pub types: RefCell<AHashMap<TypesKey, Arc<super::Types>>>,
    temp_folders: RefCell<Vec<Arc<TempFolder>>>,
}

/// Identity of `access_log`s, and what is said of the files they name with variables.
type LogsKey = (usize, FileCaching);

/// Identity of `types`, and `default_type`.
type TypesKey = (usize, Box<str>);

/// Identity of shared settings, which outlive the build.
pub(super) fn identity<T>(settings: &Arc<T>) -> usize {
    Arc::as_ptr(settings) as usize
}

impl Planner<'_> {
    pub fn report(&self, diagnostic: Diagnostic) {
        self.build.cx.report(diagnostic);
    }

    pub fn error_log(&self, logs: &Arc<ErrorLogs>) -> ErrorLog {
        let mut known = self.shared.error_logs.borrow_mut();
        let open = || match self.build.logs.error_log(&logs.0) {
            Ok(log) => log,
            Err(error) => {
                self.report(Diagnostic::general(error.to_string()));
                ErrorLog::default()
            }
        };
        known.entry(identity(logs)).or_insert_with(open).clone()
    }

    /// The one folder that all who name it share.
    pub fn temp_folder(&self, folder: &Arc<TempFolder>) -> Arc<TempFolder> {
        let mut known = self.shared.temp_folders.borrow_mut();
        if let Some(known) = known.iter().find(|known| Arc::ptr_eq(known, folder) || *known == folder) {
            return known.clone();
        }
        known.push(folder.clone());
        folder.clone()
    }

    pub fn gates(&self, settings: &Arc<phase::Settings>) -> Option<Arc<Gates>> {
        let mut known = self.shared.gates.borrow_mut();
        known.entry(identity(settings)).or_insert_with(|| Gates::build(settings, self)).clone()
    }

    pub fn resolver(&self, names: &Arc<ResolverSettings>) -> Option<resolver::Settings> {
        let mut known = self.shared.resolvers.borrow_mut();
        let settle = || names.settings(self.build).map_err(|problem| self.report(problem)).ok().flatten();
        known.entry(identity(names)).or_insert_with(settle).clone()
    }

    pub fn access_logs(&self, logs: &Arc<Vec<settings::logs::Settings>>, caching: FileCaching) -> Vec<super::Access> {
        let mut known = self.shared.access_logs.borrow_mut();
        let open = || logs.iter().map(|log| self.open(log, caching)).collect();
        let opened = known.entry((identity(logs), caching)).or_insert_with(open);
        let both = logs.iter().zip(opened.iter());
        both.filter_map(|(settings, log)| {
            let (escape, format) = self.formats.get(&settings.format.text)?;
            Some(super::Access {
                log: log.clone()?,
                path: settings.path.clone(),
                escape: *escape,
                format: format.clone(),
                condition: settings.condition.clone(),
            })
        })
        .collect()
    }

    fn open(&self, settings: &settings::logs::Settings, caching: FileCaching) -> Option<AccessLog> {
        let format = &settings.format;
        if !self.formats.contains_key(&format.text) {
            self.report(Diagnostic::error(format.span, format!("unknown log format \"{}\"", format.text)));
            return None;
        }
        let mut destination = settings.destination.clone();
        if let Destination::Files { cache, .. } = &mut destination {
            *cache = caching.0;
        }
        let opened = self.build.logs.access_log(&destination, settings.buffer, settings.flush);
        opened
            .map(|log| log.compressed(settings.gzip))
            .map_err(|error| self.report(Diagnostic::error(settings.span, error.to_string())))
            .ok()
    }
}

/// Every `log_format`, and `combined`.
fn formats(written: &[Format], cx: &Cx) -> AHashMap<Box<str>, (Escape, Arc<Template<Variable>>)> {
    let text = Word { text: settings::logs::COMBINED.into(), span: fairlead_conf::Span::default(), quoted: true };
    let combined = Format { name: "combined".into(), escape: Escape::Default, text: vec![text] };
    let all = std::iter::once(&combined).chain(written);
    all.map(|format| (format.name.clone(), (format.escape, Arc::new(format_text(format, cx))))).collect()
}

fn format_text(format: &Format, cx: &Cx) -> Template<Variable> {
    let mut pieces: Vec<Piece<Variable>> = Vec::new();
    for word in &format.text {
        match variables::compile_line(word, cx) {
            Ok(template) => pieces.extend(template.pieces),
            Err(diagnostic) => cx.report(diagnostic),
        }
    }
    Template { pieces }
}
