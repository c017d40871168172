//! Variables that a configuration makes: `map`, `geo` and `split_clients`.
//!
//! Here are their blocks, the way from a text or an address to a value, and how
//! long a value is kept, for both planes. What a variable of a plane is and when
//! it is asked for is the plane's. Nothing here does I/O.

mod custom;
mod geo;
mod intervals;
mod map;
mod murmur;
mod split_clients;
#[cfg(test)]
mod testing;
mod values;

pub use custom::{Ask, Blocks, Customs, Plane, Source, defined_number, push_custom};
pub use geo::{Geo, Proxies};
pub use map::{Found, Map};
pub use split_clients::SplitClients;
pub use values::Values;

use fairlead_conf::{Diagnostic, Given, Template, Word};

/// Compiles a word of the configuration with the plane's variables.
pub type Compile<'c, V> = &'c dyn Fn(&Word) -> Result<Template<V>, Diagnostic>;

/// The name behind the `$` of argument `index`, which is to be defined.
///
/// # Errors
/// It is no variable's name, in nginx's words.
pub fn defined_name<'a>(given: &Given<'a>, index: usize) -> Result<&'a str, Diagnostic> {
    let text = given.text(index);
    match text.strip_prefix('$') {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(given.error(index, format!("invalid variable name \"{text}\""))),
    }
}
