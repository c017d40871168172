//! The http plane.

mod content;
mod exchange;
mod h1;
mod plan;
mod proxy;
mod reply;
mod uri;
mod variables;
mod worker;

pub use plan::Plan;
pub use worker::{Worker, serve};
