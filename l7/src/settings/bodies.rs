//! Request bodies: how long they may be, and where they wait for a peer.

use crate::body::InFile;
use crate::directives::ALL;
use crate::temp_file::TempFolder;
use fairlead_conf::{Args, Diagnostic, Directive, FileId, Given, Repeat, Value};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub most: u64,
    pub buffer: u64,
    pub timeout: Duration,
    pub folder: Arc<TempFolder>,
    pub in_file: InFile,
}

type Row = Directive<Settings>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "client_max_body_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("1m"),
        doc: "The longest request body; a longer one gets 413. `0` takes any length.",
        set: |bodies, given| given.size(0).map(|size| bodies.most = size),
    },
    Row {
        name: "client_body_buffer_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("16k"),
        doc: "Bytes of a request body that wait in memory, and a quarter more where its length is known; `$request_body` \
              shows such a body. A longer one, up to 1m, waits in memory as long as all of them on a worker thread are \
              below 16m; what does not fit is written to a file (`client_body_temp_path`).",
        set: |bodies, given| given.size(0).map(|size| bodies.buffer = size),
    },
    Row {
        name: "client_body_temp_path",
        contexts: ALL,
        args: Args::between(1, 4, &[Value::Path, Value::Int(1..=9)], FOLDER_SYNTAX),
        repeat: Repeat::Once,
        default: Some("client_body_temp"),
        doc: "Folder for request bodies that do not fit in memory, relative to the prefix; it is made when it is missing. \
              The numbers are the lengths of the names of up to three folders in between, ten digits at most in all.",
        set: |bodies, given| temp_folder(given).map(|folder| bodies.folder = Arc::new(folder)),
    },
    Row {
        name: "client_body_in_file_only",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["on", "clean", "off"])], "on | clean | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Writes every request body to a file that `$request_body_file` names. `on` leaves the files where they are, \
              `clean` takes them away when the request has ended. With `off`, files of long bodies have no name.",
        set: |bodies, given| {
            bodies.in_file = match given.text(0) {
                "on" => InFile::On,
                "clean" => InFile::Clean,
                _ => InFile::Off,
            };
            Ok(())
        },
    },
    Row {
        name: "client_body_in_single_buffer",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Checked and otherwise without effect: a body in memory always lies in a single buffer.",
        set: |_, given| given.flag(0).map(drop),
    },
    Row {
        name: "client_body_timeout",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "How long a client may be silent between two pieces of a request body; then its connection is closed, \
              and 408 logged.",
        set: |bodies, given| given.time(0).map(|time| bodies.timeout = time),
    },
];

pub(crate) const FOLDER_SYNTAX: &str = "path [level1 [level2 [level3]]]";

/// The arguments of `client_body_temp_path` and its likes.
pub(crate) fn temp_folder(given: &Given<'_>) -> Result<TempFolder, Diagnostic> {
    let mut levels = Vec::new();
    for index in 1..given.len() {
        levels.push(usize::try_from(given.int(index)?).unwrap_or(0));
    }
    // The name of a file has ten digits.
    if levels.iter().sum::<usize>() > 10 {
        return Err(given.error(given.len().saturating_sub(1), "the levels are ten digits at most in all"));
    }
    let written = given.statement.name.span.file != FileId(u32::MAX);
    Ok(TempFolder::new(given.path(0), &levels, written))
}
