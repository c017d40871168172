//! The members of a group that change while the process runs, and the group's
//! editions: a new one for each change. Shared by all workers, which read one
//! counter; the lock is taken only when that has moved. Fed by the keeper.

use crate::clock::Tick;
use crate::resolver;
use crate::upstream::group::{Since, too_large};
use crate::upstream::members::{self, Answer, Line, Source, States};
use crate::upstream::peer::Version;
use crate::upstream::{Bindings, Group, Peer, Settings, State};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Roster {
    settings: Settings,
    lines: Vec<Line>,
    pub(super) resolver: resolver::Settings,
    version: Version,
    bindings: Option<Arc<Bindings>>,
    /// Of the group in `now` that all know of.
    edition: AtomicU64,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    /// What was found for each line's name.
    answers: Vec<Option<Answer>>,
    peers: Vec<Arc<Peer>>,
    /// The edition after the plan's own, which holds this roster.
    group: Option<Arc<Group>>,
}

/// The next edition of a group, made and not yet announced.
pub(super) struct Change {
    before: Vec<Arc<Peer>>,
    pub after: Arc<Group>,
}

impl Roster {
    /// `answers` are what `planned`, the plan's own edition, was made from.
    pub fn new(
        settings: &Settings,
        lines: Vec<Line>,
        mut answers: Vec<Option<Answer>>,
        (resolver, planned): (resolver::Settings, &Group),
    ) -> Arc<Roster> {
        answers.resize(lines.len(), None);
        let now = Mutex::new(Now { answers, peers: planned.peers.clone(), group: None });
        let (settings, edition) = (settings.clone(), AtomicU64::new(0));
        let (version, bindings) = (planned.version().clone(), planned.bindings.clone());
        Arc::new(Roster { settings, lines, resolver, version, bindings, edition, now })
    }

    pub fn name(&self) -> &str {
        &self.settings.name.text
    }

    /// The number of the newest edition.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// The newest edition; `None` while that is the plan's own.
    pub fn group(&self) -> Option<Arc<Group>> {
        self.lock().group.clone()
    }

    /// What is to be looked up, with the number of its line.
    pub fn sources(&self) -> impl Iterator<Item = (usize, &Source)> {
        self.lines.iter().enumerate().filter_map(|(line, it)| Some((line, it.source()?)))
    }

    /// What is known of the names that `lines` of the next generation look up; the peers of the
    /// plan's edition stand for names that this one did not look up.
    pub fn answers_for(&self, lines: &[Line], peers: &[Arc<Peer>]) -> Vec<Option<Answer>> {
        let now = self.lock();
        let mut answers = members::answers_in(lines, peers);
        for (line, answer) in lines.iter().zip(&mut answers) {
            let Some(Source { host, service, .. }) = line.source() else { continue };
            let mut known = self.sources().filter(|(_, source)| source.host == *host && source.service == *service);
            if let Some(found) = known.find_map(|(at, _)| now.answers.get(at).cloned().flatten()) {
                *answer = Some(found);
            }
        }
        answers
    }

    /// What was found for a line's name last.
    pub fn answer(&self, line: usize) -> Option<Answer> {
        self.lock().answers.get(line).cloned().flatten()
    }

    /// Makes the edition that follows from what was found for a line's name. [`Group::current`] gives
    /// it at once; workers take it when it is [announced](Roster::announce). `None` when nothing changes.
    ///
    /// # Errors
    /// Why there can be no such group.
    pub fn stage(&self, line: usize, answer: Answer) -> Result<Option<Change>, String> {
        let mut now = self.lock();
        let mut answers = now.answers.clone();
        if let Some(known) = answers.get_mut(line) {
            *known = Some(answer);
        }
        let states = States::of(&now.peers);
        let peers = members::peers(&self.lines, &answers, &self.settings.method, states);
        if members::same(&now.peers, &peers) {
            now.answers = answers;
            return Ok(None);
        }
        if let Some(problem) = too_large(&self.settings, &peers) {
            return Err(problem.message);
        }
        now.answers = answers;
        let edition = self.edition().saturating_add(1);
        let since = Since { edition, version: &self.version, before: now.group.as_deref() };
        let mut after = Group::edition_of(&self.settings, peers, &since);
        after.bindings = self.bindings.clone();
        let after = Arc::new(after);
        let before = std::mem::replace(&mut now.peers, after.peers.clone());
        now.group = Some(after.clone());
        Ok(Some(Change { before, after }))
    }

    /// Lets the workers have a staged edition and tells those who hold a peer that is gone. Peers
    /// that join others start slowly, where their line says so.
    pub fn announce(&self, change: &Change, now: Tick) {
        change.joined().for_each(|peer| peer.state.begin_slow_start(now));
        self.edition.store(change.after.edition(), Ordering::Release);
        change.after.peers.iter().for_each(|peer| peer.state.set_down(peer.down));
        change.gone().for_each(|peer| peer.state.remove());
        self.version.bump();
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    fn gone(&self) -> impl Iterator<Item = &Arc<Peer>> {
        let kept: HashSet<*const State> = self.after.peers.iter().map(|peer| Arc::as_ptr(&peer.state)).collect();
        self.before.iter().filter(move |peer| !kept.contains(&Arc::as_ptr(&peer.state)))
    }

    /// None where there was nobody before: all of a group that begins have their whole weight.
    fn joined(&self) -> impl Iterator<Item = &Arc<Peer>> {
        let known: HashSet<*const State> = self.before.iter().map(|peer| Arc::as_ptr(&peer.state)).collect();
        self.after.peers.iter().filter(move |peer| !known.is_empty() && !known.contains(&Arc::as_ptr(&peer.state)))
    }

    /// Peers that are new, and peers that are gone.
    pub fn counts(&self) -> (usize, usize) {
        let gone = self.gone().count();
        (self.after.peers.len() + gone - self.before.len(), gone)
    }
}
