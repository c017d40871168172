//! `zstd`: its directives, and a body on its way into it.

use super::Settings as Filters;
use super::chain::{Broken, End};
use super::coding::Settings;
use super::gzip::Stored;
use crate::directives::{ALL, IF_LOCATION};
use fairlead_conf::{Args, Directive, Repeat, Value};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

type Row = Directive<Filters>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "zstd",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Packs bodies of responses with status 200, 403 or 404 with Zstandard on their way to clients that take it \
              (`zstd`). Of several codings that are on a client gets the one it gives the highest weight, else zstd \
              before brotli before gzip. While it packs a long body it holds about 1.5 MB at level 1, 2 MB at 3 and \
              6 MB at most.",
        set: |filters, given| given.flag(0).map(|on| filters.zstd.on = on),
    },
    Row {
        name: "zstd_comp_level",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Int(1..=22)], "level"),
        repeat: Repeat::Once,
        default: Some("1"),
        doc: "How hard to compress, from 1 (quick) to 22 (small, and slow).",
        set: |filters, given| given.int(0).map(|level| filters.zstd.level = u32::try_from(level).unwrap_or(1)),
    },
    Row {
        name: "zstd_types",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Text], "mime-type ..."),
        repeat: Repeat::List(|filters| filters.zstd.types.clear()),
        default: Some("text/html"),
        doc: "Content types that `zstd` packs, besides `text/html`; `*` is any.",
        set: |filters, given| filters.zstd.types.take(given, &["text/html"]),
    },
    Row {
        name: "zstd_min_length",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "length"),
        repeat: Repeat::Once,
        default: Some("20"),
        doc: "Bodies of fewer bytes stay as they are, if their `Content-Length` is known.",
        set: |filters, given| given.size(0).map(|length| filters.zstd.min_length = length),
    },
    Row {
        name: "zstd_static",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["on", "off", "always"])], "on | off | always"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sends the file with `.zst` behind its name, if there is one, to clients that take `zstd`, or with \
              `always` to all.",
        set: |filters, given| {
            filters.zstd.stored = Stored::read(given.text(0));
            Ok(())
        },
    },
];

pub(super) struct Zstd {
    /// `None` where there was no memory for it.
    context: Option<CCtx<'static>>,
    /// What it gave last.
    piece: Vec<u8>,
}

/// Half a megabyte: what a client needs to unpack, and the most that the encoder looks back.
pub(super) const WINDOW: u32 = 19;

/// Above this level the tables of its own choice would be hundreds of megabytes.
const FREE: i32 = 5;

/// What the encoder hands on at a time.
const STEP: usize = 16 << 10;

impl Zstd {
    pub fn new(settings: &Settings, length: Option<u64>) -> Zstd {
        let settings = Settings { window: WINDOW, ..settings.clone() };
        let level = i32::try_from(settings.level).unwrap_or(1);
        let context = CCtx::try_create().and_then(|mut context| {
            context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
            context.set_parameter(CParameter::WindowLog(settings.window_for(length))).ok()?;
            if level > FREE {
                context.set_parameter(CParameter::HashLog(WINDOW)).ok()?;
                context.set_parameter(CParameter::ChainLog(WINDOW)).ok()?;
            }
            Some(context)
        });
        Zstd { context, piece: Vec::with_capacity(STEP) }
    }

    pub fn write(&mut self, bytes: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Broken> {
        const FAILED: Broken = Broken("ZSTD_compressStream2() failed");
        let context = self.context.as_mut().ok_or(FAILED)?;
        let then = match end {
            End::Not => ZSTD_EndDirective::ZSTD_e_continue,
            End::Flush => ZSTD_EndDirective::ZSTD_e_flush,
            End::Last => ZSTD_EndDirective::ZSTD_e_end,
        };
        let mut input = InBuffer::around(bytes);
        loop {
            self.piece.clear();
            let left = {
                let mut output = OutBuffer::around(&mut self.piece);
                context.compress_stream2(&mut output, &mut input, then).map_err(|_| FAILED)?
            };
            out.extend_from_slice(&self.piece);
            let taken = input.pos() >= bytes.len();
            // While nothing is to be flushed it may keep what it has.
            if taken && (left == 0 || end == End::Not) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_in_pieces_unpacks_to_the_same() {
        let text: Vec<u8> = (0..80_000u32).flat_map(|number| format!("{number} of many\n").into_bytes()).collect();
        for (level, length) in [(1, None), (3, Some(text.len() as u64)), (19, None), (22, Some(5))] {
            let settings = Settings { level, ..Settings::default() };
            let text = if length == Some(5) { &text[..5] } else { &text[..] };
            let (mut zstd, mut out) = (Zstd::new(&settings, length), Vec::new());
            for (number, piece) in text.chunks(70_001).enumerate() {
                let end = if number % 3 == 0 { End::Flush } else { End::Not };
                zstd.write(piece, end, &mut out).unwrap();
            }
            zstd.write(b"", End::Last, &mut out).unwrap();
            let mut unpacked = vec![0; text.len() + 1];
            let length = zstd_safe::decompress(unpacked.as_mut_slice(), &out).unwrap();
            assert!(unpacked[..length] == *text, "level {level}");
        }
    }
}
