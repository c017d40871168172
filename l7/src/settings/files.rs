//! `root`, `alias`, `index`, `types` and what else files are served by.

use crate::content::ListingSettings;
use crate::directives::{ALL, IF_LOCATION, LOCATION};
use crate::disk::{CacheSettings, Links, MOST_ALIGNMENT, Which};
use crate::plan::{Modified, Types};
use crate::route::Kind;
use crate::settings::LocationBlock;
use crate::variables::{self, Variable};
use fairlead_conf::{Args, Block, Diagnostic, Directive, Given, Piece, Repeat, Template, Value};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub root: Root,
    pub index: Vec<Template<Variable>>,
    /// What the `types` of one level give together, none of them too; `None` where nothing was written.
    pub types: Option<Arc<Vec<Extension>>>,
    pub default_type: Box<str>,
    pub etag: bool,
    pub if_modified_since: Modified,
    pub max_ranges: Option<u64>,
    pub log_not_found: bool,
    /// `disable_symlinks`; `None` follows them all.
    pub links: Option<Links>,
    pub sendfile: bool,
    /// 0 is no limit.
    pub sendfile_max_chunk: u64,
    /// `aio`: the disk is waited for elsewhere, whatever sends the bytes.
    pub aio: bool,
    pub read_ahead: u64,
    /// `directio`: of files from this length on, with `directio_alignment`.
    pub directio: Option<(u64, usize)>,
    directio_alignment: usize,
    pub output_buffers: OutputBuffers,
    pub cache: CacheSettings,
    pub listing: ListingSettings,
}

/// How much of a file is read at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutputBuffers {
    number: usize,
    size: usize,
}

impl OutputBuffers {
    pub fn all(self) -> usize {
        self.number * self.size
    }

    /// How much of them is read at once, and whether there is as much for what is being sent.
    pub fn halves(self) -> (usize, bool) {
        if self.number < 2 { (self.size, false) } else { (self.number / 2 * self.size, true) }
    }
}

/// An extension in lower case, and its content type.
pub(crate) type Extension = (Box<str>, Box<str>);

/// `root` or `alias`.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub path: Template<Variable>,
    /// `alias`: how much of the path it replaces; `usize::MAX` is all of it.
    pub alias: Option<usize>,
}

impl Default for Root {
    fn default() -> Root {
        Root { path: Template { pieces: Vec::new() }, alias: None }
    }
}

type Row = Directive<Settings>;

