//! The http plane.

mod plan;
mod worker;

pub use plan::Plan;
pub use worker::{Worker, serve};
