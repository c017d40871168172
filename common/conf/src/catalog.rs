//! Every directive of the process as documentation: what `-h`, REFERENCE.md
//! and "not allowed here" read.
//!
//! The process fills it once at start from the planes' tables; nothing here
//! evaluates.

use crate::{Args, Contexts, Directive, Repeat, Value};
use std::collections::HashMap;
use std::sync::OnceLock;

/// What is to be told about one row.
#[derive(Clone, Debug)]
pub struct Page {
    /// The group it is documented in: `http proxy`, `upstream`.
    pub module: &'static str,
    pub name: &'static str,
    pub contexts: Contexts,
    /// As nginx's documentation writes the arguments.
    pub syntax: &'static str,
    pub default: Option<&'static str>,
    pub doc: &'static str,
    /// Type of each argument; the last one repeats.
    pub values: &'static [Value],
    pub min: usize,
    pub max: usize,
    pub block: bool,
    /// Whether it may be written more than once in a block.
    pub repeats: bool,
}

/// The pages of a table.
pub fn pages<T>(table: &'static [Directive<T>], module: &'static str) -> Vec<Page> {
    let page = |row: &'static Directive<T>| Page {
        default: row.default,
        repeats: !matches!(row.repeat, Repeat::Once),
        ..Page::new(module, row.name, (row.contexts, row.doc), &row.args)
    };
    table.iter().map(page).collect()
}

impl Page {
    fn new(
        module: &'static str,
        name: &'static str,
        (contexts, doc): (Contexts, &'static str),
        args: &'static Args,
    ) -> Page {
        Page {
            module,
            name,
            contexts,
            syntax: args.syntax,
            default: None,
            doc,
            values: args.values,
            min: args.min,
            max: args.max,
            block: args.block,
            repeats: true,
        }
    }
}

/// All pages of the process, found by name.
#[derive(Debug, Default)]
pub struct Catalog {
    pages: Vec<Page>,
    by_name: HashMap<&'static str, Vec<usize>>,
}

static INSTALLED: OnceLock<Catalog> = OnceLock::new();
static INCLUDE: Args = Args::exactly(&[Value::Path], "file | mask");

impl Catalog {
    /// The pages given and those of the language itself (`include`).
    pub fn new(mut pages: Vec<Page>) -> Catalog {
        let doc = "Takes in another file, or every file that matches a mask, as if its text stood here. \
                   Relative names are relative to the folder of the main configuration file. \
                   A mask may match nothing.";
        pages.insert(0, Page::new("language", "include", (Contexts(u32::MAX), doc), &INCLUDE));
        let mut by_name: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (at, page) in pages.iter().enumerate() {
            by_name.entry(page.name).or_default().push(at);
        }
        Catalog { pages, by_name }
    }

    /// Makes the catalog the process's own. The first one stays.
    pub fn install(pages: Vec<Page>) -> &'static Catalog {
        INSTALLED.get_or_init(|| Catalog::new(pages))
    }

    /// The process's catalog; an empty one before [`Catalog::install`].
    pub fn installed() -> &'static Catalog {
        static EMPTY: OnceLock<Catalog> = OnceLock::new();
        INSTALLED.get().unwrap_or_else(|| EMPTY.get_or_init(Catalog::default))
    }

    /// In the order the tables were given.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// The pages of a name; several where planes or contexts differ.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Page> {
        let at = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        at.iter().filter_map(|&at| self.pages.get(at))
    }

    /// Every context a name is allowed in.
    pub fn contexts(&self, name: &str) -> Option<Contexts> {
        self.named(name).map(|page| page.contexts).reduce(Contexts::or)
    }
}
