//! What answers when no peer does: `return`, files, error pages.

mod error_page;
mod static_file;

pub use error_page::error_page;
pub use static_file::serve;
