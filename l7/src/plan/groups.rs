//! Every group that a `proxy_pass` may lead to, and the checks of their peers.

use super::Plan;
use crate::proxy::settings::{HealthCheck, Url};
use crate::proxy::{Proxy, StickyCookie};
use crate::settings::Shared;
use crate::variables::{self, Variable};
use ahash::AHashMap;
use fairlead_conf::{Diagnostic, Template};
use fairlead_core::health::{Check, Kind, Match};
use fairlead_core::plan::Build;
use fairlead_core::upstream::{Group, Method};
use std::sync::Arc;

/// The port of a `proxy_pass http://…` that names none.
const HTTP_PORT: u16 = 80;

pub(super) struct Groups<'a> {
    previous: Option<&'a Plan>,
    pub groups: Vec<Arc<Group>>,
    pub keys: Vec<Option<Template<Variable>>>,
    pub sticky: Vec<Option<StickyCookie>>,
    /// Of `upstream` blocks, in lower case.
    named: AHashMap<Box<str>, usize>,
    /// Of a `proxy_pass` without a block: `host:port`. `None` is one that could not be made.
    implicit: AHashMap<Box<str>, Option<usize>>,
    matches: Vec<Arc<Match>>,
    pub checks: Vec<Check>,
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
        let sticky = group.sticky.as_ref().and_then(|sticky| keep(StickyCookie::compile(sticky, build.cx), build));
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

    /// Adds the `health_check` of a location that passes to group `index`.
    pub fn check(&mut self, check: &HealthCheck, index: usize, proxy: &Proxy, build: &Build<'_>) {
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
        self.checks.push(Check {
            group: group.clone(),
            settings: check.settings.clone(),
            matching,
            kind: Kind::Http { host: proxy.host.clone() },
            connect_timeout: proxy.connect_timeout,
            read_timeout: proxy.read_timeout,
        });
    }
}

fn keep<T>(result: Result<T, Diagnostic>, build: &Build<'_>) -> Option<T> {
    result.map_err(|diagnostic| build.cx.report(diagnostic)).ok()
}
