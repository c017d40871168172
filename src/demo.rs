//! `fairlead demo`: peers to balance over.
pub fn run(_args: &[String]) -> bool {
    false
}
