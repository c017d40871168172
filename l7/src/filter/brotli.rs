//! `brotli`: its directives, and a body on its way into it.

use super::Settings as Filters;
use super::chain::{Broken, End};
use super::coding::{LEAST_WINDOW, Settings};
use super::gzip::Stored;
use crate::directives::{ALL, IF_LOCATION};
use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use fairlead_conf::{Args, Directive, Repeat, Value};
use std::io::Write;

type Row = Directive<Filters>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "brotli",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Packs bodies of responses with status 200, 403 or 404 with Brotli on their way to clients that take it \
              (`br`). Of several codings that are on a client gets the one it gives the highest weight, else zstd \
              before brotli before gzip. While it packs a long body it holds about 0.2 MB at level 1, 4 MB at 4, \
              11 MB at 6 and 31 MB at 9.",
        set: |filters, given| given.flag(0).map(|on| filters.brotli.on = on),
    },
    Row {
        name: "brotli_comp_level",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Int(0..=11)], "level"),
        repeat: Repeat::Once,
        default: Some("6"),
        doc: "How hard to compress, from 0 (quick) to 11 (small, and slow).",
        set: |filters, given| given.int(0).map(|level| filters.brotli.level = u32::try_from(level).unwrap_or(1)),
    },
    Row {
        name: "brotli_types",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "mime-type ..."),
        repeat: Repeat::List(|filters| filters.brotli.types.clear()),
        default: Some("text/html"),
        doc: "Content types that `brotli` packs, besides `text/html`; `*` is any.",
        set: |filters, given| filters.brotli.types.take(given, &["text/html"]),
    },
    Row {
        name: "brotli_min_length",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "length"),
        repeat: Repeat::Once,
        default: Some("20"),
        doc: "Bodies of fewer bytes stay as they are, if their `Content-Length` is known.",
        set: |filters, given| given.size(0).map(|length| filters.brotli.min_length = length),
    },
    Row {
        name: "brotli_window",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("512k"),
        doc: "How far back `brotli` looks for what it has seen: a power of two from 1k to 16m.",
        set: |filters, given| {
            let size = given.size(0)?;
            if !size.is_power_of_two() || !(1 << LEAST_WINDOW..=16 << 20).contains(&size) {
                return Err(given.error(0, "window size must be a power of two from 1k to 16m"));
            }
            filters.brotli.window = size.ilog2();
            Ok(())
        },
    },
    Row {
        name: "brotli_static",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["on", "off", "always"])], "on | off | always"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sends the file with `.br` behind its name, if there is one, to clients that take `br`, or with \
              `always` to all.",
        set: |filters, given| {
            filters.brotli.stored = Stored::read(given.text(0));
            Ok(())
        },
    },
];

pub(super) struct Brotli {
    /// Until the last piece.
    writer: Option<CompressorWriter<Vec<u8>>>,
}

/// What the encoder hands on at a time.
const STEP: usize = 4 << 10;

impl Brotli {
    pub fn new(settings: &Settings, length: Option<u64>) -> Brotli {
        let params = BrotliEncoderParams {
            quality: i32::try_from(settings.level).unwrap_or(6),
            lgwin: i32::try_from(settings.window_for(length)).unwrap_or(16),
            size_hint: length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0),
            ..BrotliEncoderParams::default()
        };
        Brotli { writer: Some(CompressorWriter::with_params(Vec::new(), STEP, &params)) }
    }

    pub fn write(&mut self, bytes: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = writer.write_all(bytes).and_then(|()| if end == End::Flush { writer.flush() } else { Ok(()) });
        written.map_err(|_| Broken("BrotliEncoderCompressStream() failed"))?;
        if end == End::Last {
            let rest = self.writer.take().map(CompressorWriter::into_inner);
            out.append(&mut rest.unwrap_or_default());
        } else {
            out.append(writer.get_mut());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_was_packed_in_pieces_unpacks_to_the_same() {
        let text: Vec<u8> = (0..40_000u32).flat_map(|number| format!("{number} of many\n").into_bytes()).collect();
        for (level, window, length) in
            [(0, 10, None), (6, 19, Some(text.len() as u64)), (11, 16, None), (9, 24, Some(5))]
        {
            let settings = Settings { level, window, ..Settings::default() };
            let text = if length == Some(5) { &text[..5] } else { &text[..] };
            let (mut brotli, mut out) = (Brotli::new(&settings, length), Vec::new());
            for (number, piece) in text.chunks(7001).enumerate() {
                let end = if number % 3 == 0 { End::Flush } else { End::Not };
                brotli.write(piece, end, &mut out).unwrap();
            }
            brotli.write(b"", End::Last, &mut out).unwrap();
            let mut unpacked = Vec::new();
            brotli::Decompressor::new(&*out, 4096).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == text, "level {level}");
        }
    }
}
