//! Whether `fairlead` would serve a configuration: it is asked.

use crate::working;
use fairlead_appliance::Settings;
use fairlead_appliance::store::Files;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a configuration is read that is only looked at.
const SCRATCH: &str = "/run/look";

/// What `fairlead -t` says of `fairlead.conf` in this folder, which is made fit to run here first.
///
/// # Errors
/// Everything that is wrong with it, as it is printed.
pub fn folder(folder: &Path) -> Result<Vec<String>, Vec<String>> {
    let main = working::fit(folder).map_err(|error| vec![format!("it cannot be checked: {error}")])?;
    let mut command = Command::new("/bin/fairlead");
    command.arg("-t").arg("-p").arg(folder.join("")).arg("-c").arg(&main).args(["-g", &working::globals(&main)]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let done = working::looking_at(folder, || command.output()).and_then(|done| done);
    let done = done.map_err(|error| vec![format!("fairlead -t does not start: {error}")])?;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let said = |line: &&str| !line.ends_with("syntax is ok") && !line.ends_with("test is successful");
    let lines = text.lines().filter(said).map(str::to_owned).collect();
    if done.status.success() { Ok(lines) } else { Err(lines) }
}

/// The machine's own settings in these files; `None` when they cannot be read.
pub fn settings(files: &Files) -> Option<Settings> {
    let folder = Path::new(SCRATCH);
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).ok()?;
    files.write_to(folder).ok()?;
    let reading = fairlead_appliance::read(&folder.join("fairlead.conf"));
    let _ = fs::remove_dir_all(folder);
    reading.settings
}
