//! Backup and restore, as the desk does them: a restored configuration is checked and put into force
//! like any other; keys and password follow once it is.

use super::{Change, Desk, Machine, Now, Outcome, write};
use crate::management::request::{Answer, By};
use crate::store::{AuthorizedKey, Backup, Disk, authorized_keys_text, parse_authorized_keys};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

impl<D: Disk> Desk<D> {
    pub(super) fn backup(&self, only_configuration: bool) -> Outcome {
        let backup = self.store.backup(only_configuration)?;
        let backup = backup.ok_or_else(|| Answer::refused("there is no configuration yet"))?;
        let tar = backup.to_tar().map_err(|error| Answer::refused(error.to_string()))?;
        Ok(Answer::done().with("data", BASE64.encode(tar)))
    }

    pub(super) fn restore(
        &mut self,
        data: &str,
        confirm: Option<u64>,
        by: &By,
        now: Now,
        machine: &mut impl Machine,
    ) -> Outcome {
        let tar = BASE64.decode(data).map_err(|_| Answer::refused("the backup did not arrive as base64"))?;
        let mut backup = Backup::from_tar(&tar).map_err(|error| Answer::refused(error.to_string()))?;
        let change = Change { files: self.store.files_of(&backup)?, confirm, note: "restored", dry_run: false };
        let answer = self.push(change, by, now, machine)?;
        keep_asker(&mut backup, by);
        let store = &self.store;
        write(machine, |_| store.restore_identity(&backup).map_err(Answer::from))?;
        machine.log(&format!("a backup is restored, by {}", by.words()));
        Ok(answer.with("identity", backup.server_key.is_some()))
    }
}

/// Whoever restores a backup that is older than their key is not locked out by it.
fn keep_asker(backup: &mut Backup, by: &By) {
    let (Some(text), Some(key)) = (&backup.authorized_keys, by.key) else { return };
    let mut keys = parse_authorized_keys(&String::from_utf8_lossy(text));
    if keys.iter().all(|known| known.key != key) {
        keys.push(AuthorizedKey { key, name: by.name.clone() });
        backup.authorized_keys = Some(authorized_keys_text(&keys).into_bytes());
    }
}
