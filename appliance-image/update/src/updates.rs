//! What PID 1 answers about updates, whoever asks. The partition is mounted and writable from
//! `update-begin` to the answer of `update-commit` or `update-abort`, and for `rollback`.

use crate::incoming::{Incoming, Offer};
use crate::partition::Partition;
use crate::slots::{Installed, Slots};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fairlead_appliance::management::{Answer, Asked, Request};
use fairlead_disk::Fault;

pub struct Updates<P> {
    slots: Slots<P>,
    incoming: Option<(Incoming, Vec<u8>)>,
    next: Option<Installed>,
}

impl<P: Partition> Updates<P> {
    pub fn over(slots: Slots<P>) -> Updates<P> {
        Updates { slots, incoming: None, next: None }
    }

    pub fn slots(&self) -> &Slots<P> {
        &self.slots
    }

    /// An image is on its way: the partition must stay as it is mounted.
    pub fn is_busy(&self) -> bool {
        self.incoming.is_some()
    }

    /// What boots next, on trial, since this start.
    pub fn next(&self) -> Option<&Installed> {
        self.next.as_ref()
    }

    /// `None` for what is not about updates.
    pub fn answer(&mut self, asked: &Asked) -> Option<Answer> {
        let answer = match &asked.request {
            Request::UpdateBegin { version, size, signature, allow_downgrade } => {
                self.begin(version, *size, signature, *allow_downgrade)
            }
            Request::UpdateData { data } => self.take(data),
            Request::UpdateCommit => self.commit(),
            Request::UpdateAbort => Ok(self.abort()),
            Request::Rollback => self.rollback(),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|fault| Answer::refused(fault.to_string())))
    }

    fn begin(&mut self, version: &str, size: u64, signature: &str, allow_downgrade: bool) -> Result<Answer, Fault> {
        let signature = decode(signature)?;
        // One that was left half way makes room for the one that is wanted now.
        self.abort();
        let offer = Offer { version: version.parse()?, size, allow_downgrade };
        self.incoming = Some((Incoming::begin(offer, &self.slots)?, signature));
        Ok(Answer::done())
    }

    fn take(&mut self, data: &str) -> Result<Answer, Fault> {
        let piece = decode(data)?;
        let (incoming, _) = self.incoming.as_mut().ok_or_else(no_update)?;
        let taken = incoming.take(&piece, &self.slots);
        let arrived = incoming.arrived();
        if let Err(fault) = taken {
            self.abort();
            return Err(fault);
        }
        Ok(Answer::done().with("arrived", arrived))
    }

    fn commit(&mut self) -> Result<Answer, Fault> {
        let (incoming, signature) = self.incoming.take().ok_or_else(no_update)?;
        let installed = incoming.commit(&signature, &self.slots)?;
        Ok(self.booting(installed))
    }

    fn rollback(&mut self) -> Result<Answer, Fault> {
        self.abort();
        let installed = self.slots.rollback()?;
        Ok(self.booting(installed))
    }

    fn booting(&mut self, installed: Installed) -> Answer {
        let version = installed.version.to_string();
        self.next = Some(installed);
        Answer::done().with("version", version).with("running", self.slots.running().to_string())
    }

    fn abort(&mut self) -> Answer {
        if let Some((incoming, _)) = self.incoming.take() {
            incoming.abort(&self.slots);
        }
        Answer::done()
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Fault> {
    BASE64.decode(text).map_err(|_| Fault::Format("it did not arrive as base64".to_owned()))
}

fn no_update() -> Fault {
    Fault::Format("no update is under way".to_owned())
}
