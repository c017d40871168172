//! Sends the bytes of files. Head and first bytes leave together: they are read into the worker's
//! shared buffer behind the head, so that a small file costs one read and one send. `sendfile on`
//! lets the rest of a larger one go by without being copied.

use crate::client::Client;
use crate::content::file_name;
use crate::disk::{self, Descriptor, Now, Source};
use crate::exchange::Exchange;
use crate::filter::Parts;
use crate::respond::flush;
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::Push;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// How a piece went.
enum Piece {
    /// With so many bytes of the file.
    Sent(usize),
    /// The disk has to be asked first.
    Waits,
    /// The client is gone.
    Gone,
    Unread(io::Error),
}

/// Sends a head and the bytes of a file between two offsets, the last of them as `last` says; false when
/// that failed.
pub(crate) async fn send_file(
    client: &mut Client,
    exchange: &mut Exchange,
    (head, last): (&[u8], Push),
    (file, start, end): (&Source, u64, u64),
) -> bool {
    if let Source::Open(file) = file
        && file.is_direct()
        && start < end
    {
        return send_direct(client, exchange, (head, last), (file, start, end)).await;
    }
    let (mut head, mut at) = (head, start);
    while at < end || !head.is_empty() {
        if let Source::Open(file) = file
            && head.is_empty()
            && exchange.location.files.sendfile
            && client.throttle.is_none()
            && !client.is_lent()
        {
            return pass(client, exchange, (file, at, end)).await;
        }
        let piece = poll_fn(|cx| Poll::Ready(piece(cx, client, exchange, (head, last), (file, at, end)))).await;
        let sent = match piece {
            Piece::Sent(sent) => sent,
            Piece::Waits => {
                let Some(step) = next_step(exchange, file, at, end).await else { return false };
                let sent = poll_fn(|cx| Poll::Ready(client.send(cx, [head, &step, b"", b""])));
                if sent.await.is_err() {
                    return false;
                }
                step.len()
            }
            Piece::Gone => return false,
            Piece::Unread(failure) => return unread(exchange, &failure),
        };
        if sent == 0 && at < end {
            return too_short(exchange, at, end);
        }
        if !flush(client, exchange).await {
            return false;
        }
        head = b"";
        at += sent as u64;
        exchange.body_bytes_sent += sent as u64;
    }
    true
}

/// Sends a head and several ranges of a file, each behind its lines.
pub(crate) async fn send_parts(
    client: &mut Client,
    exchange: &mut Exchange,
    (head, last): (&[u8], Push),
    parts: &Parts,
) -> bool {
    let mut before = head.to_vec();
    for (lines, start, end) in &parts.parts {
        before.extend_from_slice(lines);
        if !send_file(client, exchange, (&before, Push::Now), (&parts.file, *start, *end)).await {
            return false;
        }
        exchange.body_bytes_sent += lines.len() as u64;
        before.clear();
    }
    let sent = poll_fn(|cx| Poll::Ready(client.send_as(cx, [&parts.end, b"", b"", b""], last)));
    exchange.body_bytes_sent += parts.end.len() as u64;
    sent.await.is_ok() && flush(client, exchange).await
}

/// The same with `directio`: one half of `output_buffers` is read while the other one is sent.
async fn send_direct(
    client: &mut Client,
    exchange: &mut Exchange,
    (mut head, last): (&[u8], Push),
    (file, start, end): (&Descriptor, u64, u64),
) -> bool {
    let (at_once, ahead) = exchange.location.files.output_buffers.halves();
    let mut at = start;
    let mut next = Some(disk::begin(file, at, end, at_once));
    while at < end {
        let reading = next.take().unwrap_or_else(|| disk::begin(file, at, end, at_once));
        let piece = match disk::finish(reading).await {
            Ok(piece) => piece,
            Err(failure) => return unread(exchange, &failure),
        };
        if piece.bytes().is_empty() {
            return too_short(exchange, at, end);
        }
        at += piece.bytes().len() as u64;
        next = (ahead && at < end).then(|| disk::begin(file, at, end, at_once));
        let push = if at == end { last } else { Push::Now };
        let sent = poll_fn(|cx| Poll::Ready(client.send_as(cx, [head, piece.bytes(), b"", b""], push)));
        if sent.await.is_err() || !flush(client, exchange).await {
            return false;
        }
        head = b"";
        exchange.body_bytes_sent += piece.bytes().len() as u64;
    }
    true
}

