//! The invariants of the source tree that a compiler does not know: which crate may lean on which,
//! where `unsafe` lives, how long a file may grow. A rule that is broken names the file and line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod code;
mod http_table;
mod stream_table;

use std::fs;
use std::path::{Path, PathBuf};

use code::{code_of, functions, is_word, line_of};

/// What each package may lean on, among our own. Arrows run one way, and the planes do not know
/// each other.
const ARROWS: &[(&str, &[&str])] = &[
    ("fairlead-conf", &[]),
    ("fairlead-core", &["fairlead-conf"]),
    ("fairlead-l4", &["fairlead-conf", "fairlead-core"]),
    ("fairlead-l7", &["fairlead-conf", "fairlead-core"]),
    ("fairlead-appliance", &["fairlead-conf", "fairlead-core"]),
    (
        "fairlead",
        &[
            "fairlead-appliance",
            "fairlead-conf",
            "fairlead-core",
            "fairlead-disk",
            "fairlead-l4",
            "fairlead-l7",
            "fairlead-harness",
            "fairlead-update",
        ],
    ),
    ("fairlead-network", &["fairlead-appliance", "fairlead-conf", "fairlead-core"]),
    (
        "fairlead-init",
        &[
            "fairlead-appliance",
            "fairlead-conf",
            "fairlead-core",
            "fairlead-disk",
            "fairlead-network",
            "fairlead-update",
        ],
    ),
    ("fairlead-harness", &[]),
    ("fairlead-disk", &[]),
    ("fairlead-image", &["fairlead-disk"]),
    ("fairlead-update", &["fairlead-appliance", "fairlead-disk"]),
    ("fairlead-bench", &[]),
    ("fairlead-boot-tests", &["fairlead-disk", "fairlead-harness", "fairlead-image"]),
    ("fairlead-fuzz", &["fairlead-appliance", "fairlead-conf", "fairlead-core", "fairlead-l4", "fairlead-l7"]),
];

/// Where `unsafe` may be written, and for what.
const UNSAFE: &[(&str, &str)] = &[
    ("appliance-image/init/src/kernel_calls.rs", "no library sets the time of a watchdog"),
    ("appliance-image/network/src/dhcp/port.rs", "socket2 knows no sockaddr_ll"),
    ("appliance-image/network/src/sntp/discipline.rs", "clock_adjtime has no safe wrapper"),
    ("common/core/src/clock.rs", "CLOCK_MONOTONIC_COARSE has no safe wrapper"),
    ("common/core/src/clock/local.rs", "localtime_r has no safe wrapper"),
    ("common/core/src/net/reactor/epoll.rs", "tokio watches our epoll by its descriptor"),
    ("common/core/src/net/reactor/tasks.rs", "a waker is made of a number"),
    ("common/core/src/net/listen.rs", "a listener is taken over from its descriptor"),
    ("common/core/src/net/tcp_info.rs", "TCP_INFO has no safe wrapper"),
    ("l4/src/udp/batch.rs", "recvmmsg and sendmmsg work on buffers of ours"),
    ("l4/src/udp/calls.rs", "what socket2 cannot ask of a socket: to be disconnected"),
    ("l4/src/udp/headers.rs", "socket addresses and control messages are read and written in place"),
    ("l4/src/udp/readiness.rs", "an epoll of its own has no safe wrapper"),
    ("src/allocator.rs", "an allocator is unsafe by its trait"),
    ("src/control.rs", "descriptors arrive over a socket and become owned"),
    ("src/daemon.rs", "fork, before any thread exists"),
    ("src/handoff.rs", "descriptors are inherited from the old program"),
    ("src/privileges.rs", "setpriority has no safe wrapper"),
    ("src/privileges/capabilities.rs", "prctl, capget and capset have no safe wrapper"),
    ("src/privileges/filter.rs", "seccomp has no safe wrapper"),
];

const MOST_LINES: usize = 700;
/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];
const MOST_FUNCTION_LINES: usize = 120;

/// A name that holds whatever had no home.
const HOMELESS: &[&str] = &["utils", "util", "helpers", "helper", "misc", "types", "common"];

/// `file::test` of the folder `area` of `tests`, or `area/file::test` of another one, is there.
fn is_a_test(name: &str, area: &str) -> bool {
    let Some((file, function)) = name.rsplit_once("::") else { return false };
    let file = if file.contains('/') { file.to_owned() } else { format!("{area}/{file}") };
    let text = fs::read_to_string(root().join(format!("tests/{file}.rs"))).unwrap_or_default();
    text.contains(&format!("#[test]\nfn {function}()"))
}

#[test]
fn crates_lean_one_way() {
    let mut broken = Vec::new();
    for manifest in files(&["toml"]).filter(|file| file.path.ends_with("Cargo.toml")) {
        let Some(package) = package_name(&manifest.text) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
            broken.push(format!("{}: {package} has no row in ARROWS", manifest.path));
            continue;
        };
        let wrong = own_dependencies(&manifest.text).filter(|name| !allowed.contains(name));
        broken.extend(wrong.map(|name| format!("{}: {package} may not lean on {name}", manifest.path)));
    }
    assert_none(&broken);
}

