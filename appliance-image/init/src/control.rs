//! The socket by which console and management ask process 1: one JSON object a line, one answer a
//! line. Only root and the account of the management may ask.

use crate::accounts::MANAGING;
use crate::say;
use rustix::net::sockopt::socket_peercred;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

pub const PATH: &str = "/run/init.sock";
const MOST_CLIENTS: usize = 16;
/// A piece of an update in base64, and a pushed configuration, fit.
const LONGEST_LINE: usize = 8 << 20;

pub type Answer = Value;

pub struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
}

struct Client {
    stream: UnixStream,
    asked: Vec<u8>,
    answer: Vec<u8>,
    open: bool,
}

/// It was done, and this is what there is to say.
pub fn done(mut more: Value) -> Answer {
    if let Some(object) = more.as_object_mut() {
        object.insert("ok".into(), Value::Bool(true));
    }
    more
}

pub fn refused(error: impl ToString) -> Answer {
    json!({"ok": false, "errors": [error.to_string()]})
}

impl Control {
    /// # Errors
    /// Those of making a socket.
    pub fn open() -> io::Result<Control> {
        Control::at(PATH, Some(MANAGING))
    }

    fn at(path: &str, group: Option<u32>) -> io::Result<Control> {
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        std::os::unix::fs::chown(path, None, group)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        Ok(Control { listener, clients: Vec::new() })
    }

    /// Where something to read may arrive.
    pub fn waits_on(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.clients.iter().map(|client| client.stream.as_fd()))
    }

    /// Answers what has been asked.
    pub fn serve(&mut self, mut answer: impl FnMut(&[u8]) -> Answer) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.welcome(stream);
        }
        for client in &mut self.clients {
            client.read();
            while let Some(line) = client.line() {
                client.answer.extend(answer(&line).to_string().into_bytes());
                client.answer.push(b'\n');
            }
            client.write();
        }
        self.clients.retain(|client| client.open || !client.answer.is_empty());
    }

    fn welcome(&mut self, stream: UnixStream) {
        let known = socket_peercred(&stream).is_ok_and(|peer| {
            let uid = peer.uid.as_raw();
            uid == 0 || uid == MANAGING || uid == rustix::process::getuid().as_raw()
        });
        if !known {
            say::trouble("a stranger asked at the control socket", "it was sent away");
            return;
        }
        if self.clients.len() < MOST_CLIENTS && stream.set_nonblocking(true).is_ok() {
            self.clients.push(Client { stream, asked: Vec::new(), answer: Vec::new(), open: true });
        }
    }
}

impl Client {
    fn read(&mut self) {
        let mut bytes = vec![0; 64 << 10];
        while self.open && self.asked.len() <= LONGEST_LINE {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.open = false,
                Ok(read) => self.asked.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.open = false,
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.asked.iter().position(|&byte| byte == b'\n') else {
            if self.asked.len() > LONGEST_LINE {
                self.open = false;
                self.asked.clear();
            }
            return None;
        };
        Some(self.asked.drain(..=end).collect())
    }

    fn write(&mut self) {
        while !self.answer.is_empty() {
            match self.stream.write(&self.answer) {
                Ok(written) => {
                    self.answer.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.open = false;
                    self.answer.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    fn socket(name: &str) -> (String, Control) {
        let path = std::env::temp_dir().join(format!("fairlead-control-{}-{name}", std::process::id()));
        let path = path.to_str().unwrap().to_owned();
        let control = Control::at(&path, None).unwrap();
        (path, control)
    }

    fn was(line: &[u8]) -> Answer {
        match serde_json::from_slice::<Value>(line) {
            Ok(request) => done(json!({"was": request["do"].clone()})),
            Err(error) => refused(error),
        }
    }

    #[test]
    fn each_line_gets_one_answer_in_order() {
        let (path, mut control) = socket("lines");
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"{\"do\":\"a\"}\n{\"do\":").unwrap();
        control.serve(was);
        client.write_all(b"\"b\"}\nnonsense\n").unwrap();
        control.serve(was);
        let lines: Vec<String> = BufReader::new(&client).lines().take(3).map(Result::unwrap).collect();
        assert_eq!(lines.first().map(String::as_str), Some(r#"{"ok":true,"was":"a"}"#));
        assert!(lines.get(1).unwrap().contains("\"b\"") && lines.get(2).unwrap().contains("\"ok\":false"));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_line_without_end_is_cut_off() {
        let (path, mut control) = socket("endless");
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_nonblocking(true).unwrap();
        for _ in 0..400 {
            let _ = client.write(&vec![b'x'; 64 << 10]);
            control.serve(|_| done(json!({})));
        }
        assert!(control.clients.is_empty());
        fs::remove_file(path).unwrap();
    }
}
