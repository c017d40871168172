//! `return`: sends a text to the client and ends the session.

use crate::directives::SERVER;
use crate::outcomes::Status;
use crate::record::{Record, level};
use fairlead_conf::{Args, Directive, Repeat, Value, Word};
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::Stream;
use fairlead_core::worker::Scratch;
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) const DIRECTIVES: &[Directive<Option<Word>>] = &[Directive {
    name: "return",
    contexts: SERVER,
    args: Args::exactly(&[Value::Template], "value"),
    repeat: Repeat::Once,
    default: None,
    doc: "Sends this text, in which variables are replaced, and closes the connection; one datagram to a UDP client.",
    set: |text, given| {
        *text = Some(given.word(0).clone());
        Ok(())
    },
}];

/// How long a client may take nothing of the text, as in nginx.
const STALL: Duration = Duration::from_secs(5);

pub(crate) const ACTION: &str = "returning text";

/// Sends the whole text.
pub(crate) async fn send(client: &Stream, text: &[u8], record: &mut Record) -> Status {
    let mut rest = text;
    while !rest.is_empty() {
        match timeout(STALL, poll_fn(|cx| client.poll_write(cx, rest))).await {
            Ok(Ok(written)) => {
                record.sent += written as u64;
                rest = rest.get(written..).unwrap_or_default();
            }
            Ok(Err(error)) => {
                record.log(level(&error, Level::Info), ACTION, format_args!("send() failed {}", OsError(&error)));
                return Status::InternalError;
            }
            Err(_) => {
                record.log(Level::Info, ACTION, format_args!("connection timed out (110: Connection timed out)"));
                return Status::Ok;
            }
        }
    }
    Status::Ok
}

/// How long a client is waited for after its text.
const LINGER: Duration = Duration::from_secs(1);

/// Ends our direction and takes what the client still sends until it has ended too: closing a socket
/// in which unread bytes wait resets the connection, and the text could be lost on its way. nginx
/// closes at once.
pub(crate) async fn linger(client: &Stream, scratch: &Scratch) {
    client.shutdown_write();
    let read = || poll_fn(|cx| scratch.with_read(|discarded| client.poll_read(cx, discarded)));
    let drain = async { while let Ok(1..) = read().await {} };
    // A client that never ends is closed all the same.
    let _: Result<(), _> = timeout(LINGER, drain).await;
}

/// Whether a datagram could not be sent because the way is full, which loses it as any network does.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS))
}
