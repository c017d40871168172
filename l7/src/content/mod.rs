//! What answers when no peer does: `return`, files, error pages.

mod answer;
mod autoindex;
mod conditional;
mod error_page;
mod error_redirect;
mod index;
mod listing;
mod made;
mod path;
mod range;
mod real_root;
mod redirect;
mod static_file;
mod try_files;

pub(crate) use answer::answer;
pub(crate) use autoindex::{AUTOINDEX, RANDOM_INDEX, Settings as ListingSettings};
pub(crate) use conditional::{Validators, date as http_date, meet_conditions};
pub use error_page::error_page;
pub(crate) use error_page::pad;
pub(crate) use error_redirect::{go_inside, go_to, page_for, safe_uri};
pub(crate) use made::{EMPTY_GIF, Made, STUB_STATUS, VARIABLES, made};
pub(crate) use path::{file_name, folder};
pub use range::fuzzed as fuzzed_ranges;
pub(crate) use range::{Part as RangePart, part as range_part};
pub(crate) use real_root::{RealRoot, find as find_real_root};
pub(crate) use redirect::{add_slash, push_origin, redirect};
pub(crate) use static_file::{Served, serve};
pub(crate) use try_files::{TRY_FILES, Tried, Tries, try_files};

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests stand outside the data plane")]
mod tests;
