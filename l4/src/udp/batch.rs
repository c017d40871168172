//! Datagrams in batches: `recvmmsg` into one buffer of the thread, `sendmmsg`
//! from the address the client used; several of one size from one sender come as
//! one message (`UDP_GRO`) and go as one (`UDP_SEGMENT`). The system calls, and
//! nothing else.

use crate::udp::headers::{Control, read_controls, socket_address, write_controls, write_name};
use crate::udp::spans::{Run, Span};
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Messages taken with one system call.
pub(crate) const BATCH: usize = 32;

/// Room for the longest message, and a little over: were it 64 KiB flat, the starts of all places
/// would share one set of the first-level cache.
const STRIDE: usize = 64 * 1024 + 192;

/// Pieces of the buffer that go with one call: those of one message are from different places, so
/// that there is room for one at least.
const SLICES: usize = 2 * BATCH;

/// One worker's buffer. Pages that no datagram ever reached are never resident.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    received: [Received; BATCH],
    /// What a call is told, kept so that a call does not begin with writing two kilobytes. Headers
    /// point to the slices, names and control buffers, whose memory stays where it is.
    from_clients: Vec<libc::mmsghdr>,
    from_peers: Vec<libc::mmsghdr>,
    _slices: Vec<libc::iovec>,
    _controls: Vec<Control>,
}

#[derive(Clone, Copy, Default)]
struct Received {
    length: usize,
    segment: Option<usize>,
    sender: Option<Sender>,
}

/// Who sent a datagram to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub client: SocketAddr,
    /// The address it was sent to, when the listener has several.
    pub local: Option<IpAddr>,
}

/// Datagrams of the batch that go to one client as one message.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub to: Sender,
    pub run: Run,
    /// How many pieces of the buffer they are.
    pub spans: usize,
}

impl Batch {
    #[allow(unsafe_code)]
    pub fn new() -> Batch {
        // SAFETY: these are plain numbers and pointers, for which all zeroes is a value.
        let (name, header): (libc::sockaddr_storage, libc::mmsghdr) = unsafe { mem::zeroed() };
        let mut bytes = vec![0_u8; BATCH * STRIDE];
        let (mut names, mut controls) = (vec![name; BATCH], vec![Control::new(); BATCH]);
        let base = bytes.as_mut_ptr();
        let slice = |at| libc::iovec { iov_base: base.wrapping_add(at * STRIDE).cast(), iov_len: STRIDE };
        let mut slices: Vec<libc::iovec> = (0..BATCH).map(slice).collect();
        let mut from_peers = vec![header; BATCH];
        for (at, header) in from_peers.iter_mut().enumerate() {
            (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (slices.as_mut_ptr().wrapping_add(at), 1);
            header.msg_hdr.msg_control = controls.as_mut_ptr().wrapping_add(at).cast();
        }
        let mut from_clients = from_peers.clone();
        for (at, header) in from_clients.iter_mut().enumerate() {
            header.msg_hdr.msg_name = names.as_mut_ptr().wrapping_add(at).cast();
        }
        let received = [Received::default(); BATCH];
        Batch { bytes, names, received, from_clients, from_peers, _slices: slices, _controls: controls }
    }

    /// The datagrams of one message.
    pub fn span(&self, place: usize) -> Option<Span> {
        let received = self.received.get(place)?;
        Some(Span::new(place * STRIDE, received.length, received.segment))
    }

    pub fn bytes(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.start + span.length).unwrap_or_default()
    }

    pub fn sender(&self, place: usize) -> Option<Sender> {
        self.received.get(place)?.sender
    }

    /// Takes what a listener has, up to a batch; fewer than that means the socket is drained. With
    /// `told` the kernel may say more of a message, as only sockets of UDP may be let.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recvmmsg`.
    #[allow(unsafe_code)]
    pub fn receive_requests(&mut self, socket: BorrowedFd<'_>, told: bool) -> io::Result<usize> {
        prepare(&mut self.from_clients, told);
        // SAFETY: the headers point to as many slices, names and control buffers of ours, each with
        // its true length, which live as long as we do and are not touched during the call.
        let taken = unsafe { receive(socket, &mut self.from_clients) }?;
        for ((received, header), name) in self.received.iter_mut().zip(&self.from_clients).zip(&self.names).take(taken)
        {
            let told = read_controls(&header.msg_hdr);
            let client = socket_address(name, header.msg_hdr.msg_namelen);
            let sender = client.map(|client| Sender { client, local: told.local });
            *received = Received { length: header.msg_len as usize, segment: told.segment, sender };
        }
        Ok(taken)
    }

    /// Takes what a connected socket has into the places from `at` on, up to `want` messages; fewer
    /// than that means the socket is drained. `told` as above.
    ///
    /// # Errors
    /// `WouldBlock`, and those of `recvmmsg`, among them what ICMP said about the peer.
    #[allow(unsafe_code)]
    pub fn receive_replies(
        &mut self,
        socket: BorrowedFd<'_>,
        (at, want): (usize, usize),
        told: bool,
    ) -> io::Result<usize> {
        let headers = self.from_peers.get_mut(at..BATCH.min(at + want)).unwrap_or_default();
        prepare(headers, told);
        // SAFETY: as above; these headers have no names.
        let taken = unsafe { receive(socket, headers) }?;
        for (received, header) in self.received.iter_mut().skip(at).zip(headers).take(taken) {
            let segment = read_controls(&header.msg_hdr).segment;
            *received = Received { length: header.msg_len as usize, segment, sender: None };
        }
        Ok(taken)
    }