/// One read and one send of what is in memory.
fn piece(
    cx: &mut Context<'_>,
    client: &mut Client,
    exchange: &Exchange,
    (head, last): (&[u8], Push),
    (file, at, end): (&Source, u64, u64),
) -> Piece {
    let most = exchange.location.files.output_buffers.all();
    let want = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(most);
    let push = |sent: usize| if at + sent as u64 == end { last } else { Push::Now };
    if let Source::Held(bytes) = file {
        let bytes = disk::held(bytes, at, want);
        return match client.send_as(cx, [head, bytes, b"", b""], push(bytes.len())) {
            Ok(()) => Piece::Sent(bytes.len()),
            Err(_) => Piece::Gone,
        };
    }
    exchange.worker.context.scratch.with_read(|buffer| {
        let Some((front, rest)) = buffer.split_at_mut_checked(head.len()).filter(|(_, rest)| rest.len() >= LEAST)
        else {
            // A head as large as the buffer goes out with what a thread reads.
            return Piece::Waits;
        };
        front.copy_from_slice(head);
        let want = want.min(rest.len());
        let Some(space) = rest.get_mut(..want) else { return Piece::Waits };
        let read = match disk::now(file, at, space) {
            _ if want == 0 => 0,
            Ok(Now::Read(count)) => count,
            Ok(Now::Waits) => return Piece::Waits,
            Err(failure) => return Piece::Unread(failure),
        };
        let bytes = buffer.get(..head.len() + read).unwrap_or_default();
        match client.send_as(cx, [bytes, b"", b"", b""], push(read)) {
            Ok(()) => Piece::Sent(read),
            Err(_) => Piece::Gone,
        }
    })
}

/// Fewer bytes of a file behind a head are not worth it.
const LEAST: usize = 16 << 10;

/// The kernel sends no more at once, and `aio` should not bring a whole disk into memory.
const MOST_PASSED: u64 = 2 << 20;

/// Sends by `sendfile`.
async fn pass(client: &mut Client, exchange: &mut Exchange, (file, mut at, end): (&Descriptor, u64, u64)) -> bool {
    let files = exchange.location.files.clone();
    let most = if files.sendfile_max_chunk == 0 { MOST_PASSED } else { files.sendfile_max_chunk.min(MOST_PASSED) };
    while at < end {
        let count = usize::try_from(end.saturating_sub(at).min(most)).unwrap_or(usize::MAX);
        if files.aio && !disk::bring(file, at, count).await {
            return too_short(exchange, at, end);
        }
        client.deadline.set(exchange.location.send_timeout);
        let sent = poll_fn(|cx| {
            if let Poll::Ready(sent) = client.poll_send_file(cx, file, (at, count)) {
                return Poll::Ready(sent.ok());
            }
            if client.rests() {
                client.deadline.set(exchange.location.send_timeout);
                return Poll::Pending;
            }
            client.deadline.poll(cx).map(|_| {
                client.timed_out = true;
                None
            })
        });
        match sent.await {
            None => return false,
            Some(0) => return too_short(exchange, at, end),
            Some(sent) => {
                at += sent as u64;
                exchange.body_bytes_sent += sent as u64;
            }
        }
    }
    true
}

/// The next bytes of a file, never none; `None` when that failed.
pub(crate) async fn next_step(exchange: &Exchange, file: &Source, at: u64, end: u64) -> Option<Vec<u8>> {
    match disk::read(file, at, end, exchange.location.files.output_buffers.all()).await {
        Ok(step) if step.is_empty() && at < end => {
            too_short(exchange, at, end);
            None
        }
        Ok(step) => Some(step),
        Err(failure) => {
            unread(exchange, &failure);
            None
        }
    }
}

/// The file has lost its end since it was opened.
fn too_short(exchange: &Exchange, at: u64, end: u64) -> bool {
    let name = file_name(exchange).unwrap_or_default();
    let (name, want) = (String::from_utf8_lossy(&name), end.saturating_sub(at));
    exchange.log(Level::Alert, format_args!("pread() read only 0 of {want} from \"{name}\""));
    false
}

fn unread(exchange: &Exchange, failure: &io::Error) -> bool {
    let name = file_name(exchange).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    exchange.log(Level::Crit, format_args!("pread() \"{name}\" failed {}", OsError(failure)));
    false
}
