//! Every group that a `proxy_pass` may lead to, and the checks of their peers.

use super::Plan;
use super::checks::Wanted;
use crate::proxy::settings::{HealthCheck, Url};
use crate::proxy::{Proxy, Sticky};
use crate::settings::Shared;
use crate::variables::{self, Variable};
use ahash::AHashMap;
use fairlead_conf::{Diagnostic, Template};
use fairlead_core::health::{Check, Kind, Match};
use fairlead_core::plan::Build;
use fairlead_core::upstream::{self, Group, Method};
use std::sync::Arc;

/// The port of a `proxy_pass http://…` that names none.
const HTTP_PORT: u16 = 80;

pub(super) struct Groups<'a> {
    previous: Option<&'a Plan>,
    pub groups: Vec<Arc<Group>>,
    pub keys: Vec<Option<Template<Variable>>>,
    pub sticky: Vec<Option<Sticky>>,
    /// Of `upstream` blocks, in lower case.
    named: AHashMap<Box<str>, usize>,
    /// Of a `proxy_pass` without a block: `host:port`. `None` is one that could not be made.
    implicit: AHashMap<Box<str>, Option<usize>>,
    matches: Vec<Arc<Match>>,
    pub checks: Vec<Wanted>,
}

impl<'a> Groups<'a> {
    pub fn build(shared: &Shared, previous: Option<&'a Plan>, build: &Build<'_>) -> Groups<'a> {
        let mut groups = Groups {
            previous,
            groups: Vec::new(),
            keys: Vec::new(),
            sticky: Vec::new(),
            named: AHashMap::new(),
            implicit: AHashMap::new(),
            matches: shared.matches.iter().filter_map(|settings| Match::build(settings, build.cx)).collect(),
            checks: Vec::new(),
        };
        refuse_shared_zones(&shared.upstreams, build);
        for settings in &shared.upstreams {
            let name: Box<str> = settings.name.text.to_ascii_lowercase().into();
            if let Some(group) = Group::build(settings, groups.before(&settings.name.text), build) {
                let index = groups.add(group, build);
                groups.named.insert(name, index);
            }
        }
        groups
    }

    /// The running generation's group of this name.
    fn before(&self, name: &str) -> Option<&'a Group> {
        self.previous?.groups.iter().find(|group| *group.name == *name).map(AsRef::as_ref)
    }

    fn add(&mut self, group: Arc<Group>, build: &Build<'_>) -> usize {
        let key = match &group.method {
            Method::Hash { key, .. } => keep(variables::compile(key, build.cx), build),
            _ => None,
        };
        let compile = |sticky| keep(Sticky::compile(sticky, &group.name, build.cx), build);
        let sticky = group.sticky.as_ref().and_then(compile);
        self.keys.push(key);
        self.sticky.push(sticky);
        self.groups.push(group);
        self.groups.len() - 1
    }

    /// The group a `proxy_pass` without variables names, or one made for its address.
    pub fn of(&mut self, url: &Url, build: &Build<'_>) -> Option<usize> {
        let host = &url.host.text;
        if let Some(&index) = self.named.get(host.to_ascii_lowercase().as_str()) {
            if let Some(port) = url.port {
                let message = format!("upstream \"{host}\" may not have port {port}");
                build.cx.report(Diagnostic::error(url.host.span, message));
            }
            return Some(index);
        }
        let port = url.port.unwrap_or(HTTP_PORT);
        let name: Box<str> =
            if host.starts_with("unix:") { host.clone() } else { format!("{host}:{port}").into_boxed_str() };
        if let Some(known) = self.implicit.get(&name) {
            return *known;
        }
        let made = Group::implicit(&url.host, port, self.before(&name), build).map(|group| self.add(group, build));
        self.implicit.insert(name, made);
        made
    }

    /// Every group by what a `proxy_pass` calls it.
    pub fn names(&self) -> AHashMap<Box<str>, usize> {
        let implicit = self.implicit.iter().filter_map(|(name, index)| Some((name, (*index)?)));
        let named = self.named.iter().map(|(name, index)| (name, *index));
        implicit.chain(named).map(|(name, index)| (name.clone(), index)).collect()
    }

    /// Adds the `health_check` of a location of `server` that passes to group `index`.
    pub fn check(&mut self, check: &HealthCheck, index: usize, (proxy, server): (&Proxy, &str), build: &Build<'_>) {
        let Some(group) = self.groups.get(index) else { return };
        let matching = match &check.settings.matching {
            None => None,
            Some(word) => match self.matches.iter().find(|known| known.name == word.text) {
                Some(known) => Some(known.clone()),
                None => {
                    let message = format!("match \"{}\" is not found", word.text);
                    return build.cx.report(Diagnostic::error(word.span, message));
                }
            },
        };
        let requires = matching.iter().flat_map(|matching| matching.requires());
        let requires = requires.map(|word| keep(variables::compile(word, build.cx), build));
        let Some(requires) = requires.collect::<Option<Vec<_>>>() else { return };
        let check = Check {
            group: group.clone(),
            settings: check.settings.clone(),
            matching,
            // Filled in once the plan is whole: they may hold variables.
            kind: Kind::Http { fields: Vec::new() },
            connect_timeout: proxy.connect_timeout,
            read_timeout: proxy.read_timeout,
            judge: None,
        };
        self.checks.push(Wanted::new(check, proxy, server, requires));
    }
}

/// Each `sticky learn` has a table of its own.
fn refuse_shared_zones(upstreams: &[upstream::Settings], build: &Build<'_>) {
    let mut taken: AHashMap<&str, &str> = AHashMap::new();
    for settings in upstreams {
        let Some(upstream::Sticky::Learn(learn)) = &settings.sticky else { continue };
        if let Some(other) = taken.insert(&learn.zone.text, &settings.name.text) {
            let message = format!("sticky zone \"{}\" is already used in upstream \"{other}\"", learn.zone.text);
            build.cx.report(Diagnostic::error(learn.zone.span, message));
        }
    }
}

fn keep<T>(result: Result<T, Diagnostic>, build: &Build<'_>) -> Option<T> {
    result.map_err(|diagnostic| build.cx.report(diagnostic)).ok()
}
