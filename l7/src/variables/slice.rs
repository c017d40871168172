//! The variable of `slice`.

use super::Row;
use crate::filter::push_slice_range;

pub(super) const ROWS: &[Row] = &[Row {
    name: "slice_range",
    doc: "The slice that is to be asked for, as a `Range` field says it: `bytes=0-1048575`.",
    value: push_slice_range,
}];
