//! The stream plane: TCP and UDP.

mod plan;
mod worker;

pub use plan::Plan;
pub use worker::{Worker, serve};
