//! Sizes, times, flags and numbers as nginx writes them. Public functions so
//! that parameters (`fail_timeout=10s`) parse as whole arguments do.
