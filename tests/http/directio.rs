//! `directio` and `output_buffers`: how files get from the disk into memory.

use fairlead_harness::{Client, Proxy, eventually};
use nix::libc::O_DIRECT;
use std::fs::{read_dir, read_link, read_to_string};

use crate::fairlead;

/// 3 MB and a bit of which no two stretches are alike.
fn large() -> Vec<u8> {
    (0..3_000_001_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// More than sockets hold.
const HUGE: usize = 40_000_000;

fn start(settings: &str) -> Proxy {
    fairlead()
        .file("site/small.txt", "small\n")
        .file("site/empty.txt", "")
        .file("site/large.bin", large())
        .file("site/huge.bin", vec![b'h'; HUGE])
        .http(&format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/site; {settings} }}"))
}

fn ask(client: &mut Client, range: &str) -> Vec<u8> {
    let answer = client.request(format!("GET /large.bin HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\n\r\n"));
    assert_eq!(answer.status(), 206, "{range}");
    answer.body
}

#[test]
fn every_size_gives_the_same_bytes() {
    let large = large();
    for settings in [
        "directio 0;",
        "directio 1; output_buffers 1 1;",
        "directio 4k; output_buffers 1 10000; sendfile on;",
        "directio 4k; directio_alignment 4k; output_buffers 3 10001;",
        "directio 1m; output_buffers 8 512k; sendfile on; aio threads;",
        "directio 6; open_file_cache max=10;",
        "directio 1; gzip on; gzip_types application/octet-stream;",
        "directio off; output_buffers 1 1000;",
        "output_buffers 64 256k;",
    ] {
        let proxy = start(settings);
        let mut client = Client::connect(proxy.address());
        for _ in 0..2 {
            assert_eq!(client.get("/small.txt").text(), "small\n", "{settings}");
            assert_eq!(client.get("/empty.txt").text(), "", "{settings}");
        }
        // A single byte a read is slow, and shown by the ranges.
        if !settings.contains("1 1;") {
            assert!(client.get("/large.bin").body == large, "{settings}");
        }
        for (first, last) in [(0, 0), (511, 512), (4095, 4097), (70_001, 90_002), (2_999_990, 3_000_000)] {
            assert!(ask(&mut client, &format!("{first}-{last}")) == large[first..=last], "{settings} {first}-{last}");
        }
        let parts = ask(&mut client, "1-5,1000-2000,-3");
        let has = |bytes: &[u8]| parts.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(&large[1..6]) && has(&large[1000..2001]) && has(&large[2_999_998..]), "{settings}");
    }
}

/// Whether the workers have a file of this name open, and whether past the kernel's memory.
fn open_direct(proxy: &Proxy, name: &str) -> Option<bool> {
    proxy.workers().iter().find_map(|pid| {
        let mut open = read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let found = open.find(|entry| read_link(entry.path()).is_ok_and(|path| path.ends_with(name)))?;
        let info = read_to_string(format!("/proc/{pid}/fdinfo/{}", found.file_name().display())).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some(i32::from_str_radix(flags.trim(), 8).unwrap() & O_DIRECT != 0)
    })
}

#[test]
fn long_files_are_read_past_the_memory_and_short_ones_are_not() {
    for (settings, direct) in [
        ("directio 40000000;", true),
        ("directio 4m; sendfile on;", true),
        ("directio 40000001;", false),
        ("directio 40000001; sendfile on;", false),
        ("directio off;", false),
    ] {
        let proxy = start(settings);
        let mut client = Client::connect(proxy.address());
        client.send("GET /huge.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let head = client.bytes(1000);
        // The rest does not fit anywhere: the file is open for as long as the client wants it to be.
        eventually("the file is open", || open_direct(&proxy, "huge.bin").is_some());
        assert_eq!(open_direct(&proxy, "huge.bin"), Some(direct), "{settings}");
        let text = String::from_utf8_lossy(&head);
        let body = text.find("\r\n\r\n").unwrap() + 4;
        assert_eq!(head.len() - body + client.rest().len(), HUGE, "{settings}");
        eventually("it is closed", || open_direct(&proxy, "huge.bin").is_none());
    }
}

/// How often the workers read anything while this is done.
fn reads(proxy: &Proxy, done: impl FnOnce()) -> u64 {
    let count = || {
        let of = |pid: &u32| {
            let io = read_to_string(format!("/proc/{pid}/io")).unwrap();
            io.lines().find_map(|line| line.strip_prefix("syscr: ")?.parse::<u64>().ok()).unwrap()
        };
        proxy.workers().iter().map(of).sum::<u64>()
    };
    let before = count();
    done();
    count() - before
}

#[test]
fn so_much_is_read_at_once_as_the_buffers_hold() {
    for (settings, least, most) in [
        ("directio 1; output_buffers 1 4k;", 733, 900),
        ("directio 1; output_buffers 1 1m;", 3, 150),
        ("directio 1; output_buffers 4 512k;", 3, 150),
        ("output_buffers 1 4k;", 733, 900),
        ("output_buffers 2 8k;", 184, 350),
    ] {
        let proxy = start(settings);
        let mut client = Client::connect(proxy.address());
        assert_eq!(client.get("/small.txt").text(), "small\n");
        let count = reads(&proxy, || assert_eq!(client.get("/large.bin").body.len(), 3_000_001));
        assert!((least..most).contains(&count), "{settings} {count} reads");
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for (line, told) in [
        ("directio often;", "\"directio\" directive invalid value"),
        ("directio_alignment 1000;", "\"directio_alignment\" must be a power of two up to 1m"),
        ("directio_alignment 2m;", "\"directio_alignment\" must be a power of two up to 1m"),
        ("output_buffers 0 4k;", "value must be between 1 and 1048576"),
        ("output_buffers 1 0;", "\"output_buffers\" must have from 1 byte to 64m together"),
        ("output_buffers 100 1m;", "\"output_buffers\" must have from 1 byte to 64m together"),
    ] {
        let (fine, said) = fairlead().check(&format!("http {{ {line} }}"));
        assert!(!fine && said.contains(told), "{line}: {said}");
    }
}
