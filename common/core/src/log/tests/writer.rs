//! Buffering: what is handed over when, and that no line is lost, torn or put in the wrong file.
use crate::dice::Dice;

use super::{Folder, read};
use crate::clock::Tick;
use crate::log::{AccessLog, Destination, Registry, Writer};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

fn access(registry: &Registry, path: &Path, buffer: Option<usize>, flush: Option<u64>) -> AccessLog {
    let flush = flush.map(Duration::from_millis);
    registry.access_log(&Destination::File(path.to_owned()), buffer, flush).unwrap()
}

fn put(writer: &Writer, log: &AccessLog, text: &str) {
    writer.line(log, |out| out.extend_from_slice(text.as_bytes()));
}

#[test]
fn unbuffered_lines_are_due_after_ten_milliseconds() {
    let folder = Folder::new();
    let path = folder.file("a.log");
    let registry = Registry::default();
    let log = access(&registry, &path, None, None);
    let writer = Writer::default();
    assert_eq!(writer.flush_due(Tick(1000)), None);
    put(&writer, &log, "one");
    assert_eq!(writer.flush_due(Tick(1000)), Some(Duration::from_millis(10)));
    put(&writer, &log, "two");
    assert_eq!(writer.flush_due(Tick(1009)), Some(Duration::from_millis(1)));
    registry.flush();
    assert_eq!(read(&path), "");
    assert_eq!(writer.flush_due(Tick(1010)), None);
    registry.flush();
    assert_eq!(read(&path), "one\ntwo\n");
}

#[test]
fn buffered_lines_wait_for_a_full_buffer_and_are_never_torn() {
    let folder = Folder::new();
    let path = folder.file("a.log");
    let registry = Registry::default();
    let log = access(&registry, &path, Some(10), None);
    let writer = Writer::default();
    put(&writer, &log, "1234");
    put(&writer, &log, "5678");
    assert_eq!(writer.flush_due(Tick(u64::MAX / 2)), None, "only a full buffer is written");
    registry.flush();
    assert_eq!(read(&path), "");
    put(&writer, &log, "90");
    registry.flush();
    assert_eq!(read(&path), "1234\n5678\n", "what fitted goes, the new line stays");
    put(&writer, &log, "a line longer than the buffer");
    registry.flush();
    assert_eq!(read(&path), "1234\n5678\n90\na line longer than the buffer\n");
}

#[test]
fn flush_time_counts_from_the_first_line() {
    let folder = Folder::new();
    let path = folder.file("a.log");
    let registry = Registry::default();
    let log = access(&registry, &path, Some(1000), Some(60_000));
    let writer = Writer::default();
    put(&writer, &log, "one");
    assert_eq!(writer.flush_due(Tick(0)), Some(Duration::from_secs(60)));
    put(&writer, &log, "two");
    assert_eq!(writer.flush_due(Tick(59_000)), Some(Duration::from_secs(1)));
    assert_eq!(writer.flush_due(Tick(60_000)), None);
    registry.flush();
    assert_eq!(read(&path), "one\ntwo\n");
}

#[test]
fn an_unbuffered_line_takes_the_buffered_ones_of_its_file_along() {
    let folder = Folder::new();
    let path = folder.file("a.log");
    let registry = Registry::default();
    let (slow, fast) = (access(&registry, &path, Some(1000), None), access(&registry, &path, None, None));
    let writer = Writer::default();
    put(&writer, &slow, "slow");
    assert_eq!(writer.flush_due(Tick(0)), None);
    put(&writer, &fast, "fast");
    writer.flush_due(Tick(1));
    assert_eq!(writer.flush_due(Tick(11)), None);
    registry.flush();
    assert_eq!(read(&path), "slow\nfast\n");
}

#[test]
fn the_writer_s_task_sleeps_until_a_line_comes_and_writes_it_soon() {
    let (read_end, write_end) = std::io::pipe().unwrap();
    let path = PathBuf::from("given.log");
    let registry = Registry::with_files(vec![(path.clone(), write_end.into())]);
    let log = access(&registry, &path, None, None);
    let writer = Writer::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let story = async {
        let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(read_end)).unwrap();
        let mut buffer = [0; 64];
        // Twice, so that the task has parked in between.
        for expected in ["first\n", "second\n"] {
            put(&writer, &log, expected.trim_end());
            let count = reader.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..count], expected.as_bytes());
        }
    };
    runtime.block_on(async {
        tokio::select! {
            () = writer.run() => unreachable!("it never ends"),
            done = tokio::time::timeout(Duration::from_secs(20), story) => done.unwrap(),
        }
    });
}

