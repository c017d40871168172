//! Error logs and access logs of the whole process.
//!
//! Lines are put together on the worker that has something to say and written
//! by one thread: no worker waits for a disk. The queue to that thread is
//! bounded; what does not fit is counted and dropped.

mod access;
mod error;
mod registry;

pub use access::{AccessLog, Escape, Format, Writer, push_escaped};
pub use error::{DIRECTIVES, ErrorLog, ErrorLogs, Level};
pub use registry::{Destination, Registry};
