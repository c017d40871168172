//! Where a request belongs: its server by host name, its location by path.
//!
//! Everything is compiled once per generation; a lookup allocates nothing
//! unless a regex matches.

mod locations;
mod names;
mod pattern;

pub(crate) use locations::{Found, Kind, Level, LevelBuilder, Node};
pub(crate) use names::{Name, Names};
pub(crate) use pattern::Pattern;