    /// Sends datagrams of the batch as one message to a connected socket's peer.
    ///
    /// # Errors
    /// Those of `sendmsg`; [`longest_after`] tells which mean that one by one may do.
    #[allow(unsafe_code)]
    pub fn send_run(&self, socket: BorrowedFd<'_>, spans: &[Span], segment: Option<u16>) -> io::Result<usize> {
        let mut slices = [const { MaybeUninit::uninit() }; SLICES];
        let count = self.point_at(&mut slices, spans);
        let mut control = Control::new();
        // SAFETY: msghdr is numbers and pointers, for which all zeroes is a value.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (slices.as_mut_ptr().cast(), count);
        if segment.is_some() {
            write_controls(&mut header, &mut control, None, segment);
        }
        // SAFETY: `header` points to `count` filled slices and the control message above, each with its
        // true length, and they to datagrams of ours; sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Sends messages to clients with one call, each from the address its client used; how many went.
    /// `spans` are those of all messages, one message's behind another's.
    ///
    /// # Errors
    /// What became of the first message, when it did not go; the others have not been tried then.
    #[allow(unsafe_code)]
    pub fn send_replies(&self, socket: BorrowedFd<'_>, messages: &[Message], spans: &[Span]) -> io::Result<usize> {
        let mut slices = [const { MaybeUninit::<libc::iovec>::uninit() }; SLICES];
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
        let parts = headers.iter_mut().zip(&mut names).zip(&mut controls);
        let (mut count, mut used) = (0, 0);
        for (message, ((header, name), control)) in messages.iter().zip(parts) {
            let run = spans.get(used..used + message.spans).unwrap_or_default();
            let Some(slices) = slices.get_mut(used..used + run.len()) else { break };
            // SAFETY: mmsghdr is numbers and pointers, for which all zeroes is a value.
            let header = &mut header.write(unsafe { mem::zeroed() }).msg_hdr;
            header.msg_iovlen = self.point_at(slices, run);
            header.msg_iov = slices.as_mut_ptr().cast();
            (header.msg_name, header.msg_namelen) = write_name(name, message.to.client);
            if message.to.local.is_some() || message.run.segment().is_some() {
                write_controls(header, control.write(Control::new()), message.to.local, message.run.segment());
            }
            (count, used) = (count + 1, used + run.len());
        }
        // SAFETY: the first `count` headers are filled above and point to slices, names and control
        // messages that outlive the call, each with its true length; sendmmsg writes to the headers only.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count, flags)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Fills one slice for each span; how many there are.
    fn point_at(&self, slices: &mut [MaybeUninit<libc::iovec>], spans: &[Span]) -> usize {
        let pairs = slices.iter_mut().zip(spans);
        pairs.map(|(slice, span)| slice.write(slice_of(self.bytes(*span)))).count()
    }
}

/// Sends one datagram that is not of a batch to a client, from the address it used.
///
/// # Errors
/// `WouldBlock`, and those of `sendmsg`.
#[allow(unsafe_code)]
pub(crate) fn reply(socket: BorrowedFd<'_>, bytes: &[u8], to: Sender) -> io::Result<usize> {
    let (mut name, mut control) = (MaybeUninit::uninit(), Control::new());
    let mut slice = slice_of(bytes);
    // SAFETY: msghdr is numbers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&mut slice, 1);
    (header.msg_name, header.msg_namelen) = write_name(&mut name, to.client);
    if to.local.is_some() {
        write_controls(&mut header, &mut control, to.local, None);
    }
    // SAFETY: `header` points to the name, the slice and the control message above, each with its
    // true length; sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The path could not carry one message of datagrams as long as `segment`: how long they may be that
/// go so from now on. `None` when the error is about something else.
pub(crate) fn longest_after(error: &io::Error, segment: Option<u16>) -> Option<usize> {
    let segment = usize::from(segment?);
    match error.raw_os_error()? {
        // Longer than its packets.
        libc::EINVAL | libc::EMSGSIZE => Some(segment.saturating_sub(1)),
        // Not at all.
        libc::EIO | libc::ENOPROTOOPT | libc::EOPNOTSUPP => Some(0),
        _ => None,
    }
}

/// Renews what a call has written over. Without room for control messages a Unix socket's sender
/// cannot give us descriptors.
fn prepare(headers: &mut [libc::mmsghdr], told: bool) {
    let room = if told { Control::ROOM } else { 0 };
    for header in headers {
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        header.msg_hdr.msg_controllen = room;
    }
}

fn slice_of(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// # Safety
/// Every header must point to memory that may be written until this returns, of the length it says.
#[allow(unsafe_code)]
unsafe fn receive(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: the caller's promise; the time limit may be null.
    let taken = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as u32,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}
