//! `stream { … }` compiled: names resolved, logs open, templates compiled,
//! groups built with what they keep from the running generation.

use crate::access_log::{Access, Line};
use crate::custom::{self, Customs};
use crate::directives::STREAM_LEVEL;
use crate::outcomes::Outcomes;
use crate::servers::Places;
use crate::target::{self, Target};
use crate::totals::Totals;
use crate::variables::{Variable, compile};
use crate::{bind, limit_conn, listen, pass, phases, preread, proxy, rates, settings, udp};
use ahash::AHashMap;
use fairlead_conf::{Block, Diagnostic, Template, Word};
use fairlead_core::health::{Check, Kind, Match};
use fairlead_core::limit;
use fairlead_core::log::{Agreed, ErrorLog, ErrorLogs};
use fairlead_core::names::{Names, Pattern};
use fairlead_core::net::{Address, Listener, ListenerKey, listen_addresses};
use fairlead_core::plan::Build;
use fairlead_core::resolver;
use fairlead_core::upstream::{self, Group, Method};
use std::sync::Arc;

/// One generation's stream plane, shared by all workers.
pub struct Plan {
    pub(crate) listening: Vec<Listening>,
    pub(crate) groups: Vec<PlannedGroup>,
    pub(crate) resolvers: Vec<resolver::Settings>,
    pub(crate) hostname: Box<str>,
    checks: Vec<Check>,
    pub(crate) limit_zones: Vec<limit_conn::Zone>,
    pub(crate) customs: Customs,
}

/// One address and the servers that take its sessions.
pub(crate) struct Listening {
    pub listener: Listener,
    pub proxy_protocol: bool,
    /// In the order of the file.
    pub servers: Vec<Arc<Server>>,
    /// Index of the server that takes what no name does.
    pub default: usize,
    /// Indexes of the servers; empty when there is nothing to choose.
    pub names: Arc<Names<usize>>,
}

impl Listening {
    pub fn default_server(&self) -> &Arc<Server> {
        &self.servers[self.default]
    }
}

/// What the sessions of a server come to.
pub(crate) enum Content {
    Proxy(Target),
    Pass(pass::Destination),
    Return(Template<Variable>),
}

/// A `server` block compiled.
pub(crate) struct Server {
    /// Its first `server_name`, by which a reload finds its counters.
    name: Box<str>,
    pub content: Content,
    pub preread: preread::Settings,
    pub session: settings::Session,
    pub proxy: proxy::Settings,
    pub rates: rates::Rates,
    pub udp: udp::Settings,
    pub error_log: ErrorLog,
    pub access_logs: Vec<Access>,
    pub sets: custom::Sets,
    /// Index of the resolver that its names are asked of.
    pub resolver: Option<usize>,
    /// Something will ask which address a client used.
    pub wants_local: bool,
    pub outcomes: Arc<Outcomes>,
    pub phases: phases::Phases,
    pub bind: Option<bind::Bind>,
}

pub(crate) struct PlannedGroup {
    /// What `proxy_pass` calls it, in lower case.
    name: Box<str>,
    /// An `upstream` block, not the one address of a `proxy_pass`.
    named: bool,
    pub group: Arc<Group>,
    /// The text of `hash`.
    pub key: Option<Template<Variable>>,
}

impl Plan {
    /// Reads a `stream` block. Problems go to `build.cx`; a plan comes back only without errors.
    /// `error_logs` is what main says; `previous` gives its peers' states.
    pub fn build(
        block: &Block,
        error_logs: &ErrorLogs,
        previous: Option<&Plan>,
        build: &Build<'_>,
    ) -> Option<Arc<Plan>> {
        let mut stream = settings::Stream::default();
        stream.inherited.error_logs = error_logs.clone();
        build.cx.defined.take();
        custom::define(block, build.cx);
        STREAM_LEVEL.defaults(&mut stream, build.cx);
        STREAM_LEVEL.eval(block, &mut stream, build.cx);
        let sets = stream.servers.iter().flat_map(|server| &server.sets);
        let names = build.cx.defined.borrow().clone();
        let customs = Customs::new(std::mem::take(&mut stream.variables), sets, names);
        let mut planner = Planner::new(&stream, customs, previous, build);
        for server in &stream.servers {
            planner.server(server);
        }
        planner.plan.listening = std::mem::take(&mut planner.places).finish(build);
        build.cx.defined.take();
        Pattern::forget_known();
        (!build.cx.has_errors()).then(|| Arc::new(planner.plan))
    }

