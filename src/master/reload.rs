//! Reload: read everything, build everything, bind what is new, and only then
//! ask the worker process to swap. Until it has, the old configuration serves
//! and nothing of it has been touched.

use super::{Master, Pending};
use crate::load::{self, Loaded};
use crate::main_conf::Main;
use crate::messages::Order;
use crate::pidfile::PidFile;
use crate::temp_folders::{self, Unnamed};
use fairlead_core::log::Level;

impl Master {
    pub(super) fn reload(&mut self) {
        let was_accepting = std::mem::replace(&mut self.accepting, true);
        if !was_accepting && self.successor.is_some() {
            // The way back from an upgrade: to work again, with what was served before.
            self.start_worker();
            return;
        }
        if self.pending.is_some() {
            self.reload_again = true;
            return;
        }
        self.take_new_configuration();
        if self.workers.iter().all(|worker| worker.draining) && self.respawn.at().is_none() {
            // WINCH had ended them, and the new configuration is no good.
            self.start_worker();
        }
    }

    fn take_new_configuration(&mut self) {
        self.log(Level::Notice, "reconfiguring");
        self.last_generation += 1;
        let reading = load::load(&self.invocation, self.last_generation);
        load::log(&reading.diagnostics, &reading.tree.sources, &self.loaded.generation.error_log);
        let Some(loaded) = reading.loaded else {
            self.log(Level::Emerg, "the configuration has errors and is not taken: the old one stays");
            return;
        };
        let generation = &loaded.generation;
        if let Err(messages) = temp_folders::make(generation, Unnamed::Made) {
            messages.iter().for_each(|message| self.log(Level::Emerg, message));
            self.log(Level::Emerg, "not every folder can be made: the old configuration stays");
            return;
        }
        match self.sockets.prepare(generation.listeners(), generation.main.workers) {
            Ok(prepared) => self.hand_over(Pending { loaded, prepared }),
            Err(messages) => {
                messages.iter().for_each(|message| self.log(Level::Emerg, message));
                self.log(Level::Emerg, "not every address can be bound: the old configuration stays");
            }
        }
    }

    /// To the worker process that serves; one that is about to be started will find it.
    fn hand_over(&mut self, pending: Pending) {
        let needs_new_process = !same_process(&self.loaded.generation.main, &pending.loaded.generation.main);
        let worker = self.workers.iter().position(|worker| !worker.draining && !worker.silent);
        let Some(worker) = worker.filter(|_| !needs_new_process).and_then(|at| self.workers.get(at)) else {
            self.commit(pending);
            self.replace_worker();
            return;
        };
        let sockets = self.sockets.with(&pending.prepared);
        let order = sockets.and_then(|sockets| self.configure(&pending.loaded, sockets));
        let sent = order.and_then(|order| worker.control.order(&Order::Configure(Box::new(order))));
        self.pending = Some(pending);
        if let Err(error) = sent {
            // Half an order may have been sent: it cannot be talked to any more.
            let pid = worker.pid();
            if let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid() == pid) {
                worker.kill();
            }
            self.pending_died(&format!("worker process {pid} could not be told: {error}"));
        }
    }

    /// A setting of the process itself has changed: a new one serves, the old one ends its connections.
    fn replace_worker(&mut self) {
        if self.respawn.at().is_some() {
            return;
        }
        let before = self.workers.len();
        self.start_worker();
        if self.workers.len() == before {
            return;
        }
        for worker in self.workers.iter_mut().take(before).filter(|worker| !worker.draining) {
            worker.draining = true;
            if worker.control.order(&Order::Drain).is_err() {
                worker.kill();
            }
        }
    }

    /// A worker process serves this generation.
    pub(super) fn confirmed(&mut self, generation: u64) {
        if let Some(pending) = self.pending.take_if(|pending| pending.loaded.generation.id == generation) {
            self.commit(pending);
            self.log(Level::Notice, &format!("generation {generation} is served"));
        }
        if std::mem::take(&mut self.reload_again) {
            self.reload();
        }
    }

    pub(super) fn refused(&mut self, generation: u64, reason: &str) {
        if self.pending.as_ref().is_some_and(|pending| pending.loaded.generation.id == generation) {
            self.abandon_pending(&format!("the worker process refused it: {reason}"));
        } else {
            self.say(Level::Emerg, reason);
        }
    }

    /// The worker process may have died of something else: once more, then, with the next one.
    pub(super) fn pending_died(&mut self, why: &str) {
        self.reload_again |= self.pending.is_some() && !std::mem::replace(&mut self.retrying, true);
        self.abandon_pending(why);
    }

    /// What was bound for it is closed, and the old configuration stays.
    pub(super) fn abandon_pending(&mut self, why: &str) {
        if let Some(pending) = self.pending.take() {
            pending.prepared.abandon();
            self.log(Level::Emerg, &format!("the new configuration is not taken, the old one stays: {why}"));
        }
    }

    fn commit(&mut self, pending: Pending) {
        self.sockets.commit(pending.prepared);
        self.move_pid_file(&pending.loaded);
        self.loaded = pending.loaded;
    }

    fn move_pid_file(&mut self, loaded: &Loaded) {
        let path = &loaded.generation.main.pid;
        if *path == self.loaded.generation.main.pid {
            return;
        }
        match PidFile::create(path) {
            Ok(file) => self.pid_file = file,
            Err(error) => self.log(Level::Alert, &error.to_string()),
        }
    }
}

/// Whether a running worker process can take `new`: what it was started with is the same.
fn same_process(old: &Main, new: &Main) -> bool {
    old.user == new.user
        && old.env == new.env
        && old.rlimit_nofile == new.rlimit_nofile
        && old.rlimit_core == new.rlimit_core
        && old.priority == new.priority
        && old.working_directory == new.working_directory
}
