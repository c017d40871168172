//! The patterns of module aliases: `*`, `?` and `[…]`, as `fnmatch` without flags.

/// Whether the whole of `text` is what `pattern` describes. Takes time in proportion to the product
/// of both lengths at most.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut again: Option<(usize, usize)> = None;
    loop {
        if let Some(&letter) = text.get(read) {
            if pattern.get(at) == Some(&b'*') {
                again = Some((at + 1, read));
                at += 1;
                continue;
            }
            if let Some(next) = one(pattern, at, letter) {
                (at, read) = (next, read + 1);
                continue;
            }
            let Some((star, from)) = again else { return false };
            again = Some((star, from + 1));
            (at, read) = (star, from + 1);
        } else {
            return pattern.get(at..).is_some_and(|rest| rest.iter().all(|&letter| letter == b'*'));
        }
    }
}

/// The place after the element at `at`, if it is `letter`.
fn one(pattern: &[u8], at: usize, letter: u8) -> Option<usize> {
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, letter),
        b'\\' => (*pattern.get(at + 1)? == letter).then_some(at + 2),
        same => (*same == letter).then_some(at + 1),
    }
}

fn class(pattern: &[u8], from: usize, letter: u8) -> Option<usize> {
    let length = pattern.get(from..)?.iter().position(|&byte| byte == b']')?;
    let mut inside = pattern.get(from..from + length)?;
    let mut found = false;
    while let [low, rest @ ..] = inside {
        inside = if let [b'-', high, after @ ..] = rest {
            found |= (*low..=*high).contains(&letter);
            after
        } else {
            found |= *low == letter;
            rest
        };
    }
    found.then_some(from + length + 1)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_describe_whole_names() {
        for (pattern, text, fits) in [
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            ("virtio:d00000001v*", "virtio:d00000002v00001AF4", false),
            ("pci:v00008086d0000100Esv*sd*bc*sc*i*", "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", true),
            ("acpi*:LNXPWRBN:*", "acpi:LNXPWRBN:", true),
            ("usb:v*p*d*dc*dsc*dp*ic03isc01ip0[12]in*", "usb:v1p2d3dc0dsc0dp0ic03isc01ip02in00", true),
            ("usb:ip0[1-3a]", "usb:ip0a", true),
            ("usb:ip0[1-3a]", "usb:ip04", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a[", "a[", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(150)));
    }
}
