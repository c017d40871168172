//! Where a response waits for a client that is slower than its peer.

use super::Settings;
use crate::directives::ALL;
use crate::settings::bodies::{FOLDER_SYNTAX, temp_folder};
use crate::throttle::Bytes;
use fairlead_conf::{Args, Diagnostic, Directive, Given, Repeat, Value};
use std::sync::Arc;

type Row = Directive<Settings>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "proxy_buffer_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("4k"),
        doc: "The longest head of a peer's response; a longer one is a 502. The default is nginx's where a page of memory \
              has 4k.",
        set: |proxy, given| {
            proxy.buffer_size = in_memory(given, 0)?;
            let size = given.size(0)?;
            proxy.sizes.keep(given, |sizes| sizes.head = Some(size));
            Ok(())
        },
    },
    Row {
        name: "proxy_buffering",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Whether what a slow client does not take of a response waits here, in memory (`proxy_buffers`) and then in a \
              file (`proxy_max_temp_file_size`), so that the peer is free. Each piece goes on as soon as it is there in \
              any case. A client that takes 32m a second or more makes its peer wait, as with `off`: that costs less than \
              a disk. A peer's `X-Accel-Buffering` comes before it.",
        set: |proxy, given| given.flag(0).map(|on| proxy.buffering = on),
    },
    Row {
        name: "proxy_buffers",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(1..=1 << 30), Value::Size], "number size"),
        repeat: Repeat::Once,
        default: Some("8 8k"),
        doc: "Memory for what one slow client has not taken of a response: the product of both. There must be two at least. nginx's \
              default is `8 4k`: with twice that most answers need no file.",
        set: |proxy, given| {
            let (number, size) = (usize::try_from(given.int(0)?).unwrap_or(0), in_memory(given, 1)?);
            proxy.buffers = number.saturating_mul(size);
            let buffers = (number as u64, size as u64);
            proxy.sizes.keep(given, |sizes| sizes.buffers = Some(buffers));
            Ok(())
        },
    },
    Row {
        name: "proxy_busy_buffers_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("16k"),
        doc: "Checked, as nginx does, to hold one of the `proxy_buffers` and not all of them; otherwise without effect: what is \
              on its way to a client is one piece of at most 64k beside `proxy_buffers`.",
        set: |proxy, given| {
            let size = given.size(0)?;
            proxy.sizes.keep(given, |sizes| sizes.busy = Some(size));
            Ok(())
        },
    },
    Row {
        name: "proxy_max_temp_file_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("1024m"),
        doc: "Bytes of one response that wait in a file when `proxy_buffers` are full; when they are used up, the peer \
              waits. `0` writes no response to a file.",
        set: |proxy, given| {
            let size = given.size(0)?;
            proxy.max_temp_file_size = size;
            proxy.sizes.keep(given, |sizes| sizes.file = Some(size));
            Ok(())
        },
    },
    Row {
        name: "proxy_temp_file_write_size",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("16k"),
        doc: "Bytes of a response that are worth a write to its file; what comes in one read is written at once.",
        set: |proxy, given| {
            proxy.temp_file_write_size = in_memory(given, 0)?;
            let size = given.size(0)?;
            proxy.sizes.keep(given, |sizes| sizes.file_write = Some(size));
            Ok(())
        },
    },
    Row {
        name: "proxy_temp_path",
        contexts: ALL,
        args: Args::between(1, 4, &[Value::Path, Value::Int(1..=9)], FOLDER_SYNTAX),
        repeat: Repeat::Once,
        default: Some("proxy_temp"),
        doc: "Folder for responses that wait in files, relative to the prefix; it is made when it is missing. The numbers \
              are the lengths of the names of up to three folders in between. The files have no names.",
        set: |proxy, given| temp_folder(given).map(|folder| proxy.temp_path = Arc::new(folder)),
    },
    Row {
        name: "proxy_limit_rate",
        contexts: ALL,
        args: Args::exactly(&[Value::Template], "rate"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "Bytes a second that are read of a response, whatever its client takes; `0` is no limit. It holds for one \
              request, and only with `proxy_buffering on`. Variables may stand in it.",
        set: |proxy, given| Bytes::read(given).map(|rate| proxy.limit_rate = rate),
    },
];

/// Argument `index` as a size that memory has room for.
fn in_memory(given: &Given<'_>, index: usize) -> Result<usize, Diagnostic> {
    let size = usize::try_from(given.size(index)?).ok().filter(|size| (1..=64 << 20).contains(size));
    let name = &given.statement.name.text;
    size.ok_or_else(|| given.error(index, format!("\"{name}\" must be between 1 byte and 64m")))
}
