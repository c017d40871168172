//! Where a request belongs: its server by host name, its location by path.
//!
//! Everything is compiled once per generation; a lookup allocates nothing
//! unless a regex matches.

mod locations;

pub(crate) use fairlead_core::names::{Name, Names, Pattern};
pub(crate) use locations::{Found, Kind, Level, LevelBuilder, Node};
