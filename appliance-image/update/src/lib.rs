//! Updates of the appliance: a signed unified kernel image is written beside the running one, boots
//! once on trial, and is settled on when it has proved itself; otherwise the machine is back on the
//! one before, and says why.
//!
//! Three things on the EFI system partition decide what boots. UEFI: the names of the images, whose
//! tries systemd-boot counts down. BIOS: `slot` and `try` of GRUB's environment, and the block lists
//! of `fairlead/VERSION.cfg`. They are written in such an order that at any moment each firmware finds
//! an image that is complete and signed. An image under way has no first sector, so that it is no
//! program yet (nor is what a removed one left on the disk); the running image is never written to, renamed or removed.
//!
//! PID 1 calls this, with the partition mounted and writable: [`Updates`] for what is asked from afar,
//! [`Slots`] after a start. It restarts nothing and measures no health.

#[cfg(test)]
mod firmware;
mod incoming;
mod partition;
mod slots;
#[cfg(test)]
mod tests;
mod updates;

pub use incoming::{Incoming, MOST_BYTES, Offer};
pub use partition::{Mounted, Partition};
pub use slots::{Installed, Slots, Standing};
pub use updates::Updates;
