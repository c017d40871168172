//! The buttons of a virtual machine: one command at a time over QEMU's machine protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use fairlead_harness::{PATIENCE, eventually};

pub struct Buttons {
    stream: BufReader<UnixStream>,
}

impl Buttons {
    pub fn connect(socket: &Path) -> Buttons {
        let mut found = None;
        eventually("QEMU opens its control socket", || {
            found = UnixStream::connect(socket).ok();
            found.is_some()
        });
        let stream = found.expect("it was found");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        let mut buttons = Buttons { stream: BufReader::new(stream) };
        buttons.press("qmp_capabilities");
        buttons
    }

    /// Runs a command without arguments and waits for its answer; what else happens is skipped.
    pub fn press(&mut self, command: &str) {
        let text = format!("{{\"execute\":\"{command}\"}}\n");
        self.stream.get_mut().write_all(text.as_bytes()).expect("QEMU takes a command");
        let mut line = String::new();
        while !line.contains("\"return\"") {
            assert!(!line.contains("\"error\""), "{command}: {line}");
            line.clear();
            let read = self.stream.read_line(&mut line).expect("QEMU answers");
            assert_ne!(read, 0, "QEMU ended instead of answering {command}");
        }
    }
}