    /// What to bind.
    pub fn listeners(&self) -> Vec<Listener> {
        self.listening.iter().map(|listening| listening.listener.clone()).collect()
    }

    /// The active health checks it asks for.
    pub fn checks(&self) -> Vec<Check> {
        self.checks.clone()
    }

    /// The groups it balances over.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter().map(|planned| &planned.group)
    }

    /// Every listener and the counters of the server behind it.
    pub fn outcomes(&self) -> impl Iterator<Item = (&ListenerKey, &Arc<Outcomes>)> {
        self.listening.iter().flat_map(|listening| {
            let key = &listening.listener.key;
            listening.servers.iter().map(move |server| (key, &server.outcomes))
        })
    }

    /// What all of its counters say together.
    pub fn totals(&self) -> Totals {
        Totals::of(self)
    }

    /// The zones that sessions are counted in, by name.
    pub fn limit_zones(&self) -> impl Iterator<Item = (&str, &limit::Zone)> {
        self.limit_zones.iter().map(|zone| (&*zone.name, &zone.counts))
    }

    /// Peers are to see connections from addresses that are not ours, which takes a privilege.
    pub fn wants_transparent(&self) -> bool {
        let servers = self.listening.iter().flat_map(|listening| &listening.servers);
        servers.filter_map(|server| server.bind.as_ref()).any(|bind| bind.transparent)
    }

    /// The `upstream` of this name.
    pub(crate) fn group_named(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|planned| planned.named && planned.name.eq_ignore_ascii_case(name))
    }

    fn group_called(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|planned| *planned.name == *name).map(|planned| &*planned.group)
    }
}

struct Planner<'a> {
    plan: Plan,
    previous: Option<&'a Plan>,
    build: &'a Build<'a>,
    /// What the running generation listens on.
    listened: AHashMap<&'a ListenerKey, &'a Listening>,
    places: Places,
    lines: Vec<Arc<Line>>,
    log_files: Agreed,
    matches: Vec<Arc<Match>>,
}

