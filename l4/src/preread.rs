//! The preread phase: reads the beginning of what a client sends, until it is
//! known which server its name belongs to. What was read goes to the peer first.
//!
//! Runs with the settings of the address's default server; everything after it
//! is the chosen server's. A client that says nothing owns no buffer.

use crate::directives::{SERVER, STREAM};
use crate::outcomes::Status;
use crate::record::{Record, level};
use crate::servers;
use fairlead_conf::{Args, Directive, Repeat, Value};
use fairlead_core::log::{Level, OsError};
use fairlead_core::net::{ClientHello, ClientHelloError, Stream, parse_client_hello};
use fairlead_core::worker::Scratch;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    buffer_size: usize,
    timeout: Duration,
    ssl: bool,
}

pub(crate) const DIRECTIVES: &[Directive<Settings>] = &[
    Directive {
        name: "preread_buffer_size",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("16k"),
        doc: "The most that is read of a client before its server is known. Taken as it is needed.",
        set: |preread, given| {
            preread.buffer_size = usize::try_from(given.size(0)?).unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Directive {
        name: "preread_timeout",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Time], "timeout"),
        repeat: Repeat::Once,
        default: Some("30s"),
        doc: "How long a client may take to send what is read before its server is known.",
        set: |preread, given| given.time(0).map(|timeout| preread.timeout = timeout),
    },
    Directive {
        name: "ssl_preread",
        contexts: STREAM.or(SERVER),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Reads the ClientHello of a TLS connection without taking part in it: for `server_name` and for \
              `$ssl_preread_server_name`, `$ssl_preread_protocol` and `$ssl_preread_alpn_protocols`.",
        set: |preread, given| given.flag(0).map(|on| preread.ssl = on),
    },
];

/// Why a session ends before its server is known.
enum Problem {
    /// The buffer holds no whole hello.
    Full,
    /// The client has ended, or took too long.
    Gone,
    Failed(io::Error),
}

/// Runs the phase; the log line of what goes wrong is written here. `early` holds what was read.
///
/// # Errors
/// The status of a session that may not go on.
pub(crate) async fn run(client: &Stream, early: &mut Vec<u8>, record: &mut Record) -> Result<(), Status> {
    const ACTION: &str = "prereading client data";
    let entry = record.entry.clone();
    let settings = &entry.server.preread;
    if !settings.ssl {
        return Ok(());
    }
    let reading = hello(client, early, &record.worker.context.scratch, settings.buffer_size);
    let problem = match tokio::time::timeout(settings.timeout, reading).await {
        Ok(Ok(Some(hello))) => {
            choose(record, hello);
            return Ok(());
        }
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(problem)) => problem,
        Err(_) => Problem::Gone,
    };
    // It began to say what it wants: the variables exist, and are empty.
    record.hello = (!early.is_empty()).then(Box::default);
    match problem {
        Problem::Full => {
            record.log(Level::Error, ACTION, format_args!("preread buffer full"));
            Err(Status::BadRequest)
        }
        Problem::Gone => Err(Status::Ok),
        Problem::Failed(error) => {
            record.log(level(&error, Level::Info), ACTION, format_args!("recv() failed {}", OsError(&error)));
            Err(Status::Ok)
        }
    }
}

/// Goes on with the server of the name that the client asks for.
fn choose(record: &mut Record, hello: ClientHello) {
    let chosen = servers::host(&hello.server_name).and_then(|host| record.entry.select(&host));
    if let Some((entry, captures)) = chosen {
        record.entry = entry;
        if let Some(captures) = captures {
            record.captured(*captures);
        }
    }
    record.hello = Some(Box::new(hello));
}

/// Reads until the hello is whole; `None` for a client that does not speak TLS.
async fn hello(
    client: &Stream,
    early: &mut Vec<u8>,
    scratch: &Scratch,
    limit: usize,
) -> Result<Option<ClientHello>, Problem> {
    loop {
        // Behind a PROXY header there may be more than fits.
        let bytes = early.get(..limit).unwrap_or(early);
        match parse_client_hello(bytes) {
            Ok(hello) => return Ok(Some(hello)),
            Err(ClientHelloError::NotTls) => return Ok(None),
            Err(ClientHelloError::Incomplete) if bytes.len() >= limit => return Err(Problem::Full),
            Err(ClientHelloError::Incomplete) => {}
        }
        match read_some(client, scratch, early, limit) {
            Ok(0) => return Err(Problem::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|cx| client.poll_read_ready(cx)).await;
            }
            Err(error) => return Err(Problem::Failed(error)),
        }
    }
}

/// Appends what is there, until `bytes` holds `limit`. Reads through the worker's buffer, so that
/// `bytes` takes no more memory than what came.
pub(crate) fn read_some(client: &Stream, scratch: &Scratch, bytes: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    scratch.with_read(|buffer| {
        let room = limit.saturating_sub(bytes.len()).min(buffer.len());
        let read = client.try_read(buffer.get_mut(..room).unwrap_or_default())?;
        bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(read)
    })
}
