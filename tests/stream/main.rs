//! TCP and UDP as a client and a peer see it: the real program, real sockets, one feature a file.
//! Most of these stories are nginx's own behaviour and pass with `FAIRLEAD_UNDER_TEST=/usr/sbin/nginx`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use fairlead_harness::Setup;

mod access;
mod balance;
mod faults;
mod limit_conn;
mod log;
mod proxy_bind;
mod proxy_protocol;
mod proxy_socket;
mod realip;
mod session_drop;
mod tcp;
mod timeouts;
mod udp;

fn fairlead() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_fairlead"))
}