impl<'a> Planner<'a> {
    fn new(
        stream: &settings::Stream,
        customs: Customs,
        previous: Option<&'a Plan>,
        build: &'a Build<'a>,
    ) -> Planner<'a> {
        let plan = Plan {
            listening: Vec::new(),
            groups: Vec::new(),
            resolvers: Vec::new(),
            hostname: hostname(),
            checks: Vec::new(),
            limit_zones: limit_conn::Zone::build(
                &stream.limit_zones,
                previous.map_or(&[][..], |plan| &plan.limit_zones),
                &|word| compile(word, build.cx),
                build.cx,
            ),
            customs,
        };
        let before = previous.iter().flat_map(|plan| &plan.listening);
        let listened = before.map(|listening| (&listening.listener.key, listening)).collect();
        let lines = stream.formats.0.iter().map(|format| Line::compile(format, build)).collect();
        let matches = stream.matches.iter().filter_map(|settings| Match::build(settings, build.cx)).collect();
        let mut planner = Planner {
            plan,
            previous,
            build,
            listened,
            places: Places::default(),
            lines,
            log_files: Agreed::default(),
            matches,
        };
        planner.check_sticky_zones(&stream.upstreams);
        for settings in &stream.upstreams {
            let name: Box<str> = settings.name.text.to_ascii_lowercase().into();
            let before = previous.and_then(|plan| plan.group_called(&name));
            if let Some(group) = Group::build(settings, before, build) {
                planner.add(name, true, group);
            }
        }
        planner
    }

    /// A table holds one upstream's peers.
    fn check_sticky_zones(&self, upstreams: &[upstream::Settings]) {
        let zones = || upstreams.iter().filter_map(|settings| settings.sticky_source.as_ref()?.zone.as_ref());
        for (at, zone) in zones().enumerate() {
            if zones().take(at).any(|other| other.text == zone.text) {
                let problem = Diagnostic::error(zone.span, format!("duplicate zone \"{}\"", zone.text));
                self.build.cx.report(problem.help("each upstream has a table of its own"));
            }
        }
    }

    fn report<T>(&self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.build.cx.report(diagnostic)).ok()
    }

    fn add(&mut self, name: Box<str>, named: bool, group: Arc<Group>) -> usize {
        let key = match &group.method {
            Method::Hash { key, .. } => self.report(compile(key, self.build.cx)),
            _ => None,
        };
        self.plan.groups.push(PlannedGroup { name, named, group, key });
        self.plan.groups.len() - 1
    }

    fn server(&mut self, server: &settings::Server) {
        let error = |message: &str| self.build.cx.report(Diagnostic::error(server.span, message));
        if !server.names_listen {
            error("no \"listen\" is defined for server");
        }
        if server.content.is_none() {
            error("no handler for server");
        }
        let listens: Vec<_> = server.listens.iter().map(|listen| (listen, self.keys(listen))).collect();
        let Some(content) = self.content(server) else { return };
        self.check(server, &content);
        let keys = listens.iter().flat_map(|(_, keys)| keys);
        let outcomes = self.outcomes(server, keys);
        let Some(compiled) = self.compile(server, content, outcomes) else { return };
        let compiled = Arc::new(compiled);
        for (listen, keys) in &listens {
            keys.iter().for_each(|key| self.places.add(key, listen, (server, &compiled), self.build));
        }
    }

    fn content(&mut self, server: &settings::Server) -> Option<Content> {
        match server.content? {
            settings::Content::Proxy => self.target(server.proxy.pass.as_ref()?).map(Content::Proxy),
            settings::Content::Pass => {
                self.report(pass::compile_address(server.pass.as_ref()?, self.build.cx)).map(Content::Pass)
            }
            settings::Content::Return => {
                self.report(compile(server.returns.as_ref()?, self.build.cx)).map(Content::Return)
            }
        }
    }

    /// What `proxy_pass` says: a group there is already, one for its address, or variables.
    fn target(&mut self, pass: &Word) -> Option<Target> {
        let template = self.report(compile(pass, self.build.cx))?;
        let Some(text) = template.literal() else { return Some(Target::Dynamic(template)) };
        let text = text.to_ascii_lowercase();
        if let Some(index) = self.plan.groups.iter().position(|planned| *planned.name == *text) {
            return Some(Target::Group(index));
        }
        let found = target::parse(&pass.text)
            .map_err(|problem| Diagnostic::error(pass.span, format!("{problem} in upstream \"{}\"", pass.text)));
        let (host, port) = match self.report(found)? {
            target::Destination::Address(Address::Ip(address)) => (address.ip().to_string().into(), address.port()),
            target::Destination::Address(Address::Unix(_)) => (pass.text.clone(), 0),
            target::Destination::Name { host, port } => {
                if self.plan.group_named(&host).is_some() {
                    let message = format!("upstream \"{host}\" may not have port {port}");
                    self.build.cx.report(Diagnostic::error(pass.span, message));
                    return None;
                }
                (host, port)
            }
        };
        let host = Word { text: host, span: pass.span, quoted: pass.quoted };
        let before = self.previous.and_then(|plan| plan.group_called(&text));
        let group = Group::implicit(&host, port, before, self.build)?;
        Some(Target::Group(self.add(text.into(), false, group)))
    }

    fn check(&mut self, server: &settings::Server, content: &Content) {
        let Some((check, span)) = &server.health.check else { return };
        let error = |message: &str| self.build.cx.report(Diagnostic::error(*span, message));
        let Content::Proxy(Target::Group(index)) = content else {
            return error("\"health_check\" requires \"proxy_pass\" without variables");
        };
        let Some(planned) = self.plan.groups.get(*index) else { return };
        let matching = match &check.matching {
            None => None,
            Some(word) => match self.matches.iter().find(|block| block.name == word.text) {
                Some(block) => Some(block.clone()),
                None => {
                    let message = format!("match \"{}\" is not found", word.text);
                    return self.build.cx.report(Diagnostic::error(word.span, message));
                }
            },
        };
        self.plan.checks.push(Check {
            group: planned.group.clone(),
            settings: check.clone(),
            matching,
            kind: if check.udp { Kind::Udp } else { Kind::Tcp },
            connect_timeout: server.proxy.connect_timeout,
            read_timeout: server.health.timeout,
            judge: None,
        });
    }

    fn compile(&mut self, server: &settings::Server, content: Content, outcomes: Arc<Outcomes>) -> Option<Server> {
        let logs = server.access_logs.active().iter().map(|settings| {
            self.log_files.check(settings)?;
            Access::build(settings, server.log_files, &self.lines, self.build)
        });
        let access_logs: Vec<Access> = logs.filter_map(|built| self.report(built)).collect();
        let error_log = self.build.logs.error_log(&server.error_logs.0);
        let error_log = self.report(error_log.map_err(|error| Diagnostic::general(error.to_string())))?;
        let rates = self.report(rates::Rates::build(&server.rates, self.build.cx))?;
        let names = self.report(server.names.settings(self.build))?;
        let resolver = names.map(|settings| self.resolver(settings));
        let phases = phases::Phases::build(&server.phases, &self.plan.limit_zones, self.build);
        let bind =
            server.proxy.bind.as_ref().and_then(|settings| self.report(bind::Bind::build(settings, self.build.cx)));
        let wants_local = server.proxy.header.is_some()
            || phases.variables(&self.plan.limit_zones).any(|variable| self.plan.customs.want_local(*variable))
            || bind.iter().flat_map(bind::Bind::variables).any(|variable| self.plan.customs.want_local(*variable))
            || access_logs.iter().flat_map(Access::variables).any(|variable| self.plan.customs.want_local(variable))
            || server.sets.iter().any(|set| self.wants_local(&set.value))
            || rates.variables().any(|variable| self.plan.customs.want_local(*variable))
            || self.content_wants_local(&content);
        Some(Server {
            name: first_name(server).into(),
            content,
            preread: server.preread.clone(),
            session: server.session.clone(),
            proxy: server.proxy.clone(),
            rates,
            udp: server.udp.clone(),
            error_log,
            access_logs,
            sets: server.sets.clone(),
            resolver,
            wants_local,
            outcomes,
            phases,
            bind,
        })
    }

    fn content_wants_local(&self, content: &Content) -> bool {
        match content {
            Content::Proxy(target) => self.target_wants_local(target),
            Content::Pass(pass::Destination::Dynamic(text)) | Content::Return(text) => self.wants_local(text),
            Content::Pass(pass::Destination::Address(_)) => false,
        }
    }

    fn target_wants_local(&self, target: &Target) -> bool {
        let by_key = |group: &PlannedGroup| group.key.as_ref().is_some_and(|key| self.wants_local(key));
        match target {
            Target::Dynamic(template) => self.wants_local(template) || self.plan.groups.iter().any(by_key),
            Target::Group(index) => self.plan.groups.get(*index).is_some_and(by_key),
        }
    }

    fn wants_local(&self, template: &Template<Variable>) -> bool {
        template.variables().any(|variable| self.plan.customs.want_local(*variable))
    }

    /// Counters of the server that had one of these addresses, and its name, before.
    fn outcomes<'k>(&self, server: &settings::Server, keys: impl Iterator<Item = &'k ListenerKey>) -> Arc<Outcomes> {
        let mut listening = keys.filter_map(|key| self.listened.get(key));
        let name = first_name(server);
        let before = listening.find_map(|listening| listening.servers.iter().find(|server| *server.name == *name));
        before.map(|server| server.outcomes.clone()).unwrap_or_default()
    }

    fn keys(&self, listen: &listen::Listen) -> Vec<ListenerKey> {
        let addresses = self.report(listen_addresses(&listen.address, None, self.build.resolve)).unwrap_or_default();
        addresses.into_iter().map(|address| ListenerKey { protocol: listen.protocol, address }).collect()
    }

    fn resolver(&mut self, settings: resolver::Settings) -> usize {
        let known = self.plan.resolvers.iter().position(|other| *other == settings);
        known.unwrap_or_else(|| {
            self.plan.resolvers.push(settings);
            self.plan.resolvers.len() - 1
        })
    }
}

fn first_name(server: &settings::Server) -> &str {
    server.server_names.first().map_or("", |name| &name.text)
}

/// `$hostname`, in lower case as nginx has it.
#[allow(clippy::disallowed_methods, reason = "read once, while a plan is built")]
pub(crate) fn hostname() -> Box<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests;
