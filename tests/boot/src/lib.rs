//! What the boot tests stand on: the image as its builder makes it ([`image`]), virtual machines of
//! QEMU that need neither root nor a network of their own ([`machine`]), the media one puts into them
//! ([`media`]) and the wire between them ([`segment`]). It knows the image from outside: its files, its console, its ports.
//!
//! Machines are emulated, so everything takes seconds; each wait has a limit of its own and none has
//! a fixed length. A machine that fails shows its console.

pub mod image;
pub mod machine;
pub mod media;
mod qmp;
pub mod segment;

pub use image::Image;
pub use machine::{Card, Firmware, Machine, Running};
pub use segment::Segment;