pub(crate) const DIRECTIVES: &[Row] = &[
    Row {
        name: "root",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Template], "path"),
        repeat: Repeat::Once,
        default: Some("html"),
        doc: "Folder that paths are looked up in: with `root /data;` the path `/i/a.png` is the file `/data/i/a.png`. \
              Relative to the prefix.",
        set: |files, given| {
            let path = folder(given)?;
            files.root = Root { path, alias: None };
            Ok(())
        },
    },
    Row {
        name: "index",
        contexts: ALL,
        args: Args::at_least(1, &[Value::Template], "file …"),
        repeat: Repeat::List(|files| files.index.clear()),
        default: Some("index.html"),
        doc: "Files that answer for a folder, tried in order; the request goes on as if its path named the file.",
        set: |files, given| {
            for (index, word) in given.words().iter().enumerate() {
                if word.text.is_empty() {
                    return Err(given.error(index, "index \"\" in \"index\" directive is invalid"));
                }
                files.index.push(variables::compile(word, given.cx)?);
            }
            Ok(())
        },
    },
    Row {
        name: "types",
        contexts: ALL,
        args: Args::none().with_block(),
        repeat: Repeat::List(|files| files.types = Some(Arc::default())),
        default: None,
        doc: "Content types by file name extension, in any case: `types { text/html html htm; }`. \
              Several of one level count together and replace those around them; `types { }` leaves only \
              `default_type`. Without one: html, gif and jpg.",
        set: |files, given| add_types(Arc::make_mut(files.types.get_or_insert_default()), given),
    },
    Row {
        name: "default_type",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "mime-type"),
        repeat: Repeat::Once,
        default: Some("text/plain"),
        doc: "Content type of files (and of the text of `return`) whose extension is in no `types`.",
        set: |files, given| {
            files.default_type = given.text(0).into();
            Ok(())
        },
    },
    Row {
        name: "etag",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Sends an `ETag` with files, made of their time and length.",
        set: |files, given| given.flag(0).map(|on| files.etag = on),
    },
    Row {
        name: "if_modified_since",
        contexts: ALL,
        args: Args::exactly(&[Value::OneOf(&["off", "exact", "before"])], "off | exact | before"),
        repeat: Repeat::Once,
        default: Some("exact"),
        doc: "When a file counts as unmodified (304): its time is exactly that of `If-Modified-Since`, \
              or not after it (`before`); `off` ignores the field.",
        set: |files, given| {
            files.if_modified_since = match given.text(0) {
                "off" => Modified::Off,
                "before" => Modified::Before,
                _ => Modified::Exact,
            };
            Ok(())
        },
    },
    Row {
        name: "max_ranges",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(0..=i64::MAX)], "number"),
        repeat: Repeat::Once,
        default: None,
        doc: "How many ranges of a file a request may ask for; with more, or with `0`, it gets the whole file.",
        set: |files, given| given.int(0).map(|number| files.max_ranges = Some(number.unsigned_abs())),
    },
    Row {
        name: "log_not_found",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("on"),
        doc: "Writes an error log line for each file that is not found.",
        set: |files, given| given.flag(0).map(|on| files.log_not_found = on),
    },
    Row {
        name: "open_file_cache",
        contexts: ALL,
        args: Args::between(1, 2, &[Value::Text], "off | max=N [inactive=time]"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Keeps so many files open on each worker thread, with what is known of them and of folders. What is not \
              asked for during `inactive` (60s) makes room first. Not used with `disable_symlinks`. `off`: each request \
              looks at its path, and small files (up to 64k) that are asked for again within a second are held in memory \
              for a second, up to 4m on each worker thread, none that changed in the last two seconds. Any change is seen \
              at the next request, but for bytes written through shared mappings, which may be a second late.",
        set: |files, given| cache(files, given),
    },
    Row {
        name: "open_file_cache_valid",
        contexts: ALL,
        args: Args::exactly(&[Value::Time], "time"),
        repeat: Repeat::Once,
        default: Some("60s"),
        doc: "After this time a path is opened anew.",
        set: |files, given| given.time(0).map(|time| files.cache.valid = time),
    },
    Row {
        name: "open_file_cache_min_uses",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(1..=i64::MAX)], "number"),
        repeat: Repeat::Once,
        default: Some("1"),
        doc: "How often a file is asked for before it is kept open.",
        set: |files, given| given.int(0).map(|number| files.cache.min_uses = number.unsigned_abs()),
    },
    Row {
        name: "open_file_cache_errors",
        contexts: ALL,
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Whether it is kept as well that a path leads nowhere.",
        set: |files, given| given.flag(0).map(|on| files.cache.errors = on),
    },
    Row {
        name: "sendfile",
        contexts: ALL.or(IF_LOCATION),
        args: Args::exactly(&[Value::Flag], "on | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Sends files without copying them through the process, but for the first 64 KiB, which leave together \
              with the head. Bodies that a filter changes are copied in any case.",
        set: |files, given| given.flag(0).map(|on| files.sendfile = on),
    },
    Row {
        name: "sendfile_max_chunk",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("2m"),
        doc: "The most that one call of `sendfile` sends, so that no connection holds up the others; `0` and more than \
              2m mean 2m.",
        set: |files, given| given.size(0).map(|size| files.sendfile_max_chunk = size),
    },
    Row {
        name: "aio",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "on | off | threads[=pool]"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "With `sendfile on`, has the disk asked on other threads for what is not in memory. Without `sendfile` that \
              is so in any case. `on` and every pool are the same.",
        set: |files, given| {
            files.aio = match given.text(0) {
                "off" => false,
                "on" | "threads" => true,
                text if text.strip_prefix("threads=").is_some_and(|pool| !pool.is_empty()) => true,
                text => return Err(given.error(0, format!("invalid value \"{text}\""))),
            };
            Ok(())
        },
    },
    Row {
        name: "read_ahead",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("0"),
        doc: "With any size but `0` the kernel is told that files of more than 128 KiB are read from end to end; how far \
              it reads ahead is its own decision.",
        set: |files, given| given.size(0).map(|size| files.read_ahead = size),
    },
    Row {
        name: "directio",
        contexts: ALL,
        args: Args::exactly(&[Value::Text], "size | off"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Files of this size or more are read from the disk past the kernel's memory (`O_DIRECT`) and not sent by \
              `sendfile`: long files that are asked for once do not take the place of others there. Reads are done on \
              threads of their own, with `output_buffers` for memory.",
        set: |files, given| {
            let least = if given.text(0) == "off" { None } else { Some(given.size(0)?) };
            files.directio = least.map(|least| (least, files.directio_alignment));
            Ok(())
        },
    },
    Row {
        name: "directio_alignment",
        contexts: ALL,
        args: Args::exactly(&[Value::Size], "size"),
        repeat: Repeat::Once,
        default: Some("512"),
        doc: "What reads of `directio` are aligned to, a power of two up to 1m: what the disk wants, mostly 512 or 4k.",
        set: |files, given| {
            let size = usize::try_from(given.size(0)?).ok().filter(|size| size.is_power_of_two());
            let size = size.filter(|size| *size <= MOST_ALIGNMENT);
            let wrong = || given.error(0, "\"directio_alignment\" must be a power of two up to 1m");
            files.directio_alignment = size.ok_or_else(wrong)?;
            files.directio = files.directio.map(|(least, _)| (least, files.directio_alignment));
            Ok(())
        },
    },
    Row {
        name: "output_buffers",
        contexts: ALL,
        args: Args::exactly(&[Value::Int(1..=1 << 20), Value::Size], "number size"),
        repeat: Repeat::Once,
        default: Some("2 32k"),
        doc: "Memory that a file is read into when it is not sent by `sendfile`: the product of both, at most 64m, is read \
              at once, though what the kernel has in memory never in more than 64k. With `directio` and two or more one half is \
              read while the other is sent.",
        set: |files, given| {
            let number = usize::try_from(given.int(0)?).unwrap_or(1);
            let size = usize::try_from(given.size(1)?).unwrap_or(usize::MAX);
            let fits = number.checked_mul(size).is_some_and(|all| all <= 64 << 20);
            if size == 0 || !fits {
                return Err(given.error(1, "\"output_buffers\" must have from 1 byte to 64m together"));
            }
            files.output_buffers = OutputBuffers { number, size };
            Ok(())
        },
    },
    Row {
        name: "disable_symlinks",
        contexts: ALL,
        args: Args::between(1, 2, &[Value::Text], "off | on | if_not_owner [from=part]"),
        repeat: Repeat::Once,
        default: Some("off"),
        doc: "Refuses with 403 paths that hold symbolic links (`on`), or links whose owner is not that of what they lead \
              to (`if_not_owner`). What `from=` names at the beginning of a path may hold them: \
              `disable_symlinks on from=$document_root;`.",
        set: |files, given| links(given).map(|links| files.links = links),
    },
];

pub(crate) const ALIAS: &[Directive<LocationBlock>] = &[Directive {
    name: "alias",
    contexts: LOCATION,
    args: Args::exactly(&[Value::Template], "path"),
    repeat: Repeat::Once,
    default: None,
    doc: "Takes the place of the location's prefix in the path: with `location /i/ { alias /data/; }` the path \
          `/i/a.png` is the file `/data/a.png`. In a regex location it is the whole file name.",
    set: |location, given| {
        let path = folder(given)?;
        if matches!(location.name.kind, Kind::Named) {
            return Err(given.error(0, "the \"alias\" directive cannot be used inside the named location"));
        }
        let replaced = match location.name.kind {
            Kind::Regex(_) | Kind::Named => usize::MAX,
            Kind::Exact | Kind::Prefix | Kind::FinalPrefix => location.name.text.len(),
        };
        Arc::make_mut(&mut location.inherited.files).root = Root { path, alias: Some(replaced) };
        Ok(())
    },
}];

/// An error when a location has both: the second one is refused.
pub(crate) fn root_and_alias(block: &Block) -> Option<Diagnostic> {
    let mut both = block.statements.iter().filter(|statement| matches!(&*statement.name.text, "root" | "alias"));
    let first = both.next()?;
    let second = both.find(|statement| statement.name.text != first.name.text)?;
    let (first, second) = (&first.name, &second.name);
    let message =
        format!("\"{}\" directive is duplicate, \"{}\" directive was specified earlier", second.text, first.text);
    Some(Diagnostic::error(second.span, message))
}

fn folder(given: &Given<'_>) -> Result<Template<Variable>, Diagnostic> {
    let name = &given.statement.name.text;
    for variable in ["document_root", "realpath_root"] {
        if given.text(0).contains(&format!("${variable}")) || given.text(0).contains(&format!("${{{variable}")) {
            return Err(given.error(0, format!("the ${variable} variable cannot be used in the \"{name}\" directive")));
        }
    }
    let mut path = variables::compile(given.word(0), given.cx)?;
    // nginx takes one final slash off `root`: paths begin with one.
    if &**name == "root"
        && let Some(Piece::Text(last)) = path.pieces.last_mut()
        && let Some(short) = last.strip_suffix('/')
    {
        *last = short.into();
    }
    Ok(path)
}

fn cache(files: &mut Settings, given: &Given<'_>) -> Result<(), Diagnostic> {
    let (mut most, mut inactive) = (None, std::time::Duration::from_secs(60));
    for (index, word) in given.words().iter().enumerate() {
        let text = &*word.text;
        let wrong = || given.error(index, format!("invalid \"open_file_cache\" parameter \"{text}\""));
        if text == "off" {
            most = Some(0);
        } else if let Some(number) = text.strip_prefix("max=") {
            most = Some(number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?);
        } else if let Some(time) = text.strip_prefix("inactive=") {
            inactive = fairlead_conf::value::parse_time(time).ok_or_else(wrong)?;
        } else {
            return Err(wrong());
        }
    }
    let most = most.ok_or_else(|| given.error(0, "\"open_file_cache\" must have the \"max\" parameter"))?;
    (files.cache.most, files.cache.inactive) = (most, inactive);
    Ok(())
}

fn links(given: &Given<'_>) -> Result<Option<Links>, Diagnostic> {
    let (mut which, mut from) = (None, None);
    for (index, word) in given.words().iter().enumerate() {
        match &*word.text {
            "off" => which = Some(None),
            "on" => which = Some(Some(Which::All)),
            "if_not_owner" => which = Some(Some(Which::NotOwned)),
            text if text.starts_with("from=") => {
                from = Some(variables::compile(&word.tail("from=".len()), given.cx)?);
            }
            text => return Err(given.error(index, format!("invalid parameter \"{text}\""))),
        }
    }
    match (which, from) {
        (None, _) => {
            Err(given.error(0, "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter"))
        }
        (Some(None), Some(_)) => Err(given.error(0, "duplicate parameters \"off\" and \"from=\"")),
        (Some(which), from) => Ok(which.map(|which| Links { which, from })),
    }
}

fn add_types(types: &mut Vec<Extension>, given: &Given<'_>) -> Result<(), Diagnostic> {
    let known = types.iter().enumerate().map(|(index, (extension, _))| (extension.clone(), index));
    let mut seen: ahash::AHashMap<Box<str>, usize> = known.collect();
    for statement in &given.block().statements {
        if statement.block.is_some() {
            let message = format!("\"{}\" must be followed by file name extensions", statement.name.text);
            return Err(Diagnostic::error(statement.name.span, message));
        }
        for extension in &statement.args {
            let key: Box<str> = extension.text.to_ascii_lowercase().into();
            match seen.get(&key) {
                None => {
                    seen.insert(key.clone(), types.len());
                    types.push((key, statement.name.text.clone()));
                }
                Some(&index) => {
                    if let Some(entry) = types.get_mut(index) {
                        let message = format!(
                            "duplicate extension \"{}\", content type: \"{}\", previous content type: \"{}\"",
                            extension.text, statement.name.text, entry.1
                        );
                        given.cx.report(Diagnostic::warning(extension.span, message));
                        entry.1 = statement.name.text.clone();
                    }
                }
            }
        }
    }
    Ok(())
}

/// The types in force: what was written, or nginx's three.
pub(crate) fn compile_types(settings: &Settings) -> Types {
    let builtin = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];
    let by_extension = match &settings.types {
        None => builtin.iter().map(|(extension, name)| ((*extension).into(), (*name).into())).collect(),
        Some(written) => written.iter().cloned().collect(),
    };
    Types { by_extension, default: settings.default_type.clone() }
}
