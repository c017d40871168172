//! The first process of the appliance: brings the machine up, keeps `fairlead` running, takes the
//! machine down in order. It reads no network traffic but the answers it asked for, and it never
//! ends: whoever is process 1 and ends takes the kernel down with it.

pub mod cmdline;
pub mod kernel;
pub mod link;
pub mod modules;
pub mod mounts;
pub mod pid1;
pub mod say;
pub mod seed;
pub mod supervise;
