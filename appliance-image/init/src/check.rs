//! Whether `fairlead` would serve a configuration: it is asked.

use crate::working;
use fairlead_appliance::store::Files;
use std::path::Path;
use std::process::{Command, Stdio};

/// # Errors
/// Everything that is wrong with it, as `fairlead -t` prints it.
pub fn files(files: &Files) -> Result<(), String> {
    let main =
        working::write_to_check(files).map_err(|error| format!("the copy to check cannot be written: {error}"))?;
    let outcome = main_file(&main);
    let folder = main.parent().unwrap_or(Path::new("/")).join("");
    // People know their files by their own names.
    outcome.map_err(|text| text.replace(&folder.display().to_string(), ""))
}

fn main_file(main: &Path) -> Result<(), String> {
    let folder = main.parent().unwrap_or(Path::new("/")).join("");
    let mut command = Command::new("/bin/fairlead");
    command.arg("-t").arg("-p").arg(folder).arg("-c").arg(main).args(["-g", &working::globals(main)]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let done = command.output().map_err(|error| format!("fairlead -t does not start: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
