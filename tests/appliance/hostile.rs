//! Who connects without meaning well.

use crate::{Appliance, Laptop};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Reads to the end, however it comes.
fn drain(mut stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it is held open");
}

#[test]
fn garbage_and_other_protocols_are_ended_and_the_owner_is_served() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    let hello = [&[22, 3, 1, 255, 255, 1][..], &[0; 600]].concat();
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 2000], &[255; 2000], &hello, b"", b"FL\x01\x01\0\0\0\x02{}"]
    {
        let mut stream = TcpStream::connect(appliance.address).unwrap();
        // A server that is gone already is as good.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        drain(stream);
    }
    assert_eq!(laptop.ctl(&appliance, &["status"]).code, 0);
}

#[test]
fn whoever_drips_is_ended_in_time_and_keeps_nobody_out() {
    let appliance = Appliance::start();
    let laptop = Laptop::enrolled(&appliance);
    let start = Instant::now();
    let mut stream = TcpStream::connect(appliance.address).unwrap();
    let silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(appliance.address).unwrap()).collect();
    assert_eq!(laptop.ctl(&appliance, &["status"]).code, 0);
    // A long hello, a byte at a time, never quiet for as long as a timeout of one read would take.
    let hello = [&[22, 3, 1, 63, 0, 1, 0, 62, 252][..], &[0; 5000]].concat();
    for byte in hello {
        let ended = stream.write_all(&[byte]).is_err();
        if ended || start.elapsed() > Duration::from_secs(60) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    silent.into_iter().for_each(drain);
    assert_eq!(laptop.ctl(&appliance, &["status"]).code, 0);
}
