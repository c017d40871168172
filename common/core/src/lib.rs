//! What both planes need and neither owns: upstream groups and their health,
//! names, logs, sockets, the clock and the worker's own state.

pub mod access;
pub mod clock;
pub mod dice;
pub mod health;
pub mod limit;
pub mod log;
pub mod names;
pub mod net;
pub mod plan;
pub mod resolver;
pub mod stats;
pub mod upstream;
pub mod variable;
pub mod words;
pub mod worker;