#[test]
fn a_reopening_wakes_the_writer_s_task_to_let_go_of_the_old_file() {
    let folder = Folder::new();
    let path = folder.file("a.log");
    let (read_end, write_end) = std::io::pipe().unwrap();
    let registry = Registry::with_files(vec![(path.clone(), write_end.into())]);
    // Nothing else would ever write this line.
    let log = access(&registry, &path, Some(1000), None);
    let writer = Writer::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let story = async {
        put(&writer, &log, "old");
        tokio::task::yield_now().await;
        registry.replace(&path, fs::File::create(&path).unwrap().into());
        let mut all = String::new();
        let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(read_end)).unwrap();
        // Ends when the last descriptor of the old file is closed.
        reader.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "old\n");
    };
    runtime.block_on(async {
        tokio::select! {
            () = writer.run() => unreachable!("it never ends"),
            done = tokio::time::timeout(Duration::from_secs(20), story) => done.unwrap(),
        }
    });
}

#[test]
fn whatever_happens_every_line_is_in_the_file_of_its_time_whole_and_in_order() {
    for seed in 0..256 {
        simulate(seed);
    }
}

fn simulate(seed: u64) {
    let mut dice = Dice::new(seed);
    let folder = Folder::new();
    let registry = Registry::default();
    let paths: Vec<PathBuf> = (0..3).map(|index| folder.file(&format!("{index}.log"))).collect();
    let logs: Vec<AccessLog> = paths
        .iter()
        .map(|path| match dice.roll(3) {
            0 => access(&registry, path, None, None),
            1 => access(&registry, path, Some(64), None),
            _ => access(&registry, path, Some(256), Some(50)),
        })
        .collect();
    let writers = [Writer::default(), Writer::default()];
    // What each file of each time should hold, by writer: writers are not ordered among themselves.
    let mut expected = vec![[const { Vec::<String>::new() }; 2]; 3];
    let mut now = 0;
    for step in 0..200 {
        match dice.roll(40) {
            0 => {
                check(&paths, &mut expected, seed, || reopen(&registry, &paths, &writers, &mut dice));
            }
            1..8 => {
                now += dice.roll(30);
                writers[dice.roll(2) as usize].flush_due(Tick(now));
            }
            _ => {
                let (file, writer) = (dice.roll(3) as usize, dice.roll(2) as usize);
                let line = format!("{writer} {step} {}", "x".repeat(dice.roll(90) as usize));
                put(&writers[writer], &logs[file], &line);
                expected[file][writer].push(line);
            }
        }
    }
    check(&paths, &mut expected, seed, || {
        drop(writers);
        registry.flush();
    });
}

/// Moves the files away, as logrotate does, and lets the writers see it in one of their ways.
fn reopen(registry: &Registry, paths: &[PathBuf], writers: &[Writer], dice: &mut Dice) {
    for path in paths {
        fs::rename(path, path.with_extension("old")).unwrap();
    }
    registry.reopen().unwrap();
    for writer in writers {
        // Either as its task would when woken, or as a stopping worker would.
        if dice.roll(2) == 0 {
            writer.flush_due(Tick(0));
        } else {
            writer.flush();
        }
    }
    registry.flush();
}

fn check(paths: &[PathBuf], expected: &mut [[Vec<String>; 2]], seed: u64, settle: impl FnOnce()) {
    settle();
    for (path, lines) in paths.iter().zip(expected) {
        let old = path.with_extension("old");
        let text = if old.exists() { read(&old) } else { read(path) };
        let _ = fs::remove_file(&old);
        for (writer, lines) in lines.iter_mut().enumerate() {
            let mark = format!("{writer} ");
            let found: Vec<&str> = text.lines().filter(|line| line.starts_with(&mark)).collect();
            assert_eq!(found, *lines, "seed {seed}, {}, writer {writer}", path.display());
            lines.clear();
        }
    }
}
