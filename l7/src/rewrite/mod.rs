//! `rewrite`, `return`, `break`, `set` and `if`: rules in file order, compiled when the configuration
//! is read and run over the request between its phases.
//!
//! [`route`] is that order, nginx's own: the server's rules, the search of the location, the location's
//! rules, and again from the search if these changed the path, ten times at most. `exchange` calls it
//! before the content, and anew when an index file takes the request elsewhere. Whoever has no rules
//! pays for one look at an empty list. `program` runs rules, `replacement` makes the new path and
//! arguments, `condition` reads what `if` asks, `rows` the directives.

mod condition;
mod file_test;
mod program;
mod replacement;
mod rows;

pub(crate) use condition::Condition;
pub(crate) use program::{Branch, Rule, Step, steps};
pub(crate) use rows::{RULES, SETTINGS, Settings};

use crate::content::find_real_root;
use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::settings::LocationBlock;
use fairlead_core::log::Level;
use std::sync::Arc;

/// The rules of a block as written, each with its place in it.
#[derive(Default)]
pub(crate) struct Rules {
    pub plain: Vec<(usize, Rule)>,
    /// With what stands inside the braces.
    pub ifs: Vec<(usize, Condition, Box<LocationBlock>)>,
}

/// Finds the location that serves the request. A reply when a rule answers it, or nothing can.
pub(crate) async fn route(exchange: &mut Exchange) -> Result<(), Box<Reply>> {
    if !exchange.server.root.rules.is_empty() {
        exchange.location = exchange.server.root.clone();
        find_real_root(exchange).await;
        program::run(exchange).await?;
    }
    search(exchange).await
}

/// The rules of a named location, where the request already is.
pub(crate) async fn in_named(exchange: &mut Exchange) -> Result<(), Box<Reply>> {
    exchange.uri_changed = false;
    if !exchange.location.rules.is_empty() {
        find_real_root(exchange).await;
        program::run(exchange).await?;
    }
    if exchange.uri_changed {
        count(exchange)?;
        return search(exchange).await;
    }
    Ok(())
}

async fn search(exchange: &mut Exchange) -> Result<(), Box<Reply>> {
    loop {
        exchange.uri_changed = false;
        if let Err(status) = exchange.locate() {
            return Err(exchange.refuse(status).into());
        }
        // Its own rules have run: they are those of no location.
        let outside = Arc::ptr_eq(&exchange.location, &exchange.server.root);
        if outside || exchange.location.rules.is_empty() {
            return Ok(());
        }
        find_real_root(exchange).await;
        program::run(exchange).await?;
        if !exchange.uri_changed {
            return Ok(());
        }
        count(exchange)?;
    }
}

/// Counts one more search; a reply when it is one too many.
fn count(exchange: &mut Exchange) -> Result<(), Box<Reply>> {
    if exchange.may_move() {
        return Ok(());
    }
    let uri = String::from_utf8_lossy(&exchange.uri);
    let message = format_args!("rewrite or internal redirection cycle while processing \"{uri}\"");
    exchange.log(Level::Error, message);
    Err(exchange.refuse(500).into())
}
