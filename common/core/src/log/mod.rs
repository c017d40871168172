//! Error logs and access logs of the whole process.
//!
//! Lines are put together on the worker that has something to say and written
//! by one thread: no worker waits for a disk. The queue to that thread is
//! bounded; what does not fit is counted and dropped.

mod access;
mod directives;
mod error;
mod files;
mod queue;
mod records;
mod registry;
mod sink;
mod syslog;
#[cfg(test)]
mod tests;
mod writer;

pub use access::{AccessLog, Escape, Format, is_true, push_escaped};
pub use directives::{
    ACCESS_DIRECTIVES, AccessEntry, AccessLogs, Agreed, DIRECTIVES, ErrorLogs, FILE_CACHE_DIRECTIVES,
    FORMAT_DIRECTIVES, FileCaching, Formats, GZIP_BUFFER, gzip_level,
};
pub use error::{ErrorLog, Level, OsError};
pub use files::FileCache;
pub use queue::Stats;
pub use registry::{Destination, Registry};
pub use writer::Writer;
