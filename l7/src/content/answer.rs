//! `return`, and the redirects the server makes itself.

use crate::content::error_page;
use crate::exchange::Exchange;
use crate::plan::Return;
use crate::reply::Reply;

/// What `return` answers.
pub fn answer(exchange: &Exchange, answer: &Return) -> Reply {
    error_page(answer.status, exchange.location.server_tokens)
}

/// 301 to the path with a slash added.
pub fn add_slash(exchange: &Exchange) -> Reply {
    error_page(301, exchange.location.server_tokens)
}
