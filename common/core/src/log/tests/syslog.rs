//! What reaches a syslog server.

use super::Folder;
use crate::log::{Destination, Level, Registry, Writer};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

#[test]
fn each_access_line_is_one_datagram_without_its_end() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let parameters = format!("server={},tag=lb,nohostname", server.local_addr().unwrap());
    let registry = Registry::default();
    let log = registry.access_log(&Destination::Syslog(parameters.into()), None, None).unwrap();
    let writer = Writer::default();
    for line in ["one", "two\nthree"] {
        writer.line(&log, |out| out.extend_from_slice(line.as_bytes()));
    }
    drop(writer);
    for line in ["one", "two\nthree"] {
        let mut buffer = [0; 256];
        let count = server.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..count]).unwrap();
        // local7.info
        assert!(message.starts_with("<190>"), "{message}");
        assert_eq!(&message["<190>Nov 20 20:01:02".len()..], format!(" lb: {line}"));
    }
}

#[test]
fn error_lines_carry_their_own_severity_and_whole_text() {
    let folder = Folder::new();
    let path = folder.file("socket");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let registry = Registry::default();
    let parameters = format!("server=unix:{},facility=daemon", path.display());
    let log = registry.error_log(&[(Destination::Syslog(parameters.into()), Level::Info)]).unwrap();
    log.write(Level::Crit, 5, format_args!("it broke"));
    log.write(Level::Debug, 5, format_args!("nobody asked"));
    log.write(Level::Info, 5, format_args!("it works"));
    for (priority, end) in [("<26>", " *5 it broke"), ("<30>", " *5 it works")] {
        let mut buffer = [0; 4096];
        let count = server.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..count]).unwrap();
        assert!(message.starts_with(priority) && message.ends_with(end), "{message}");
        assert!(message.contains(" fairlead: 2"), "the tag, then the line with its time: {message}");
    }
}

#[test]
fn a_server_that_restarts_gets_the_next_message() {
    let folder = Folder::new();
    let path = folder.file("socket");
    let registry = Registry::default();
    let parameters = format!("server=unix:{}", path.display());
    let log = registry.error_log(&[(Destination::Syslog(parameters.into()), Level::Info)]).unwrap();
    log.write(Level::Info, 0, format_args!("nobody there"));
    assert_eq!(registry.stats().lines_failed.load(), 1);
    for life in 0..2 {
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_nonblocking(true).unwrap();
        log.write(Level::Info, 0, format_args!("life {life}"));
        let mut buffer = [0; 4096];
        let count = server.recv(&mut buffer).unwrap();
        assert!(buffer[..count].ends_with(format!("life {life}").as_bytes()));
        std::fs::remove_file(&path).unwrap();
    }
}
