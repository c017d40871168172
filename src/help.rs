//! What `-h` and `-V` print.

use crate::cli::{CONF, PREFIX};

pub const VERSION: &str = concat!("fairlead/", env!("CARGO_PKG_VERSION"));

pub fn usage() -> String {
    format!(
        "\
fairlead balances TCP, UDP and HTTP. It reads nginx's configuration language.

Usage: fairlead [-?hvVtTq] [-s signal] [-p prefix] [-e file] [-c file] [-g directives]
       fairlead -h DIRECTIVE     what a directive does, takes and defaults to
       fairlead reference        the same for all of them (Markdown)
       fairlead demo             start peers to balance over, to try things with
       fairlead ctl              manage an appliance over the network (also: fairleadctl)

Check, start, change, stop:
  fairlead -t                    is the configuration right? prints every mistake
  fairlead                       start in the background; returns when it serves
  fairlead -s reload             take the changed configuration; no connection is lost
  fairlead -s reopen             open the log files anew (after moving them away)
  fairlead -s quit               stop when the last connection has ended
  fairlead -s stop               stop at once

Options:
  -?,-h [DIRECTIVE]  this help, or the page of a directive
  -v                 version
  -V                 version, and what was built in
  -t                 test the configuration and exit
  -T                 test it, and print every file it is made of
  -q                 print nothing but errors while testing
  -s signal          tell the running fairlead: stop, quit, reopen, reload
  -p prefix          what relative paths are relative to (default: {PREFIX})
  -e file            error log when the configuration names none (default: logs/error.log)
  -c file            configuration file, relative to the prefix (default: {CONF})
  -g directives      put these before the configuration file: -g \"daemon off;\"

The smallest configuration that balances, in {PREFIX}{CONF}:
  http {{
      upstream app {{ server 10.0.0.1:8080; server 10.0.0.2:8080; }}
      server {{ listen 80; location / {{ proxy_pass http://app; }} }}
  }}
"
    )
}

pub fn details() -> String {
    format!(
        "\
fairlead version: {VERSION}
built for: {}-{}
built in: http, stream
default prefix: {PREFIX}
default configuration: {PREFIX}{CONF}
",
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}
