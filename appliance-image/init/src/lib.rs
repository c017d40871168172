//! The first process of the appliance: brings the machine up, keeps `fairlead` running, takes the
//! machine down in order. It reads no network traffic but the answers it asked for, and it never
//! ends: whoever is process 1 and ends takes the kernel down with it.

pub mod accounts;
pub mod address;
pub mod block_devices;
pub mod check;
pub mod children;
pub mod cmdline;
pub mod console;
pub mod control;
pub mod entropy;
pub mod fetch;
pub mod first;
pub mod health;
pub mod kernel;
pub mod kernel_calls;
pub mod logs;
pub mod machine;
pub mod managed;
pub mod mkfs;
pub mod modules;
pub mod mounts;
pub mod partition;
pub mod password;
pub mod pid1;
pub mod power;
pub mod processes;
pub mod say;
pub mod seed;
pub mod service;
pub mod slot;
pub mod supervise;
pub mod support;
pub mod terminals;
pub mod uplink;
pub mod verbs;
pub mod watchdog;
pub mod working;
