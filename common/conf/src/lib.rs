//! nginx's configuration language: text → tree → typed settings.
//!
//! Knows no directive by name: planes declare rows ([`Directive`]) and this
//! crate parses, checks, explains and documents them. It reads files, and
//! nothing else of the outside world.

mod catalog;
mod check;
mod defined;
mod diagnostic;
mod directive;
mod eval;
mod given;
mod glob;
mod known;
mod lexer;
mod quote;
mod read;
mod reference;
mod render;
mod snapshot;
mod source;
mod spelling;
mod template;
mod tree;
mod unknown;
pub mod value;

pub use catalog::{Catalog, Page, pages};
pub use defined::Defined;
pub use diagnostic::{Diagnostic, Severity};
pub use directive::{Args, Contexts, Directive, Param, Repeat, Value};
pub use eval::{Cx, Level};
pub use given::Given;
pub use quote::quote;
pub use reference::{page_text, reference_markdown};
pub use render::render_all;
pub use snapshot::Snapshot;
pub use source::{FileId, SourceFile, Sources, Span};
pub use template::{Piece, Template};
pub use tree::{Attached, Block, Secrets, Statement, Tree, Word};
