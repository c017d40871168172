//! Binary upgrade (USR2): a new master takes over the sockets while this one
//! goes on. QUIT ends this one; WINCH, then HUP, is the way back.

use super::Master;
use crate::handoff;
use crate::pidfile;
use fairlead_core::log::Level;

impl Master {
    pub(super) fn upgrade(&mut self) {
        if self.successor.is_some() {
            self.log(Level::Notice, "an upgrade is under way already");
            return;
        }
        if self.predecessor == Some(nix::unistd::getppid().as_raw()) {
            self.log(Level::Notice, "the process before this one is still there: end it before the next upgrade");
            return;
        }
        let path = self.loaded.generation.main.pid.clone();
        if let Err(error) = self.pid_file.rename(&pidfile::old(&path)) {
            self.log(Level::Alert, &error.to_string());
            return;
        }
        match handoff::start(&self.program, &self.sockets.descriptors()) {
            Ok(child) => {
                self.log(Level::Notice, &format!("start new binary process {}", child.id()));
                self.successor = Some(child);
            }
            Err(error) => {
                let program = self.program.to_string_lossy();
                self.log(Level::Alert, &format!("cannot start the new binary \"{program}\": {error}"));
                self.take_back();
            }
        }
    }

    /// The new master has ended while this one is still here: the upgrade is off.
    pub(super) fn reap_successor(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        let pid = successor.id();
        let status = match successor.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.successor = None;
        self.log(Level::Alert, &format!("new binary process {pid} ended ({status})"));
        self.take_back();
        if !self.accepting {
            self.accepting = true;
            self.start_worker();
        }
    }

    fn take_back(&mut self) {
        let path = self.loaded.generation.main.pid.clone();
        if let Err(error) = self.pid_file.rename(&path) {
            self.log(Level::Alert, &error.to_string());
        }
    }
}
