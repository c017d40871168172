//! The members of a group that change while the process runs, and the group's
//! editions. Shared by all workers, which read one counter, and copy one pointer
//! when that has moved: no edition is ever made under a lock. Fed by the keeper,
//! which makes an edition at a time: [`Roster::make`] may take long and changes
//! nothing, [`Roster::stage`] puts it in place, [`Roster::announce`] tells.

use crate::clock::Tick;
use crate::resolver;
use crate::upstream::group::{Since, too_large};
use crate::upstream::members::{self, Answer, Line, Source, States};
use crate::upstream::peer::Version;
use crate::upstream::{Group, Kept, Peer, Settings, State};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Roster {
    settings: Settings,
    lines: Vec<Line>,
    pub(super) resolver: resolver::Settings,
    version: Version,
    kept: Kept,
    /// Of the group in `newest` that all know of.
    edition: AtomicU64,
    /// The edition after the plan's own, which holds this roster. Workers take this lock: it is held
    /// while a pointer is copied, and no longer.
    newest: Mutex<Option<Arc<Group>>>,
    /// What that follows from. No worker asks.
    known: Mutex<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    /// What was found for each line's name.
    answers: Vec<Option<Answer>>,
    peers: Vec<Arc<Peer>>,
}

/// What was found for the names of some lines.
pub(super) type Heard = BTreeMap<usize, Answer>;

/// What follows from what was heard, made and not yet in place.
pub(super) struct Next {
    answers: Vec<Option<Answer>>,
    /// Lines of which there is news.
    by: Vec<usize>,
    /// `None` when the members stay as they are.
    group: Option<Group>,
}

/// The next edition of a group, in place and not yet announced.
pub(super) struct Change {
    before: Vec<Arc<Peer>>,
    pub after: Arc<Group>,
    by: Vec<usize>,
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
        let known = Mutex::new(Known { answers, peers: planned.peers.clone() });
        let (settings, edition) = (settings.clone(), AtomicU64::new(0));
        let (version, kept) = (planned.version().clone(), planned.kept.clone());
        let newest = Mutex::new(None);
        Arc::new(Roster { settings, lines, resolver, version, kept, edition, newest, known })
    }

    pub fn name(&self) -> &str {
        &self.settings.name.text
    }

    /// The number of the newest edition.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// The newest edition that is in place; `None` while that is the plan's own.
    pub fn group(&self) -> Option<Arc<Group>> {
        lock(&self.newest).clone()
    }

    /// What is to be looked up, with the number of its line.
    pub fn sources(&self) -> impl Iterator<Item = (usize, &Source)> {
        self.lines.iter().enumerate().filter_map(|(line, it)| Some((line, it.source()?)))
    }

    /// What is known of the names that `lines` of the next generation look up; the peers of the
    /// plan's edition stand for names that this one did not look up.
    pub fn answers_for(&self, lines: &[Line], peers: &[Arc<Peer>]) -> Vec<Option<Answer>> {
        let known = lock(&self.known).clone();
        let mut answers = members::answers_in(lines, peers);
        for (line, answer) in lines.iter().zip(&mut answers) {
            let Some(Source { host, service, .. }) = line.source() else { continue };
            let mut alike = self.sources().filter(|(_, source)| source.host == *host && source.service == *service);
            if let Some(found) = alike.find_map(|(at, _)| known.answers.get(at).cloned().flatten()) {
                *answer = Some(found);
            }
        }
        answers
    }

    /// What was found for a line's name last.
    pub fn answer(&self, line: usize) -> Option<Answer> {
        lock(&self.known).answers.get(line).cloned().flatten()
    }

    /// Makes what follows from what was heard. Nothing changes, however long it takes.
    ///
    /// # Errors
    /// Why there can be no such group.
    pub fn make(&self, heard: Heard) -> Result<Next, String> {
        let (known, newest) = self.basis();
        let mut next = Next { answers: known.answers, by: Vec::new(), group: None };
        for (line, answer) in heard {
            let Some(known) = next.answers.get_mut(line) else { continue };
            if known.as_ref().is_none_or(|known| members::sorted(known) != members::sorted(&answer)) {
                *known = Some(answer);
                next.by.push(line);
            }
        }
        if next.by.is_empty() {
            return Ok(next);
        }
        let peers = members::peers(&self.lines, &next.answers, &self.settings.method, States::of(&known.peers));
        if members::same(&known.peers, &peers) {
            return Ok(next);
        }
        if let Some(problem) = too_large(&self.settings, &peers) {
            return Err(problem.message);
        }
        let edition = newest.as_ref().map_or(0, |group| group.edition()).saturating_add(1);
        let since = Since { edition, version: &self.version, before: newest.as_deref() };
        let mut group = Group::edition_of(&self.settings, peers, &since);
        group.kept = self.kept.clone();
        next.group = Some(group);
        Ok(next)
    }

    /// Puts what was made last in place. [`Group::current`] gives it at once; workers take it when it is
    /// [announced](Roster::announce). `None` when the members stay as they are.
    pub fn stage(&self, next: Next) -> Option<Change> {
        let mut known = lock(&self.known);
        known.answers = next.answers;
        let after = Arc::new(next.group?);
        let before = std::mem::replace(&mut known.peers, after.peers.clone());
        // Let go of when nobody waits for the lock.
        let _former = lock(&self.newest).replace(after.clone());
        Some(Change { before, after, by: next.by })
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

    /// What the newest edition follows from, and that edition.
    fn basis(&self) -> (Known, Option<Arc<Group>>) {
        let known = lock(&self.known);
        (known.clone(), self.group())
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The name that it came by, and how many others had news.
    pub fn cause<'a>(&self, roster: &'a Roster) -> Option<(&'a Source, usize)> {
        let source = roster.lines.get(*self.by.first()?)?.source()?;
        Some((source, self.by.len().saturating_sub(1)))
    }

    /// Peers that are new, and peers that are gone.
    pub fn counts(&self) -> (usize, usize) {
        let gone = self.gone().count();
        (self.after.peers.len() + gone - self.before.len(), gone)
    }
}
