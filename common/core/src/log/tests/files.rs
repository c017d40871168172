//! Files: sharing, handing over, reopening, and what happens when they cannot be written.

use super::{Folder, read};
use crate::log::{Destination, Level, Registry, Writer};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn file(path: &Path) -> Destination {
    Destination::File(path.to_owned())
}

#[test]
fn lines_below_a_sink_s_level_are_not_written() {
    let folder = Folder::new();
    let (all, few) = (folder.file("all"), folder.file("few"));
    let registry = Registry::default();
    let log = registry.error_log(&[(file(&all), Level::Info), (file(&few), Level::Crit)]).unwrap();
    assert!(log.wants(Level::Info) && !log.wants(Level::Debug));
    for level in Level::ALL {
        log.write(level, 0, format_args!("a line"));
    }
    let levels = |path| -> Vec<String> {
        read(path).lines().map(|line| line.split(['[', ']']).nth(1).unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(levels(&all), ["info", "notice", "warn", "error", "crit", "alert", "emerg"]);
    assert_eq!(levels(&few), ["crit", "alert", "emerg"]);
}

#[test]
fn a_master_writes_error_lines_at_once_and_a_worker_through_its_thread() {
    let folder = Folder::new();
    let path = folder.file("error.log");
    let master = Registry::default();
    let log = master.error_log(&[(file(&path), Level::Info)]).unwrap();
    log.write(Level::Info, 0, format_args!("from the master"));
    assert!(read(&path).ends_with("from the master\n"));

    let worker = Registry::with_files(master.files().unwrap());
    let log = worker.error_log(&[(file(&path), Level::Info)]).unwrap();
    log.write(Level::Info, 3, format_args!("from the worker"));
    worker.flush();
    assert!(read(&path).ends_with("*3 from the worker\n"));
}

#[test]
fn a_worker_uses_the_descriptors_it_was_given() {
    let folder = Folder::new();
    let path = folder.file("error.log");
    let master = Registry::default();
    let _held = master.error_log(&[(file(&path), Level::Info)]).unwrap();
    let files = master.files().unwrap();
    // By path the worker would now make a new file.
    fs::rename(&path, folder.file("moved")).unwrap();
    let worker = Registry::with_files(files);
    worker.error_log(&[(file(&path), Level::Info)]).unwrap().write(Level::Info, 0, format_args!("still here"));
    worker.flush();
    assert!(read(&folder.file("moved")).ends_with("still here\n"));
    assert!(!path.exists());
}

#[test]
fn files_are_created_readable_by_all_and_shared_by_name() {
    let folder = Folder::new();
    let path = folder.file("one.log");
    let registry = Registry::default();
    let access = registry.access_log(&file(&path), None, None).unwrap();
    let error = registry.error_log(&[(file(&path), Level::Info)]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o600, 0o600);
    assert_eq!(registry.files().unwrap().len(), 1);
    let writer = Writer::default();
    writer.line(&access, |out| out.extend_from_slice(b"access"));
    drop(writer);
    registry.flush();
    error.write(Level::Error, 0, format_args!("error"));
    let text = read(&path);
    assert!(text.starts_with("access\n") && text.ends_with("error\n"), "{text}");
}

#[test]
fn what_cannot_be_opened_is_named_as_nginx_names_it() {
    let error = Registry::default().error_log(&[(file(Path::new("/no/such/folder/x")), Level::Info)]).unwrap_err();
    assert_eq!(error.to_string(), "open() \"/no/such/folder/x\" failed (2: No such file or directory)");
}

#[test]
fn reopening_keeps_handles_and_leaves_old_lines_in_the_old_file() {
    let folder = Folder::new();
    let (path, old) = (folder.file("access.log"), folder.file("access.log.1"));
    let registry = Registry::default();
    let access = registry.access_log(&file(&path), Some(1 << 20), None).unwrap();
    let error = registry.error_log(&[(file(&path), Level::Info)]).unwrap();
    let writer = Writer::default();
    writer.line(&access, |out| out.extend_from_slice(b"before"));
    fs::rename(&path, &old).unwrap();
    registry.reopen().unwrap();
    writer.line(&access, |out| out.extend_from_slice(b"after"));
    drop(writer);
    registry.flush();
    error.write(Level::Error, 0, format_args!("error"));
    assert_eq!(read(&old), "before\n");
    assert!(read(&path).starts_with("after\n") && read(&path).ends_with("error\n"));
}

#[test]
fn one_file_that_cannot_be_reopened_goes_on_and_does_not_keep_the_others() {
    let folder = Folder::new();
    let gone = folder.file("gone");
    fs::create_dir(&gone).unwrap();
    let (lost, kept) = (gone.join("a.log"), folder.file("b.log"));
    let registry = Registry::default();
    let log = registry.error_log(&[(file(&lost), Level::Info), (file(&kept), Level::Info)]).unwrap();
    fs::rename(&kept, folder.file("b.log.1")).unwrap();
    fs::rename(&gone, folder.file("elsewhere")).unwrap();
    let error = registry.reopen().unwrap_err();
    assert!(error.to_string().ends_with("failed (2: No such file or directory)"), "{error}");
    log.write(Level::Info, 0, format_args!("after"));
    assert!(read(&kept).ends_with("after\n"));
    assert!(read(&folder.file("elsewhere/a.log")).ends_with("after\n"));
    assert_eq!(read(&folder.file("b.log.1")), "");
}

#[test]
fn a_full_disk_loses_lines_counts_them_and_says_so() {
    let folder = Folder::new();
    let path = folder.file("error.log");
    let registry = Registry::default();
    registry.complain_to(registry.error_log(&[(file(&path), Level::Info)]).unwrap());
    let access = registry.access_log(&file(Path::new("/dev/full")), None, None).unwrap();
    for _ in 0..3 {
        let writer = Writer::default();
        writer.line(&access, |out| out.extend_from_slice(b"lost"));
        drop(writer);
        registry.flush();
    }
    assert_eq!(registry.stats().lines_failed.load(), 3);
    drop(access);
    drop(registry);
    let text = read(&path);
    assert!(text.contains("write() to \"/dev/full\" failed (28: No space left on device)\n"), "{text}");
}

#[test]
fn a_stuck_destination_fills_the_queue_and_no_further() {
    let folder = Folder::new();
    let (path, stuck) = (folder.file("error.log"), folder.file("stuck.log"));
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let registry = Registry::with_files(vec![(stuck.clone(), pipe.into())]);
    let log = registry.error_log(&[(file(&path), Level::Info)]).unwrap();
    registry.complain_to(log);
    let access = registry.access_log(&file(&stuck), None, None).unwrap();
    let line = vec![b'x'; 64 * 1024 - 1];
    let writer = Writer::default();
    // Each line fills the buffer, and twice the queue's size is offered.
    for _ in 0..257 {
        writer.line(&access, |out| out.extend_from_slice(&line));
    }
    let dropped = registry.stats().lines_dropped.load();
    assert!((100..=129).contains(&dropped), "{dropped} dropped");
    drop(writer);
    drop(access);
    let read_all = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let dropped = registry.stats().lines_dropped.load();
    drop(registry);
    let written = read_all.join().unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(written as u64 + dropped, 257, "every line is written or counted");
    let said = format!("{dropped} log lines dropped, the log queue is full\n");
    assert!(read(&path).ends_with(&said), "{}", read(&path));
}

#[test]
fn unused_destinations_are_closed_and_their_numbers_used_again() {
    let folder = Folder::new();
    let registry = Registry::default();
    let kept = registry.access_log(&file(&folder.file("kept")), None, None).unwrap();
    drop(registry.access_log(&file(&folder.file("gone")), None, None).unwrap());
    registry.close_unused();
    assert_eq!(registry.files().unwrap().len(), 1);
    let new = registry.access_log(&file(&folder.file("new")), None, None).unwrap();
    assert_ne!(kept.sink.index, new.sink.index);
    assert_eq!(new.sink.index, 1);
}

#[test]
fn handles_outlive_their_registry() {
    let folder = Folder::new();
    let path = folder.file("last.log");
    let registry = Registry::with_files(Vec::new());
    let access = registry.access_log(&file(&path), None, None).unwrap();
    let error = registry.error_log(&[(file(&path), Level::Info)]).unwrap();
    let writer = Writer::default();
    writer.line(&access, |out| out.extend_from_slice(b"buffered"));
    drop(registry);
    drop(writer);
    error.write(Level::Info, 0, format_args!("last words"));
    let text = read(&path);
    assert!(text.starts_with("buffered\n") && text.ends_with("last words\n"), "{text}");
}