#[test]
fn unsafe_code_is_named_and_explained() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let code = code_of(&file.text);
        let lines: Vec<&str> = file.text.lines().collect();
        for line in words(&code, "unsafe") {
            if !UNSAFE.iter().any(|(path, _)| *path == file.path) {
                broken.push(format!("{}:{line}: unsafe code in a file that UNSAFE does not name", file.path));
            }
            let above = &lines[line.saturating_sub(9)..line];
            if !above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
                broken.push(format!("{}:{line}: unsafe code without a SAFETY comment", file.path));
            }
        }
    }
    for (path, _) in UNSAFE {
        let code = code_of(&fs::read_to_string(root().join(path)).unwrap_or_default());
        if words(&code, "unsafe").is_empty() {
            broken.push(format!("{path}: has no unsafe code, and needs no row in UNSAFE"));
        }
    }
    assert_none(&broken);
}

#[test]
fn files_and_functions_stay_short() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let count = file.text.lines().count();
        if count > MOST_LINES && !LONG_FILES.iter().any(|(path, _)| *path == file.path) {
            broken.push(format!("{}: {count} lines, {MOST_LINES} at most", file.path));
        }
        for (line, length) in functions(&code_of(&file.text)) {
            if length > MOST_FUNCTION_LINES {
                broken.push(format!("{}:{line}: {length} lines, {MOST_FUNCTION_LINES} at most", file.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust_files().filter(|file| !is_split_off_test(&file.path) && !file.text.starts_with("//!"));
    assert_none(&silent.map(|file| format!("{}: does not open with //!", file.path)).collect::<Vec<_>>());
}

#[test]
fn no_module_is_a_drawer() {
    let drawers = rust_files().filter(|file| {
        let own = file.path.split('/').skip_while(|part| *part != "src" && *part != "tests").skip(1);
        own.map(|part| part.trim_end_matches(".rs")).any(|part| HOMELESS.contains(&part))
    });
    assert_none(&drawers.map(|file| format!("{}: what is it really about?", file.path)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_undone() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let code = code_of(&file.text);
        for left in ["#[ignore", "todo!", "unimplemented!", "dbg!"] {
            let found = code.match_indices(left).map(|(at, _)| line_of(&code, at));
            broken.extend(found.map(|line| format!("{}:{line}: {left}", file.path)));
        }
        for note in [["TO", "DO"].concat(), ["FIX", "ME"].concat()] {
            let found = words(&file.text, &note).into_iter();
            broken.extend(found.map(|line| format!("{}:{line}: a {note} note", file.path)));
        }
    }
    assert_none(&broken);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let places = ["work", "root"].map(|name| format!("/{name}/"));
    let mut broken = Vec::new();
    for file in files(&["rs", "toml", "md", "conf", "sh", "txt", "tsv", "py", "yml", "Makefile", "run"]) {
        for (number, line) in file.text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place.as_str())) {
                broken.push(format!("{}:{}: {line}", file.path, number + 1));
            }
        }
    }
    assert_none(&broken);
}

struct SourceFile {
    /// Relative to the repository.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> impl Iterator<Item = SourceFile> {
    files(&["rs"])
}

/// Every file of the repository with one of these endings (or names).
fn files(endings: &'static [&'static str]) -> impl Iterator<Item = SourceFile> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the repository can be read") {
            let path = entry.expect("a folder's entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !path.is_symlink() && !matches!(name, "target" | ".git" | "run") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name == *ending || name.ends_with(&format!(".{ending}"))) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no file ends in {endings:?}");
    found.sort();
    found.into_iter().map(read)
}

fn read(path: PathBuf) -> SourceFile {
    let text = String::from_utf8_lossy(&fs::read(&path).expect("a source file can be read")).into_owned();
    let path = path.strip_prefix(root()).expect("found below the root").display().to_string();
    SourceFile { path, text }
}

/// `foo/tests.rs`, `foo_tests.rs`: their parent says what they are for.
fn is_split_off_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// The lines on which `word` stands alone.
fn words(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let alone = |at: usize| {
        (at == 0 || !is_word(bytes[at - 1])) && bytes.get(at + word.len()).is_none_or(|byte| !is_word(*byte))
    };
    text.match_indices(word).filter(|(at, _)| alone(*at)).map(|(at, _)| line_of(text, at)).collect()
}

fn package_name(manifest: &str) -> Option<&str> {
    let section = manifest.split("[package]").nth(1)?;
    let line = section.lines().find(|line| line.starts_with("name"))?;
    line.split('"').nth(1)
}

/// Our own packages in any of a manifest's dependency tables, the workspace's apart.
fn own_dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line.contains("dependencies") && !line.contains("workspace");
        }
        let name = line.split(['.', '=', ' ']).next()?;
        (inside && name.starts_with("fairlead-")).then_some(name)
    })
}

#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}
