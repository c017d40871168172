//! The formats a configuration has been written in, and the steps from one to the next. A system
//! reads its own and all older ones; one that is too new for it gives way to the version before.

use super::files::Files;

/// From one format to the next: the files, rewritten.
pub type Migration = fn(Files) -> Result<Files, String>;

#[derive(Clone, Copy, Debug)]
pub struct Formats {
    /// What this system writes.
    pub newest: u32,
    /// The first one leads from format 1 to format 2.
    pub steps: &'static [Migration],
}

impl Formats {
    /// Format 1: `fairlead.conf` and the files beside it, in the language of this release.
    pub const OURS: Formats = Formats { newest: 1, steps: &[] };

    pub(super) fn migrate(&self, from: u32, files: Files) -> Result<Files, String> {
        let done = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let steps = self.steps.get(done..).ok_or_else(|| format!("there is no way from format {from}"))?;
        steps.iter().try_fold(files, |files, step| step(files))
    }
}
