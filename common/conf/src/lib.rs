//! nginx's configuration language: text → tree → typed settings.
//!
//! Knows no directive by name: planes declare rows ([`Directive`]) and this
//! crate parses, checks, explains and documents them. It reads files, and
//! nothing else of the outside world.

mod diagnostic;
mod directive;
mod eval;
mod source;
mod template;
mod tree;
mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use directive::{Args, Contexts, Directive, Param, Repeat, Value};
pub use eval::{Cx, Given, Level};
pub use source::{FileId, Snapshot, Sources, Span};
pub use template::{Piece, Template};
pub use tree::{Block, Statement, Tree, Word};
