//! What answers when no peer does: `return`, files, error pages.

mod error_page;
mod static_file;

mod answer;

pub use answer::{add_slash, answer};
pub use error_page::error_page;
pub use static_file::serve;
