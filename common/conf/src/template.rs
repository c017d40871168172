//! Text with `$variables`, compiled once. The plane says what its variables are.

use crate::{Diagnostic, Word};

/// Text and variables in order. `V` is the plane's own variable type.
#[derive(Clone, Debug, PartialEq)]
pub struct Template<V> {
    pub pieces: Vec<Piece<V>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Piece<V> {
    Text(Box<str>),
    Variable(V),
}

impl<V> Template<V> {
    /// Compiles `$name`, `${name}`, `$1`. `resolve` names the plane's variable or gives `None`,
    /// which is the error `unknown "name" variable`.
    pub fn compile(_word: &Word, _resolve: &dyn Fn(&str) -> Option<V>) -> Result<Template<V>, Diagnostic> {
        Ok(Template { pieces: Vec::new() })
    }

    /// The text when no variable is in it.
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text, asking `value` to append each variable.
    pub fn render(&self, out: &mut Vec<u8>, mut value: impl FnMut(&V, &mut Vec<u8>)) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => value(variable, out),
            }
        }
    }
}
