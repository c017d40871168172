//! Every variable of http: one row gives its name, its meaning and its value.

use crate::exchange::Exchange;
use fairlead_conf::Cx;

/// A variable as templates hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    Host,
}

/// The variable of this name, `None` when there is none. `cx.defined` holds the names that
/// regexes of the configuration define.
pub fn resolve(_name: &str, _cx: &Cx) -> Option<Variable> {
    None
}

impl Exchange {
    /// Appends the variable's value; false when it does not exist (`-` in logs).
    pub fn push_value(&self, _variable: &Variable, _out: &mut Vec<u8>) -> bool {
        false
    }
}
