//! What a session keeps of the variables it worked out.

use super::*;

#[test]
fn a_value_that_waits_for_itself_is_not_asked_for_again() {
    let mut known = Known::default();
    assert!(known.ask(7) && !known.ask(7));
    known.answer(7, Some(b"x"), false);
    assert!(matches!(known.state(7), Some(State::Value(_))));
    assert!(known.ask(7));
    known.answer(7, Some(b"y"), true);
    assert!(known.state(7).is_none() && known.depth == 0, "a volatile value is not kept");
}

#[test]
fn depth_is_bounded() {
    let mut known = Known::default();
    assert!((0..MOST_DEPTH).all(|number| known.ask(number)));
    assert!(!known.ask(MOST_DEPTH));
    known.answer(3, None, false);
    assert!(known.ask(MOST_DEPTH) && matches!(known.state(3), Some(State::Missing)));
}

#[test]
fn a_session_that_asks_for_nothing_has_nothing() {
    assert_eq!(size_of::<Values>(), size_of::<usize>());
}
