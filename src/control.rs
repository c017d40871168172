//! The socket between master and worker process: frames of bytes with file
//! descriptors beside them. Blocking, bounded, versioned; what the bytes mean
//! is [`crate::messages`]'.

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const VERSION: u8 = 1;
const HEADER: usize = 12;
/// Largest payload: a configuration of many hundred thousand servers.
const MAX_PAYLOAD: usize = 512 * 1024 * 1024;
/// Most descriptors of one frame.
const MAX_FDS: usize = 65_536;
/// Descriptors in one message: the kernel takes 253.
const BATCH: usize = 250;
/// The other side is ours and reads at once; it is stuck when it does not for this long.
const STUCK: Duration = Duration::from_secs(30);

pub struct Control {
    socket: UnixStream,
}

/// One message as it travels.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

impl Control {
    /// Both ends.
    ///
    /// # Errors
    /// Those of `socketpair`.
    pub fn pair() -> io::Result<(Control, Control)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Control::new(one)?, Control::new(other)?))
    }

    fn new(socket: UnixStream) -> io::Result<Control> {
        socket.set_read_timeout(Some(STUCK))?;
        socket.set_write_timeout(Some(STUCK))?;
        Ok(Control { socket })
    }

    /// # Errors
    /// `InvalidInput` when it is too large, and those of `sendmsg`.
    pub fn send(&self, kind: u8, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if payload.len() > MAX_PAYLOAD || fds.len() > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "control message too large"));
        }
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.extend_from_slice(&[VERSION, kind, 0, 0]);
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(&(fds.len() as u32).to_be_bytes());
        frame.extend_from_slice(payload);
        (&self.socket).write_all(&frame)?;
        fds.chunks(BATCH).try_for_each(|batch| self.send_fds(batch))
    }

    /// The next frame; `None` when the other side has closed.
    ///
    /// # Errors
    /// `InvalidData` when it is none of ours, and those of `recvmsg`.
    pub fn receive(&self) -> io::Result<Option<Frame>> {
        let mut header = [0; HEADER];
        if !self.read_or_end(&mut header)? {
            return Ok(None);
        }
        let [version, kind, _, _, a, b, c, d, e, f, g, h] = header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let count = u32::from_be_bytes([e, f, g, h]) as usize;
        if version != VERSION || length > MAX_PAYLOAD || count > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "broken control message"));
        }
        let mut payload = vec![0; length];
        (&self.socket).read_exact(&mut payload)?;
        let mut fds = Vec::with_capacity(count);
        while fds.len() < count {
            self.receive_fds(&mut fds)?;
        }
        Ok(Some(Frame { kind, payload, fds }))
    }

    /// False when the other side has closed between two frames.
    fn read_or_end(&self, header: &mut [u8; HEADER]) -> io::Result<bool> {
        let mut filled = 0;
        while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match (&self.socket).read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Each batch rides on a byte of its own, so that plain reads never meet one.
    fn send_fds(&self, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
        let raw: Vec<RawFd> = batch.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        loop {
            let byte = [IoSlice::new(&[0])];
            match sendmsg::<()>(self.socket.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[allow(unsafe_code)]
    fn receive_fds(&self, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
        let before = fds.len();
        let mut byte = [0];
        let mut space = cmsg_space!([RawFd; BATCH]);
        let mut slices = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                // SAFETY: the kernel has just made these descriptors for this message, they are open
                // and nobody else in this process knows them.
                fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        if fds.len() == before {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors are missing from a control message"));
        }
        Ok(())
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Control> for OwnedFd {
    fn from(control: Control) -> OwnedFd {
        control.socket.into()
    }
}

impl TryFrom<OwnedFd> for Control {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Control> {
        Control::new(fd.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let (one, other) = Control::pair().unwrap();
        let sender = std::thread::spawn(move || {
            one.send(1, b"", &[]).unwrap();
            one.send(2, &vec![7; 3_000_000], &[]).unwrap();
        });
        let first = other.receive().unwrap().unwrap();
        assert_eq!((first.kind, first.payload.len(), first.fds.len()), (1, 0, 0));
        let second = other.receive().unwrap().unwrap();
        assert_eq!((second.kind, second.payload), (2, vec![7; 3_000_000]));
        sender.join().unwrap();
        assert!(other.receive().unwrap().is_none(), "the end is no error");
    }

    #[test]
    fn more_descriptors_than_one_message_holds_arrive_in_order() {
        let (one, other) = Control::pair().unwrap();
        let files: Vec<(io::PipeReader, io::PipeWriter)> = (0..300).map(|_| io::pipe().unwrap()).collect();
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(|(_, writer)| writer.as_fd()).collect();
        one.send(3, b"fds", &fds).unwrap();
        one.send(4, b"next", &[]).unwrap();
        let frame = other.receive().unwrap().unwrap();
        assert_eq!(frame.fds.len(), 300);
        for (number, (fd, (mut reader, writer))) in frame.fds.into_iter().zip(files).enumerate() {
            drop(writer);
            let number = (number as u32).to_be_bytes();
            std::fs::File::from(fd).write_all(&number).unwrap();
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert_eq!(read, number);
        }
        assert_eq!(other.receive().unwrap().unwrap().payload, b"next");
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for header in
            [*b"GET / HTTP/1", [1, 1, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0]]
        {
            let (one, other) = Control::pair().unwrap();
            (&one.socket).write_all(&header).unwrap();
            assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn an_end_in_the_middle_is_an_error() {
        let (one, other) = Control::pair().unwrap();
        (&one.socket).write_all(&[1, 1, 0]).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
