//! Variables of `userid`.

use super::Row;
use crate::filter::{push_uid_got, push_uid_set};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "uid_got",
        doc: "Name and identifier of the cookie of `userid` that the client sent, in hexadecimal: `uid=0100007F…`.",
        value: push_uid_got,
    },
    Row {
        name: "uid_set",
        doc: "The same of the cookie that the client is given, if it is given one.",
        value: push_uid_set,
    },
    Row {
        name: "uid_reset",
        doc: "Empty. The configuration may give it a value: anything but `0` gives the client another identifier, \
              `log` says so in the error log too.",
        value: |_, _| true,
    },
];
