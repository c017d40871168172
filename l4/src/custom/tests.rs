//! What a session keeps of the variables it worked out.

use super::*;

#[test]
fn a_value_that_waits_for_itself_is_not_asked_for_again() {
    let mut known = Known::default();
    assert!(known.ask(7) && !known.ask(7));
    known.put_value(7, b"x");
    assert!(known.ask(7), "worked out anew, as a volatile one is");
}

#[test]
fn depth_is_bounded() {
    let mut known = Known::default();
    assert!((0..MOST_DEPTH).all(|number| known.ask(number)));
    assert!(!known.ask(MOST_DEPTH));
    known.forget(3);
    assert!(known.ask(MOST_DEPTH));
}

#[test]
fn a_session_that_asks_for_nothing_has_nothing() {
    assert_eq!(size_of::<Values>(), size_of::<usize>());
}
