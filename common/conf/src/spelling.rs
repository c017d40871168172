//! "Did you mean": the closest of the names that would have been right.

/// The nearest name within two slips of the finger (one for short names); case does not count.
pub(crate) fn closest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wrong = wrong.to_ascii_lowercase();
    let allowed = if wrong.len() <= 4 { 1 } else { 2 };
    let near = names.filter(|name| name.len().abs_diff(wrong.len()) <= allowed);
    let ranked = near.map(|name| (distance(wrong.as_bytes(), name.to_ascii_lowercase().as_bytes()), name));
    ranked.filter(|(slips, _)| *slips <= allowed).min().map(|(_, name)| name)
}

/// The help line for the nearest name.
pub(crate) fn did_you_mean<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    closest(wrong, names).map(|name| format!("did you mean \"{name}\"?"))
}

/// Every name one slip away from this one: for names that can only be asked for.
/// None for short names, where everything is near.
pub(crate) fn slips(name: &str) -> Vec<String> {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz_0123456789";
    if !name.is_ascii() || !(4..=64).contains(&name.len()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for at in 0..=name.len() {
        let (head, tail) = name.split_at(at);
        let mut rest = tail.chars();
        let (first, second) = (rest.next(), rest.next());
        if let (Some(first), Some(second)) = (first, second) {
            found.push(format!("{head}{second}{first}{}", rest.as_str()));
        }
        let after = tail.get(1..).unwrap_or("");
        if first.is_some() {
            found.push(format!("{head}{after}"));
            found.extend(LETTERS.chars().map(|letter| format!("{head}{letter}{after}")));
        }
        found.extend(LETTERS.chars().map(|letter| format!("{head}{letter}{tail}")));
    }
    found
}

/// Letters put in, left out, changed, or two neighbours swapped (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let changed = cell(&last, j) + usize::from(x != y);
            let mut best = changed.min(cell(&last, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["listen", "server_name", "proxy_pass", "root", "return", "least_conn"];
        let ask = |wrong| closest(wrong, names.into_iter());
        assert_eq!(ask("lsiten"), Some("listen"));
        assert_eq!(ask("server_nmae"), Some("server_name"));
        assert_eq!(ask("proxypass"), Some("proxy_pass"));
        assert_eq!(ask("proxy-pass"), Some("proxy_pass"));
        assert_eq!(ask("ROOT"), Some("root"));
        assert_eq!(ask("rot"), Some("root"));
        assert_eq!(ask("boot"), Some("root"));
        assert_eq!(ask("gzip"), None);
        assert_eq!(ask(""), None);
    }

    #[test]
    fn counts_slips() {
        for (a, b, slips) in
            [("", "", 0), ("ab", "ba", 1), ("abc", "", 3), ("kitten", "sitting", 3), ("abcd", "acbd", 1)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), slips, "{a} {b}");
        }
    }
}
